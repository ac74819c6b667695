#include "ranker.h"

#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <thread>

#include "fault.h"
#include "fixture.h"
#include "mirror.h"
#include "rank_head.h"

namespace winnow::test {
namespace {

constexpr int kWidth = 32, kForward = 48, kLayers = 2, kHeads = 2, kContext = 64;

// A model file of noise in the making: what is asked of it in a test differs from one to the next.
class Draft {
 public:
  explicit Draft(std::string architecture) : architecture_(std::move(architecture)) {
    gguf_set_val_str(file.get(), "general.architecture", architecture_.c_str());
    set("context_length", kContext);
    set("embedding_length", kWidth);
    set("block_count", kLayers);
    set("feed_forward_length", kForward);
    set("attention.head_count", kHeads);
  }

  void set(const char* key, std::uint32_t value) { gguf_set_val_u32(file.get(), of(key).c_str(), value); }

  void add(const std::string& name, int columns, int rows, ggml_type type = GGML_TYPE_F32) {
    ggml_tensor* tensor = rows == 0 ? ggml_new_tensor_1d(tensors_.get(), type, columns)
                                    : ggml_new_tensor_2d(tensors_.get(), type, columns, rows);
    std::vector<float> values(static_cast<std::size_t>(ggml_nelements(tensor)));
    for (float& value : values) value = normal_(random_) * (rows == 0 ? 0.5f : 0.3f);
    if (name.find("norm.weight") != std::string::npos) {
      for (float& value : values) value += 1;
    }
    ggml_quantize_chunk(type, values.data(), tensor->data, 0, std::max(rows, 1), columns, nullptr);
    ggml_set_name(tensor, name.c_str());
    gguf_add_tensor(file.get(), tensor);
  }

  void label(const std::vector<const char*>& labels) {
    std::vector<const char*> names = labels;
    gguf_set_arr_str(file.get(), of("classifier.output_labels").c_str(), names.data(), names.size());
  }

  std::string write() const {
    static int count = 0;
    const std::string path = temp_path("draft-" + std::to_string(count++) + ".gguf");
    EXPECT_TRUE(gguf_write_to_file(file.get(), path.c_str(), false));
    return path;
  }

  std::string of(const char* key) const { return architecture_ + "." + key; }

  const std::unique_ptr<gguf_context, void (*)(gguf_context*)> file{gguf_init_empty(), gguf_free};

