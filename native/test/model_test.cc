#include "model.h"

#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>
#include <llama.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include "backend.h"
#include "fixture.h"

namespace winnow::test {
namespace {

std::string load_code(const std::string& path) {
  return code_of([&] { load(path); });
}

std::string with_bytes(const std::string& bytes) {
  const std::string path = temp_path("changed.gguf");
  write_file(path, bytes);
  return path;
}

// The file `from` with its metadata changed and the tensors' bytes behind it as they were.
template <typename Change>
std::string changed(const std::string& from, const std::string& name, Change change) {
  gguf_context* file = gguf_init_from_file(from.c_str(), {true, nullptr});
  const std::string weights = read_file(from).substr(gguf_get_data_offset(file));
  change(file);
  std::string bytes(gguf_get_meta_size(file), '\0');
  gguf_get_meta_data(file, bytes.data());
  gguf_free(file);
  const std::string path = temp_path(name);
  write_file(path, bytes + weights);
  return path;
}

TEST(Backend, KnowsItsDevicesAndVersions) {
  EXPECT_TRUE(backends_loaded());
  const std::vector<Device> all = devices();
  ASSERT_FALSE(all.empty());
  bool cpu = false;
  for (const Device& device : all) cpu = cpu || (device.type == "cpu" && device.memory_total > 0);
  EXPECT_TRUE(cpu);
  EXPECT_FALSE(llama_version_text().empty());
  EXPECT_FALSE(compiled_llama_version().empty());
  EXPECT_NE(system_info().find("CPU"), std::string::npos);
}

TEST(Backend, LoadsOneFolderPerProcess) {
  EXPECT_NO_THROW(load_backends(library_folder()));
  EXPECT_EQ(code_of([] { load_backends("/somewhere/else"); }), "BACKEND_LOAD");
  EXPECT_EQ(code_of([] { load_backends(""); }), "BACKEND_LOAD");
}

TEST(Backend, ThrowsAnAssertOnlyOnAThreadThatAskedForIt) {
  EXPECT_EQ(code_of([] {
              const AssertGuard guard;
              GGML_ASSERT(1 == 2);
            }),
            "NATIVE_ASSERT");
  EXPECT_NE(message_of([] {
              const AssertGuard guard;
              GGML_ABORT("the reason");
            }).find("the reason"),
            std::string::npos);
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(GGML_ABORT("told to stderr"), "told to stderr");
  EXPECT_DEATH(
      {
        const AssertGuard guard;
        std::thread([] { GGML_ABORT("another thread"); }).join();
      },
      "another thread");
}

TEST(Backend, KeepsTheLastWordsOfLlamaPerThreadAndPassesLinesOn) {
  std::string lines;
  set_log_sink([&](int, const std::string& text) { lines += text; });
  clear_last_log();
  load_code(with_bytes(read_file(model_file(small_model())).substr(0, 60000)));
  const std::string here = last_log();
  std::string there = "not asked";
  std::thread([&] { there = last_log(); }).join();
  set_log_sink([](int, const std::string&) { throw 1; });
  load_code(with_bytes("GGUF"));
  set_log_sink(nullptr);
  EXPECT_FALSE(here.empty());
  EXPECT_EQ(there, "");
  EXPECT_NE(lines.find(here.substr(0, 20)), std::string::npos);
}

TEST(Model, TellsItsFacts) {
  RandomModelParams params = small_model();
  params.chat_template = "{{ messages[0].content }}";
  params.heads_kv = 1;
  const std::shared_ptr<Model> model = load(model_file(params));
  const ModelFacts& facts = model->facts();
  EXPECT_EQ(facts.architecture, "llama");
  EXPECT_EQ(facts.context_train, 2048);
  EXPECT_EQ(facts.width, 128);
  EXPECT_EQ(facts.layers, 2);
  EXPECT_EQ(facts.heads, 2);
  EXPECT_EQ(facts.heads_kv, 1);
  EXPECT_EQ(facts.vocabulary, 512);
  EXPECT_EQ(facts.bos, 1);
  EXPECT_EQ(facts.eos, 2);
  EXPECT_TRUE(facts.add_bos);
  EXPECT_TRUE(facts.has_tokenizer);
  EXPECT_EQ(facts.chat_template, "{{ messages[0].content }}");
  EXPECT_GT(facts.bytes, facts.parameters);
  // Embedding, output, 2 x (q, k, v, o, gate, up, down, two norms), final norm.
  EXPECT_EQ(facts.parameters, 2u * 512 * 128 + 2u * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 256 + 2 * 128) + 128);
  EXPECT_FALSE(load(model_file(small_model()))->facts().chat_template.has_value());
}

TEST(Model, RoundTripsTextThroughItsTokens) {
  const std::shared_ptr<Model> model = load(model_file(small_model()));
  for (const std::string text : {"hello world", "", "a", "Zürich, 東京 \xF0\x9F\x9A\x80", "tabs\tand\nlines\r\n"}) {
    const std::vector<Token> tokens = model->tokenize(text, false, false);
    std::string back = model->detokenize(tokens.data(), tokens.size());
    if (!back.empty() && back[0] == ' ') back.erase(0, 1);  // SentencePiece puts a space in front
    EXPECT_EQ(back, text);
    const std::vector<Token> with_bos = model->tokenize(text, true, false);
    ASSERT_EQ(with_bos.size(), tokens.size() + 1);
    EXPECT_EQ(with_bos[0], 1);
  }
}

TEST(Model, TokenizesNulsBrokenUtf8AndLongText) {
  const std::shared_ptr<Model> model = load(model_file(small_model()));
  const std::string nuls("a\0b\0", 4);
  const std::vector<Token> tokens = model->tokenize(nuls, false, false);
  EXPECT_NE(model->detokenize(tokens.data(), tokens.size()).find(nuls), std::string::npos);
  const std::string replacement = "\xEF\xBF\xBD";
  for (const std::string bad : {"\xFF", "\xC3", "\xE2\x82", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xC0\xAF", "\x80"}) {
    const std::vector<Token> broken = model->tokenize("x" + bad + "y", true, true);
    const std::string back = model->detokenize(broken.data(), broken.size());
    EXPECT_NE(back.find("x" + replacement), std::string::npos) << back;
    EXPECT_NE(back.find(replacement + "y"), std::string::npos) << back;
  }
  const std::string longer(300000, 'z');
  const std::vector<Token> many = model->tokenize(longer, false, false);
  EXPECT_NE(model->detokenize(many.data(), many.size()).find(longer), std::string::npos);
  EXPECT_EQ(code_of([&] { model->tokenize(std::string(600000, 'z'), false, false); }), "OPTION_INVALID");
  EXPECT_NO_THROW(model->tokenize(std::string(300000, 'z') + " " + std::string(300000, 'z'), false, false));
  std::mt19937 random(8);
  for (int trial = 0; trial < 200; ++trial) {
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    EXPECT_NO_THROW(model->tokenize(bytes, true, true));
  }
}

TEST(Model, ParsesSpecialTokensOnlyWhenAsked) {
  const std::shared_ptr<Model> model = load(model_file(small_model()));
  EXPECT_EQ(model->tokenize("</s>", false, true).back(), 2);
  for (const Token token : model->tokenize("</s>", false, false)) EXPECT_NE(token, 2);
  EXPECT_EQ(model->token_text(2), "</s>");
  EXPECT_TRUE(model->is_end(2));
  EXPECT_FALSE(model->is_end(1));
  const Token end = 2;
  EXPECT_EQ(model->detokenize(&end, 1), "");
  EXPECT_EQ(model->detokenize(&end, 1, true), "</s>");
}

TEST(Model, RefusesTokensOutsideItsVocabulary) {
  const std::shared_ptr<Model> model = load(model_file(small_model()));
  for (const Token token : {-1, 512, 1 << 30}) {
    EXPECT_EQ(code_of([&] { model->detokenize(&token, 1); }), "TOKEN_INVALID");
    EXPECT_EQ(code_of([&] { model->token_text(token); }), "TOKEN_INVALID");
  }
}

TEST(Model, LoadsWithoutATokenizerAndSaysSoWhenOneIsNeeded) {
  const Token token = 3;
  EXPECT_EQ(code_of([] { small()->tokenize("text", true, true); }), "NO_TOKENIZER");
  EXPECT_EQ(code_of([&] { small()->detokenize(&token, 1); }), "NO_TOKENIZER");
  EXPECT_EQ(small()->token_text(3), "<3>");
  EXPECT_FALSE(small()->is_end(2));
}

TEST(Model, LoadsEveryArchitectureAndWeightType) {
  for (const std::string architecture : {"llama", "qwen2", "qwen3"}) {
    for (const std::string weights : {"f32", "f16", "q8_0", "q4_0"}) {
      EXPECT_EQ(load(model_file(small_model(architecture, weights)))->facts().architecture, architecture) << weights;
    }
  }
}

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

TEST(Model, RefusesDevicesItDoesNotKnowAndNamesThoseItKnows) {
  ModelParams params;
  params.path = model_file(small_model());
  params.devices = {"CUDA77"};
  EXPECT_EQ(code_of([&] { Model::load(params); }), "DEVICE_UNKNOWN");
  EXPECT_NE(message_of([&] { Model::load(params); }).find("CPU"), std::string::npos);
  params.devices = {"CPU", "CPU"};
  EXPECT_NO_THROW(Model::load(params));
}

TEST(Model, RefusesBadOptions) {
  const auto code = [](auto change) {
    ModelParams params;
    params.path = model_file(small_model());
    params.devices = {"CPU"};
    change(params);
    return code_of([&] { Model::load(params); });
  };
  EXPECT_EQ(code([](ModelParams& p) { p.split = "diagonal"; }), "OPTION_INVALID");
  EXPECT_EQ(code([](ModelParams& p) { p.tensor_split.assign(1000, 1.0f); }), "OPTION_INVALID");
  EXPECT_EQ(code([](ModelParams& p) { p.tensor_split = {-1.0f}; }), "OPTION_INVALID");
  EXPECT_EQ(code([](ModelParams& p) { p.gpu_layers = 1000; }), "");
  EXPECT_EQ(code([](ModelParams& p) { p.mmap = false; }), "");
  EXPECT_EQ(code([](ModelParams& p) { p.check_tensors = true; }), "");
  EXPECT_EQ(code([](ModelParams& p) { p.split = "none"; }), "");
  EXPECT_EQ(code([](ModelParams& p) { p.split = "row"; }), "");
}

TEST(Model, ReportsProgressAndStopsWhenToldTo) {
  ModelParams params;
  params.path = model_file(small_model());
  params.devices = {"CPU"};
  float last = -1;
  params.progress = [&](float share) {
    EXPECT_GE(share, last);
    last = share;
    return true;
  };
  Model::load(params);
  EXPECT_EQ(last, 1.0f);
  params.progress = [](float) { return false; };
  EXPECT_EQ(code_of([&] { Model::load(params); }), "LOAD_CANCELLED");
  params.progress = [](float) -> bool { throw 1; };
  EXPECT_EQ(code_of([&] { Model::load(params); }), "LOAD_CANCELLED");
}

TEST(RandomModel, IsTheSameForTheSameSeedAndAnotherForAnother) {
  RandomModelParams params = small_model();
  params.path = temp_path("a.gguf");
  write_random_model(params);
  const std::string first = read_file(params.path);
  write_random_model(params);
  EXPECT_EQ(read_file(params.path), first);
  params.seed = 2;
  write_random_model(params);
  EXPECT_NE(read_file(params.path), first);
  EXPECT_EQ(read_file(params.path).size(), first.size());
}

TEST(RandomModel, RefusesShapesThatCannotBe) {
  const auto code = [](auto change) {
    RandomModelParams params = small_model();
    params.path = temp_path("bad.gguf");
    change(params);
    return code_of([&] { write_random_model(params); });
  };
  EXPECT_EQ(code([](RandomModelParams& p) { p.architecture = "gpt9"; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.weights = "q3"; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.tokenizer = "words"; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.vocabulary = 258; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.vocabulary = -1; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.width = 0; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.width = 127; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.heads = 3; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.heads_kv = 3; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.layers = 0; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.context = 0; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.spread = 0; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) {
              p.weights = "q8_0";
              p.feed_forward = 100;
            }),
            "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.path = temp_path("no/such/folder/x.gguf"); }), "WRITE_FAILED");
}

}  // namespace
}  // namespace winnow::test
