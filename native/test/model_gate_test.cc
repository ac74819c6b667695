// Files that no model can be made of are refused with a reason; none ends the process.
#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "changed_model.h"

namespace winnow::test {
namespace {

TEST(Model, RefusesKindsItCannotForkWithTheReason) {
  const std::string mamba = model_file(small_model("mamba"));
  EXPECT_EQ(load_code(mamba), "MODEL_UNSUPPORTED");
  EXPECT_NE(message_of([&] { load(mamba); }).find("'mamba', which is recurrent"), std::string::npos);
  const auto renamed = [](const std::string& architecture, auto more) {
    return changed(model_file(small_model()), "kind.gguf", [&](gguf_context* file) {
      gguf_set_val_str(file, "general.architecture", architecture.c_str());
      for (const char* key : {"context_length", "embedding_length", "block_count", "feed_forward_length",
                              "attention.head_count", "attention.head_count_kv"}) {
        gguf_set_val_u32(file, (architecture + "." + key).c_str(),
                         gguf_get_val_u32(file, gguf_find_key(file, (std::string("llama.") + key).c_str())));
      }
      gguf_set_val_f32(file, (architecture + ".attention.layer_norm_rms_epsilon").c_str(), 1e-5f);
      gguf_set_val_f32(file, (architecture + ".attention.layer_norm_epsilon").c_str(), 1e-5f);
      more(file);
    });
  };
  const auto reason = [](const std::string& path) { return message_of([&] { load(path); }); };
  EXPECT_NE(reason(renamed("dream", [](gguf_context*) {})).find("diffusion"), std::string::npos);
  EXPECT_NE(reason(renamed("bert", [](gguf_context* f) { gguf_set_val_bool(f, "bert.attention.causal", false); }))
                .find("encoder only"),
            std::string::npos);
  EXPECT_NE(
      reason(renamed("t5", [](gguf_context* f) { gguf_set_val_u32(f, "t5.attention.relative_buckets_count", 32); }))
          .find("encoder-decoder"),
      std::string::npos);
  EXPECT_NE(reason(renamed("jamba",
                           [](gguf_context* f) {
                             for (const char* key : {"conv_kernel", "inner_size", "state_size", "time_step_rank"})
                               gguf_set_val_u32(f, (std::string("jamba.ssm.") + key).c_str(), 4);
                           }))
                .find("hybrid"),
            std::string::npos);
}

TEST(Model, SaysWhenThereIsNoFile) {
  EXPECT_EQ(load_code(temp_path("nowhere.gguf")), "MODEL_NOT_FOUND");
  EXPECT_EQ(load_code(""), "MODEL_NOT_FOUND");
  EXPECT_EQ(load_code(temp_path("")), "MODEL_NOT_FOUND") << "a folder";
  EXPECT_EQ(load_code(std::string("a\0b", 3)), "MODEL_NOT_FOUND");
}

TEST(Model, RefusesATruncatedFileWithLlamasOwnWords) {
  const std::string whole = read_file(model_file(small_model()));
  EXPECT_EQ(load_code(with_bytes(whole.substr(0, whole.size() - 5000))), "MODEL_CORRUPT");
  EXPECT_NE(
      message_of([&] { load(with_bytes(whole.substr(0, whole.size() - 5000))); }).find("not within the file bounds"),
      std::string::npos);
  for (std::size_t length : {0u, 3u, 4u, 8u, 20u, 24u, 100u, 1000u, 9000u, 20000u})
    EXPECT_EQ(load_code(with_bytes(whole.substr(0, length))), "MODEL_CORRUPT") << length;
  EXPECT_EQ(load_code(with_bytes(std::string(100000, 'x'))), "MODEL_CORRUPT");
}

TEST(Model, RefusesVocabulariesThatWouldEndTheProcess) {
  const std::string from = model_file(small_model());
  const std::string twice = changed(from, "twice.gguf", [](gguf_context* file) {
    std::vector<std::string> pieces;
    std::vector<const char*> texts;
    const std::int64_t key = gguf_find_key(file, "tokenizer.ggml.tokens");
    for (std::size_t i = 0; i < gguf_get_arr_n(file, key); ++i) pieces.push_back(gguf_get_arr_str(file, key, i));
    pieces[400] = pieces[401];
    for (const std::string& piece : pieces) texts.push_back(piece.c_str());
    gguf_set_arr_str(file, "tokenizer.ggml.tokens", texts.data(), texts.size());
  });
  EXPECT_EQ(load_code(twice), "MODEL_CORRUPT");
  EXPECT_NE(message_of([&] { load(twice); }).find("twice"), std::string::npos);
  const float scores[10] = {};
  EXPECT_EQ(load_code(changed(from, "scores.gguf",
                              [&](gguf_context* f) {
                                gguf_set_arr_data(f, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, 10);
                              })),
            "MODEL_CORRUPT");
  const std::int32_t types[10] = {};
  EXPECT_EQ(load_code(changed(from, "types.gguf",
                              [&](gguf_context* f) {
                                gguf_set_arr_data(f, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, 10);
                              })),
            "MODEL_CORRUPT");
}

TEST(Model, RefusesBadMetadataWithoutEndingTheProcess) {
  const std::string from = model_file(small_model());
  const auto set = [&](const char* key, std::uint32_t value) {
    return load_code(changed(from, "meta.gguf", [&](gguf_context* file) { gguf_set_val_u32(file, key, value); }));
  };
  EXPECT_EQ(set("llama.block_count", 0xFFFFFFFFu), "MODEL_CORRUPT");
  EXPECT_EQ(set("llama.block_count", 3), "MODEL_CORRUPT");
  EXPECT_EQ(set("llama.embedding_length", 0), "MODEL_CORRUPT");
  EXPECT_EQ(set("llama.embedding_length", 64), "MODEL_CORRUPT");
  EXPECT_EQ(set("llama.attention.head_count_kv", 0), "MODEL_CORRUPT");
  EXPECT_EQ(load_code(changed(from, "arch.gguf",
                              [](gguf_context* f) { gguf_set_val_str(f, "general.architecture", "no such thing"); })),
            "MODEL_CORRUPT");
  EXPECT_EQ(load_code(changed(from, "vocab.gguf",
                              [](gguf_context* f) { gguf_set_val_str(f, "tokenizer.ggml.model", "no such thing"); })),
            "MODEL_CORRUPT");
}

TEST(Model, RefusesTensorTypesThatHaveNoProduct) {
  const std::string whole = read_file(model_file(small_model()));
  // In the list of tensors: name, number of dimensions (u32), each of them (u64), type (u32).
  const auto typed = [&](const std::string& name, std::uint32_t type) {
    std::string bytes = whole;
    const std::size_t dimensions = bytes.find(name) + name.size();
    std::uint32_t count = 0;
    std::memcpy(&count, bytes.data() + dimensions, sizeof count);
    std::memcpy(bytes.data() + dimensions + 4 + 8 * count, &type, sizeof type);
    return load_code(with_bytes(bytes));
  };
  EXPECT_EQ(typed("blk.0.ffn_up.weight", GGML_TYPE_F16), "");
  for (const ggml_type type :
       {GGML_TYPE_I8, GGML_TYPE_I16, GGML_TYPE_I32, GGML_TYPE_I64, GGML_TYPE_F64, GGML_TYPE_Q8_1, GGML_TYPE_Q8_K}) {
    for (const char* name : {"token_embd.weight", "output.weight", "blk.0.attn_q.weight", "blk.0.ffn_down.weight"}) {
      EXPECT_EQ(typed(name, type), "MODEL_CORRUPT") << name << " " << type;
    }
    EXPECT_EQ(typed("output_norm.weight", type), "MODEL_CORRUPT") << type;
  }
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0}) {
    EXPECT_EQ(typed("output_norm.weight", type), "MODEL_CORRUPT") << type;
  }
  EXPECT_EQ(typed("output.weight", 4000000000u), "MODEL_CORRUPT");
}