 private:
  std::string architecture_;
  const std::unique_ptr<ggml_context, void (*)(ggml_context*)> tensors_{
      ggml_init({std::size_t{4} << 20, nullptr, false}), ggml_free};
  std::mt19937 random_{11};
  std::normal_distribution<float> normal_;
};

const std::vector<const char*> kWords = {"[PAD]",       "[UNK]",     "[CLS]",    "[SEP]", "[MASK]",  "\u2581rain",
                                         "\u2581falls", "\u2581why", "\u2581it", "s",     "\u2581.", "\u2581?"};

struct Head32 {
  bool pooler = true;
  int outputs = 1;  // 0: no head
  std::vector<const char*> labels;
  ggml_type token_types = GGML_TYPE_F32;
  bool bias_matrix = false;  // of the head, F16
};

// BERT with a WordPiece vocabulary of twelve.
std::string bert_file(const Head32& head = {}) {
  Draft draft("bert");
  gguf_set_val_f32(draft.file.get(), "bert.attention.layer_norm_epsilon", 1e-6f);
  gguf_set_val_bool(draft.file.get(), "bert.attention.causal", false);
  gguf_set_val_str(draft.file.get(), "tokenizer.ggml.model", "bert");
  std::vector<const char*> words = kWords;
  gguf_set_arr_str(draft.file.get(), "tokenizer.ggml.tokens", words.data(), words.size());
  const std::vector<std::int32_t> kinds = {3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  gguf_set_arr_data(draft.file.get(), "tokenizer.ggml.token_type", GGUF_TYPE_INT32, kinds.data(), kinds.size());
  gguf_set_val_u32(draft.file.get(), "tokenizer.ggml.token_type_count", 2);
  gguf_set_val_u32(draft.file.get(), "tokenizer.ggml.unknown_token_id", 1);
  gguf_set_val_u32(draft.file.get(), "tokenizer.ggml.bos_token_id", 2);
  gguf_set_val_u32(draft.file.get(), "tokenizer.ggml.seperator_token_id", 3);
  if (!head.labels.empty()) draft.label(head.labels);
  const int words_count = static_cast<int>(kWords.size());
  draft.add("token_embd.weight", kWidth, words_count);
  draft.add("token_types.weight", kWidth, 2, head.token_types);
  draft.add("position_embd.weight", kWidth, kContext);
  const auto affine = [&](const std::string& name, int columns, int rows) {
    draft.add(name + ".weight", columns, rows);
    const bool matrix = head.bias_matrix && name == "cls.output";
    draft.add(name + ".bias", rows == 0 ? columns : rows, matrix ? 1 : 0, matrix ? GGML_TYPE_F16 : GGML_TYPE_F32);
  };
  affine("token_embd_norm", kWidth, 0);
  if (head.pooler) affine("cls", kWidth, kWidth);
  if (head.outputs > 0) affine("cls.output", kWidth, head.outputs);
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_output"}) affine(block + part, kWidth, kWidth);
    affine(block + "attn_output_norm", kWidth, 0);
    affine(block + "ffn_up", kWidth, kForward);
    affine(block + "ffn_down", kForward, kWidth);
    affine(block + "layer_output_norm", kWidth, 0);
  }
  return draft.write();
}

// Qwen3 without a tokenizer, a vocabulary of 64.
std::string qwen3_file(int outputs, const std::vector<const char*>& labels, ggml_type type = GGML_TYPE_F32,
                       const std::function<void(Draft&)>& more = {}) {
  Draft draft("qwen3");
  gguf_set_val_f32(draft.file.get(), "qwen3.attention.layer_norm_rms_epsilon", 1e-6f);
  gguf_set_val_str(draft.file.get(), "tokenizer.ggml.model", "none");
  draft.set("vocab_size", 64);
  draft.set("attention.head_count_kv", 1);
  draft.set("attention.key_length", 16);
  draft.set("attention.value_length", 16);
  if (!labels.empty()) draft.label(labels);
  draft.add("token_embd.weight", kWidth, 64);
  draft.add("output_norm.weight", kWidth, 0);
  if (outputs > 0) draft.add("cls.output.weight", kWidth, outputs, type);
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    draft.add(block + "attn_norm.weight", kWidth, 0);
    draft.add(block + "attn_q.weight", kWidth, 16 * kHeads);
    draft.add(block + "attn_k.weight", kWidth, 16);
    draft.add(block + "attn_v.weight", kWidth, 16);
    draft.add(block + "attn_output.weight", 16 * kHeads, kWidth);
    draft.add(block + "attn_q_norm.weight", 16, 0);
    draft.add(block + "attn_k_norm.weight", 16, 0);
    draft.add(block + "ffn_norm.weight", kWidth, 0);
    draft.add(block + "ffn_gate.weight", kWidth, kForward);
    draft.add(block + "ffn_up.weight", kWidth, kForward);
    draft.add(block + "ffn_down.weight", kForward, kWidth);
  }
  if (more) more(draft);
  return draft.write();
}

std::shared_ptr<Model> load_ranker(const std::string& path) {
  ModelParams params;
  params.path = path;
  params.devices = {"CPU"};
  params.ranker = true;
  return Model::load(params);
}

RankerParams ranker_of(int context = kContext, int batch = kContext) {
  RankerParams params;
  params.context = context;
  params.batch = batch;
  params.threads = 1;
  params.flash_attention = "off";
  return params;
}

using Texts = std::vector<std::vector<Token>>;

RankRequest packed(const Texts& texts) {
  RankRequest request;
  request.offsets = {0};
  for (const std::vector<Token>& text : texts) {
    request.tokens.insert(request.tokens.end(), text.begin(), text.end());
    request.offsets.push_back(static_cast<std::int32_t>(request.tokens.size()));
  }
  return request;
}

// Lengths of 1 to `most`, and twice the same text.
Texts random_texts(int count, int vocabulary, int most) {
  std::mt19937 random(9);
  Texts texts;
  for (int i = 0; i < count; ++i) {
    texts.emplace_back(i == 0 ? static_cast<std::size_t>(most) : random() % static_cast<unsigned>(most) + 1);
    for (Token& token : texts.back()) token = static_cast<Token>(random() % static_cast<unsigned>(vocabulary));
  }
  texts.push_back(texts.front());
  return texts;
}

double deviation(const std::vector<float>& values) {
  double sum = 0, squares = 0;
  for (const float value : values) sum += static_cast<double>(value);
  const double mean = sum / static_cast<double>(values.size());
  for (const float value : values) squares += (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean);
  return std::sqrt(squares / static_cast<double>(values.size()));
}

}  // namespace

TEST(Ranker, GivesEachTextTheScoreItHasAlone) {
  const std::shared_ptr<Model> model = load_ranker(bert_file());
  const Texts texts = random_texts(40, static_cast<int>(kWords.size()), kContext);
  const std::unique_ptr<Ranker> ranker = Ranker::create(model, ranker_of(kContext, 300));
  const RankScores together = ranker->score(packed(texts));
  ASSERT_EQ(together.reason, AdvanceReason::reached);
  ASSERT_EQ(together.scores.size(), texts.size());
  EXPECT_EQ(together.decoded, static_cast<std::int64_t>(packed(texts).tokens.size()));
  EXPECT_GT(together.batches, 1);
  EXPECT_LT(together.batches, static_cast<int>(texts.size()) / 2);
  const double spread = deviation(together.scores);
  EXPECT_GT(spread, 0.05);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const RankScores alone = ranker->score(packed({texts[i]}));
    EXPECT_NEAR(alone.scores.at(0), together.scores[i], 1e-4 * spread) << i;
    EXPECT_EQ(alone.batches, 1);
  }
}

TEST(Ranker, ReadsYesLessNoWhicheverComesFirst) {
  const Texts texts = random_texts(10, static_cast<int>(kWords.size()), 20);
  const auto scores = [&](const std::vector<const char*>& labels) {
    return Ranker::create(load_ranker(bert_file({true, 2, labels})), ranker_of())->score(packed(texts)).scores;
  };
  const std::vector<float> first = scores({"yes", "no"}), second = scores({"No", "YES"});
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_NEAR(first[i], -second[i], 1e-6);
}

TEST(Ranker, FramesAPairAsBertWasTrained) {
  const std::unique_ptr<Ranker> ranker = Ranker::create(load_ranker(bert_file()), ranker_of());
  EXPECT_EQ(ranker->frame().before, std::vector<Token>{2});
  EXPECT_EQ(ranker->frame().between, std::vector<Token>{3});
  EXPECT_EQ(ranker->frame().after, std::vector<Token>{3});
  EXPECT_EQ(ranker->context(), kContext);
}