TEST(Model, RefusesAnEpsilonThatTheNormsWouldAssertOn) {
  const std::string from = model_file(small_model());
  const auto set = [&](float epsilon) {
    return load_code(changed(from, "epsilon.gguf", [&](gguf_context* file) {
      gguf_set_val_f32(file, "llama.attention.layer_norm_rms_epsilon", epsilon);
    }));
  };
  EXPECT_EQ(set(1e-6f), "");
  EXPECT_EQ(set(-1.0f), "MODEL_CORRUPT");
  EXPECT_EQ(set(std::nanf("")), "MODEL_CORRUPT");
}

TEST(Model, SurvivesRandomMutationsOfItsMetadata) {
  const std::string whole = read_file(model_file(small_model()));
  std::mt19937 random(12);
  int refused = 0;
  for (int trial = 0; trial < 150; ++trial) {
    std::string bytes = whole;
    for (unsigned change = 1 + random() % 3; change > 0; --change) {
      const std::size_t at = random() % 16000;  // header, metadata and the list of tensors
      if (random() % 2 == 0)
        bytes[at] = static_cast<char>(random());
      else
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
    }
    const std::string code = load_code(with_bytes(bytes));
    ASSERT_TRUE(code.empty() || code == "MODEL_CORRUPT" || code == "MODEL_UNSUPPORTED") << code;
    refused += code.empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 10);
}

}  // namespace
}  // namespace winnow::test