TEST(Ranker, RefusesBadInputBeforeItDecodesAnything) {
  const std::shared_ptr<Model> model = load_ranker(bert_file());
  const std::unique_ptr<Ranker> ranker = Ranker::create(model, ranker_of(16, 4));
  const auto code = [&](const RankRequest& request) { return code_of([&] { ranker->score(request); }); };
  EXPECT_EQ(code(packed({{2, 3}, std::vector<Token>(17, 5)})), "CONTEXT_TOO_LONG");
  EXPECT_EQ(message_of([&] {
              ranker->score(packed({{2}, std::vector<Token>(17, 5)}));
            }),
            "Expected 1 to 16 tokens in sequence 1 but received 17");
  EXPECT_EQ(code(packed({{2}, {}})), "OPTION_INVALID");
  EXPECT_EQ(code(packed({{2, 12}})), "TOKEN_INVALID");
  EXPECT_EQ(code(packed({{-1}})), "TOKEN_INVALID");
  EXPECT_EQ(code({{2, 3}, {}}), "OPTION_INVALID");
  EXPECT_EQ(code({{2, 3}, {0, 3}}), "OPTION_INVALID");
  EXPECT_EQ(code({{2, 3}, {0, 2, 1, 2}}), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { ranker->score(packed({{2}}), -1); }), "OPTION_INVALID");
  EXPECT_TRUE(ranker->score({{}, {0}}).scores.empty());
  EXPECT_EQ(ranker->score(packed({std::vector<Token>(16, 5)})).scores.size(), 1u) << "rows are raised to the context";

  const auto create = [&](const RankerParams& params) { return code_of([&] { Ranker::create(model, params); }); };
  EXPECT_EQ(create(ranker_of(0)), "OPTION_INVALID");
  EXPECT_EQ(create(ranker_of(kContext + 1)), "CONTEXT_TOO_LONG");
  EXPECT_EQ(create(ranker_of(16, 0)), "OPTION_INVALID");
  RankerParams params = ranker_of();
  params.threads = 513;
  EXPECT_EQ(create(params), "OPTION_INVALID");
  params = ranker_of();
  params.flash_attention = "maybe";
  EXPECT_EQ(create(params), "OPTION_INVALID");
  EXPECT_EQ(code_of([] { Ranker::create(nullptr, {}); }), "OPTION_INVALID");
}

TEST(Ranker, StopsAtADeadlineAndOnRequestAndGoesOnAfterwards) {
  const std::unique_ptr<Ranker> ranker = Ranker::create(load_ranker(bert_file()), ranker_of());
  const RankRequest many = packed(random_texts(3000, static_cast<int>(kWords.size()), kContext));
  const RankScores late = ranker->score(many, 1e-3);
  EXPECT_EQ(late.reason, AdvanceReason::deadline);
  EXPECT_TRUE(late.scores.empty());
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ranker->request_abort();
  });
  const RankScores cut = ranker->score(many);
  other.join();
  EXPECT_EQ(cut.reason, AdvanceReason::aborted);
  ranker->clear_abort();
  const Texts few = random_texts(3, static_cast<int>(kWords.size()), 9);
  const std::unique_ptr<Ranker> fresh = Ranker::create(load_ranker(bert_file()), ranker_of());
  EXPECT_EQ(ranker->score(packed(few)).scores, fresh->score(packed(few)).scores);
}

TEST(Ranker, IsDeadAfterAFailureAndSaysSo) {
  const std::shared_ptr<Model> model = load_ranker(bert_file());
  const auto after = [&](const char* fault, int code) {
    const std::unique_ptr<Ranker> ranker = Ranker::create(model, ranker_of());
    arm_fault(fault, code);
    const std::string first = code_of([&] { ranker->score(packed({{2, 5, 3}})); });
    EXPECT_EQ(code_of([&] { ranker->score(packed({{2, 5, 3}})); }), "POOL_DEAD") << fault;
    return first;
  };
  EXPECT_EQ(after("code", -3), "DECODE_FAILED");
  EXPECT_EQ(after("exception", 0), "DECODE_FAILED");
  EXPECT_EQ(after("assert", 0), "NATIVE_ASSERT");
}

TEST(Ranker, KeepsItsModelAlive) {
  std::unique_ptr<Ranker> ranker = Ranker::create(load_ranker(bert_file()), ranker_of());
  EXPECT_EQ(ranker->score(packed({{2, 5, 3}})).scores.size(), 1u);
  EXPECT_GT(ranker->occupancy().kv_bytes, 0u);
}

TEST(Model, RefusesAnEncoderAsAGeneratorWhetherItHasARankHeadOrNot) {
  const std::string path = bert_file();
  EXPECT_EQ(message_of([&] { load(path); }),
            "Expected a decoder whose cache can be forked but received architecture 'bert', which is an encoder only");
  const std::shared_ptr<Model> model = load_ranker(path);
  EXPECT_EQ(code_of([&] { Pool::create(model, pool_of(1, 32)); }), "MODEL_UNSUPPORTED");
  EXPECT_EQ(code_of([&] { Mirror::create(model, pool_of(1, 32)); }), "MODEL_UNSUPPORTED");
}

TEST(Model, RefusesAsARankerWhatHasNoHeadItCanRead) {
  const auto reason = [](const std::string& path) { return message_of([&] { load_ranker(path); }); };
  const auto says = [&](const std::string& path, const char* words) {
    EXPECT_NE(reason(path).find(words), std::string::npos) << reason(path);
    EXPECT_EQ(code_of([&] { load_ranker(path); }), "MODEL_UNSUPPORTED") << words;
  };
  says(bert_file({true, 0, {}}), "'bert', which has no rank head (no tensor cls.output.weight)");
  says(qwen3_file(0, {}), "'qwen3', which has no rank head");
  says(model_file(small_model("llama")), "'llama', which has no rank head");
  says(bert_file({true, 2, {"LABEL_0", "LABEL_1"}}), "has the labels 'LABEL_0', 'LABEL_1', not one or yes and no");
  says(bert_file({true, 3, {"yes", "no", "maybe"}}), "not one or yes and no");
  says(qwen3_file(2, {"yes", "yes"}), "not one or yes and no");
  const auto corrupt = [&](const std::string& path) {
    EXPECT_EQ(code_of([&] { load_ranker(path); }), "MODEL_CORRUPT") << reason(path);
  };
  corrupt(bert_file({true, 2, {}}));
  corrupt(qwen3_file(1, {"yes", "no"}));
  corrupt(qwen3_file(0, {}, GGML_TYPE_F32, [](Draft& draft) { draft.add("cls.output.weight", kWidth / 2, 1); }));
  // What would meet F32 rows in another type deep inside llama.cpp, on a compute thread.
  corrupt(bert_file({true, 1, {}, GGML_TYPE_F16}));
  corrupt(bert_file({true, 1, {}, GGML_TYPE_F32, true}));
  EXPECT_EQ(code_of([] { load_ranker(temp_path("nowhere.gguf")); }), "MODEL_NOT_FOUND");
  EXPECT_EQ(code_of([] { Ranker::create(load_ranker(qwen3_file(1, {})), ranker_of()); }), "MODEL_UNSUPPORTED");
  EXPECT_EQ(code_of([] { Ranker::create(small(), ranker_of()); }), "MODEL_UNSUPPORTED");
}

TEST(RankHead, GivesADecodersLogitWhereRankPoolingGivesOne) {
  const std::shared_ptr<Model> model = load_ranker(qwen3_file(1, {}));
  const std::shared_ptr<const Head> head = model->facts().rank->head;
  ASSERT_NE(head, nullptr);
  PoolParams params = pool_of(1, 64);
  params.kv_type = "f32";
  params.flash_attention = "off";
  params.states = true;
  const std::unique_ptr<Mirror> mirror = Mirror::create(model, params);

  llama_context_params options = llama_context_default_params();
  options.n_ctx = options.n_batch = options.n_ubatch = 64;
  options.embeddings = true;
  options.pooling_type = LLAMA_POOLING_TYPE_RANK;
  const std::unique_ptr<llama_context, void (*)(llama_context*)> pooled(llama_init_from_model(model->raw(), options),
                                                                        llama_free);
  ASSERT_NE(pooled, nullptr);
  std::set<float> scores;
  for (std::vector<Token>& text : random_texts(6, 64, 20)) {
    text.insert(text.begin(), 1);
    mirror->prefill({1});
    mirror->fork(1);
    MirrorRequest request{{0}, {1}, {text.begin() + 1, text.end()}, {0, static_cast<int>(text.size()) - 1}, {}, {}};
    scores.insert(mirror->score(*head, request).scores.at(0));
    llama_memory_clear(llama_get_memory(pooled.get()), true);
    ASSERT_EQ(llama_decode(pooled.get(), llama_batch_get_one(text.data(), static_cast<int>(text.size()))), 0);
    EXPECT_EQ(llama_get_embeddings_seq(pooled.get(), 0)[0], 1.0f) << "the trap";
  }
  EXPECT_EQ(scores.size(), 6u) << "six texts and the first again";
  EXPECT_EQ(scores.count(1.0f), 0u);
}

TEST(RankHead, TakesYesLessNoOutOfAnyWeightType) {
  const std::vector<float> state(kWidth, 0.25f);
  const auto score = [&](const std::string& path) {
    float out = 0;
    read_rank_head(path)->head->apply(state.data(), nullptr, 1, &out);
    return out;
  };
  const float exact = score(qwen3_file(2, {"yes", "no"}));
  EXPECT_NEAR(score(qwen3_file(2, {"no", "yes"})), -exact, 1e-6);
  EXPECT_NEAR(score(qwen3_file(2, {"yes", "no"}, GGML_TYPE_F16)), exact, 1e-2);
  EXPECT_NEAR(score(qwen3_file(2, {"yes", "no"}, GGML_TYPE_BF16)), exact, 5e-2);
  EXPECT_NEAR(score(qwen3_file(2, {"yes", "no"}, GGML_TYPE_Q8_0)), exact, 5e-2);
  EXPECT_EQ(read_rank_head(qwen3_file(2, {"yes", "no"}))->labels, (std::vector<std::string>{"yes", "no"}));
}

TEST(RankHead, RefusesATensorWithoutDimensionsAndNamesFewOfManyLabels) {
  std::string bytes = read_file(qwen3_file(1, {}));
  const std::string name = "cls.output.weight";
  const std::size_t dimensions = bytes.find(name) + name.size();
  const std::size_t count = static_cast<std::size_t>(bytes[dimensions]);
  bytes[dimensions] = '\0';
  bytes.erase(dimensions + 4, count * 8);
  const std::string path = temp_path("flat.gguf");
  write_file(path, bytes + std::string(64, '\0'));  // all data is still inside
  EXPECT_EQ(code_of([&] { read_rank_head(path); }), "MODEL_CORRUPT");
  EXPECT_NE(message_of([&] { read_rank_head(path); }).find("cls.output.weight"), std::string::npos);
  const std::vector<const char*> labels(500, "maybe");
  const std::string message = message_of([&] { load_ranker(qwen3_file(500, labels)); });
  EXPECT_NE(message.find("'maybe' and 496 more"), std::string::npos) << message;
}

TEST(RankHead, RefusesWeightsOutsideTheFileOrNotFinite) {
  const std::string path = qwen3_file(1, {}, GGML_TYPE_F16);
  std::string bytes = read_file(path);
  const std::string cut = temp_path("cut.gguf");
  write_file(cut, bytes.substr(0, 4000));
  EXPECT_EQ(code_of([&] { read_rank_head(cut); }), "MODEL_CORRUPT");
  const GgufFile file = read_gguf(path);
  const std::size_t at = static_cast<std::size_t>(file.data_offset + file.tensor("cls.output.weight")->offset);
  bytes[at] = '\0';
  bytes[at + 1] = '\x7c';  // infinity in F16
  write_file(cut, bytes);
  EXPECT_EQ(code_of([&] { read_rank_head(cut); }), "MODEL_CORRUPT");
}

}  // namespace winnow::test
