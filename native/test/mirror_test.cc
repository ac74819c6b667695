#include "mirror.h"

#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>
#include <thread>

#include "fault.h"
#include "fixture.h"
#include "slabs.h"

namespace winnow::test {
namespace {

using Texts = std::vector<std::vector<Token>>;

// A linear head of noise. `features` of the names in kFeatureNames, none by default.
std::shared_ptr<const Head> head_of(int width, const std::vector<const char*>& features = {}) {
  const std::size_t in = static_cast<std::size_t>(width) + features.size();
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  const std::unique_ptr<ggml_context, void (*)(ggml_context*)> tensors(
      ggml_init({in * 4 + 8 * ggml_tensor_overhead() + 1024, nullptr, false}), ggml_free);
  ggml_tensor* weight = ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F32, static_cast<std::int64_t>(in), 1);
  ggml_tensor* bias = ggml_new_tensor_1d(tensors.get(), GGML_TYPE_F32, 1);
  ggml_set_name(weight, "head.weight");
  ggml_set_name(bias, "head.bias");
  for (std::size_t i = 0; i < in; ++i) static_cast<float*>(weight->data)[i] = normal(random);
  static_cast<float*>(bias->data)[0] = 0.5f;
  const std::vector<float> means(features.size(), 0.0f), deviations(features.size(), 1.0f);

  const std::unique_ptr<gguf_context, void (*)(gguf_context*)> file(gguf_init_empty(), gguf_free);
  gguf_set_val_u32(file.get(), "winnow.head.version", 1);
  gguf_set_val_u32(file.get(), "winnow.head.width", static_cast<std::uint32_t>(width));
  gguf_set_val_str(file.get(), "winnow.head.layer", "final-norm");
  gguf_set_val_str(file.get(), "winnow.head.kind", "linear");
  gguf_set_val_str(file.get(), "winnow.head.output", "logit");
  gguf_set_val_u32(file.get(), "winnow.head.window", 16);
  gguf_set_val_str(file.get(), "winnow.head.trained_on", "noise");
  gguf_set_val_str(file.get(), "winnow.head.model_sha256", "");
  std::vector<const char*> names = features;
  gguf_set_arr_str(file.get(), "winnow.head.features", names.data(), names.size());
  gguf_set_arr_data(file.get(), "winnow.head.feature_mean", GGUF_TYPE_FLOAT32, means.data(), means.size());
  gguf_set_arr_data(file.get(), "winnow.head.feature_std", GGUF_TYPE_FLOAT32, deviations.data(), deviations.size());
  gguf_add_tensor(file.get(), weight);
  gguf_add_tensor(file.get(), bias);
  const std::string path = temp_path("mirror-head.gguf");
  EXPECT_TRUE(gguf_write_to_file(file.get(), path.c_str(), false));
  return Head::load(path);
}

std::shared_ptr<Model> exact(const std::string& architecture) {
  RandomModelParams params = small_model(architecture, "f32");
  params.tokenizer = "none";
  return load(model_file(params));
}

// Cohere 2 with a window of 16 cells in three layers of four.
std::shared_ptr<Model> sliding() {
  constexpr int width = 64, vocabulary = 512, forward = 128, head = 32, heads = 2, layers = 4;
  const std::unique_ptr<ggml_context, void (*)(ggml_context*)> tensors(
      ggml_init({std::size_t{4} << 20, nullptr, false}), ggml_free);
  const std::unique_ptr<gguf_context, void (*)(gguf_context*)> file(gguf_init_empty(), gguf_free);
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.15f);
  const auto add = [&](const std::string& name, int columns, int rows) {
    ggml_tensor* tensor = rows == 0 ? ggml_new_tensor_1d(tensors.get(), GGML_TYPE_F32, columns)
                                    : ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F32, columns, rows);
    float* values = static_cast<float*>(tensor->data);
    for (std::int64_t i = 0; i < ggml_nelements(tensor); ++i) values[i] = rows == 0 ? 1.0f : normal(random);
    ggml_set_name(tensor, (name + ".weight").c_str());
    gguf_add_tensor(file.get(), tensor);
  };
  const auto set = [&](const char* key, std::uint32_t value) {
    gguf_set_val_u32(file.get(), (std::string("cohere2.") + key).c_str(), value);
  };
  gguf_set_val_str(file.get(), "general.architecture", "cohere2");
  gguf_set_val_str(file.get(), "tokenizer.ggml.model", "none");
  set("vocab_size", vocabulary);
  set("context_length", 512);
  set("embedding_length", width);
  set("block_count", layers);
  set("feed_forward_length", forward);
  set("attention.head_count", heads);
  set("attention.head_count_kv", 1);
  set("attention.key_length", head);
  set("attention.value_length", head);
  set("attention.sliding_window", 16);
  gguf_set_val_f32(file.get(), "cohere2.attention.layer_norm_epsilon", 1e-5f);
  gguf_set_val_f32(file.get(), "cohere2.logit_scale", 1.0f);
  add("token_embd", width, vocabulary);
  add("output_norm", width, 0);
  for (int layer = 0; layer < layers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    add(block + "attn_norm", width, 0);
    add(block + "attn_q", width, head * heads);
    add(block + "attn_k", width, head);
    add(block + "attn_v", width, head);
    add(block + "attn_output", head * heads, width);
    add(block + "ffn_gate", width, forward);
    add(block + "ffn_up", width, forward);
    add(block + "ffn_down", forward, width);
  }
  const std::string path = temp_path("sliding.gguf");
  EXPECT_TRUE(gguf_write_to_file(file.get(), path.c_str(), false));
  return load(path);
}

PoolParams mirror_of(int streams, int batch = 64, const std::string& kv_type = "f32", int cells = 256) {
  PoolParams params = pool_of(streams, cells);
  params.batch = batch;
  params.kv_type = kv_type;
  // Flash attention turns f32 cells into f16 before it uses them.
  if (kv_type == "f32") params.flash_attention = "off";
  return params;
}

// The score of one text, by a pool that decodes it as a prompt: none of the mirror's code takes part.
class FromScratch {
 public:
  FromScratch(const std::shared_ptr<Model>& model, std::shared_ptr<const Head> head, int cells = 256)
      : head_(std::move(head)), pool_(Solo::create(model, mirror_of(1, 64, "f32", cells))) {}

  float operator()(const std::vector<Token>& text) {
    pool_->prefill(text);
    pool_->fork(fork_of(1));
    const std::vector<float> state = pool_->states({0});
    float score = 0;
    head_->apply(state.data(), nullptr, 1, &score);
    return score;
  }

 private:
  std::shared_ptr<const Head> head_;
  std::unique_ptr<Solo> pool_;
};

// Branches in the order of the ids, each with its new tokens; nothing of what they hold removed.
MirrorRequest request_of(const std::vector<std::int32_t>& ids, const std::vector<int>& keep, const Texts& texts,
                         const std::vector<Token>& suffix = {}) {
  MirrorRequest request;
  request.ids = ids;
  request.keep.assign(keep.begin(), keep.end());
  request.offsets.push_back(0);
  for (const std::vector<Token>& text : texts) {
    request.tokens.insert(request.tokens.end(), text.begin(), text.end());
    request.offsets.push_back(static_cast<std::int32_t>(request.tokens.size()));
  }
  request.suffix = suffix;
  return request;
}

std::vector<Token> joined(std::vector<Token> text, const std::vector<Token>& more) {
  text.insert(text.end(), more.begin(), more.end());
  return text;
}

double deviation(const std::vector<double>& values) {
  const double count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / count);
}

// Plays a random schedule on a mirror and on plain lists of tokens, and compares every score.
class Schedule {
 public:
  Schedule(const std::shared_ptr<Model>& model, std::shared_ptr<const Head> head)
      : model_(model), head_(head), scratch_(model, head) {}

  void play(unsigned seed, const std::string& kv_type) {
    random_.seed(seed);
    const int streams = below(6) + 1;
    const int batches[] = {1, 3, 8, 64};
    mirror_ = Mirror::create(model_, mirror_of(streams, batches[below(4)], kv_type));
    const std::vector<Token> prefix = some(below(12) + 1);
    ASSERT_EQ(mirror_->prefill(prefix).tokens, static_cast<int>(prefix.size()));
    texts_.assign(static_cast<std::size_t>(below(streams) + 1), prefix);
    read_at_.assign(texts_.size(), static_cast<int>(prefix.size()));
    live_ = ids(0, static_cast<int>(texts_.size()));
    mirror_->fork(static_cast<int>(texts_.size()));
    for (int round = below(4) + 3; round > 0; --round) {
      if (below(4) == 0 && live_.size() > 1) {
        drop();
      } else {
        score();
      }
      mirror_->check_integrity();
    }
  }

  double worst() const { return worst_ / deviation(references_); }
  std::size_t compared() const { return references_.size(); }
  int pairs = 0, swapped = 0;  // branches of one call, and of these those that changed places

 private:
  int below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }
  std::vector<Token> some(int count) {
    std::vector<Token> tokens(static_cast<std::size_t>(count));
    for (Token& token : tokens) token = below(512);
    return tokens;
  }

  void drop() {
    std::shuffle(live_.begin(), live_.end(), random_);
    const std::size_t left = static_cast<std::size_t>(below(static_cast<int>(live_.size()) - 1) + 1);
    mirror_->drop({live_.begin() + static_cast<std::ptrdiff_t>(left), live_.end()});
    live_.resize(left);
  }

  void score() {
    std::shuffle(live_.begin(), live_.end(), random_);
    const std::vector<std::int32_t> chosen(live_.begin(), live_.begin() + 1 + below(static_cast<int>(live_.size())));
    const std::vector<Token> suffix = some(below(2) * below(4));
    const bool marks = below(5) < 2;
    std::vector<int> keep;
    Texts added;
    std::int64_t rows = 0;
    std::vector<float> expected, expected_marked;
    MirrorRequest request;
    for (const std::int32_t id : chosen) {
      std::vector<Token>& text = texts_[static_cast<std::size_t>(id)];
      int& read_at = read_at_[static_cast<std::size_t>(id)];
      const int length = static_cast<int>(text.size());
      keep.push_back(below(10) < 7 ? length : below(length + 1));
      added.push_back(some(below(10) < 3 ? 0 : below(9) + 1));
      if (keep.back() == 0 && added.back().empty()) added.back() = {7};
      if (keep.back() < read_at) read_at = -1;
      text.resize(static_cast<std::size_t>(keep.back()));
      bool last_marked = false;
      for (const Token token : added.back()) {
        text.push_back(token);
        if (!marks) continue;
        last_marked = below(10) < 3;
        request.marks.push_back(last_marked ? 1 : 0);
        if (last_marked) expected_marked.push_back(scratch_(text));
      }
      const int now = static_cast<int>(text.size());
      rows += now - keep.back() + static_cast<int>(suffix.size());
      if (added.back().empty() && suffix.empty() && read_at != now) ++rows;  // its last token again
      if (suffix.empty() || last_marked) read_at = now;
      expected.push_back(scratch_(joined(text, suffix)));
    }
    const std::vector<std::uint8_t> marked = request.marks;
    request = request_of(chosen, keep, added, suffix);
    request.marks = marked;
    const bool stopped = below(5) == 0;
    if (stopped) {
      // What a call was given is there when it was cut short, and comes with the next.
      mirror_->request_abort();
      const MirrorScores none = mirror_->score(*head_, request);
      mirror_->clear_abort();
      EXPECT_TRUE(none.scores.empty() || none.cost.decoded == 0);
      request = request_of(chosen, {}, Texts(chosen.size()), suffix);
      for (const std::int32_t id : chosen)
        request.keep.push_back(static_cast<std::int32_t>(texts_[static_cast<std::size_t>(id)].size()));
      if (!suffix.empty())
        for (std::size_t i = 0; i < chosen.size(); ++i) {
          // Its last token was not read as a mark then.
          int& read_at = read_at_[static_cast<std::size_t>(chosen[i])];
          if (!added[i].empty()) read_at = -1;
        }
    }
    const MirrorScores scores = mirror_->score(*head_, request);
    EXPECT_EQ(scores.reason, AdvanceReason::reached);
    EXPECT_EQ(scores.cost.decoded, rows);
    EXPECT_EQ(scores.cost.suffix_decoded, static_cast<std::int64_t>(suffix.size() * chosen.size()));
    compare(scores.scores, expected);
    if (!stopped) compare(scores.marked, expected_marked);
  }

  void compare(const std::vector<float>& scores, const std::vector<float>& expected) {
    ASSERT_EQ(scores.size(), expected.size());
    for (std::size_t i = 0; i < scores.size(); ++i) {
      references_.push_back(static_cast<double>(expected[i]));
      worst_ = std::max(worst_, std::abs(static_cast<double>(scores[i]) - static_cast<double>(expected[i])));
      for (std::size_t j = 0; j < i; ++j) {
        if (expected[i] == expected[j]) continue;
        ++pairs;
        swapped += (scores[i] < scores[j]) == (expected[i] < expected[j]) ? 0 : 1;
      }
    }
  }

  std::shared_ptr<Model> model_;
  std::shared_ptr<const Head> head_;
  FromScratch scratch_;
  std::mt19937 random_;
  std::unique_ptr<Mirror> mirror_;
  Texts texts_;
  std::vector<int> read_at_;  // length at which the last token's state is known, -1 for none
  std::vector<std::int32_t> live_;
  std::vector<double> references_;
  double worst_ = 0;
};

void expect_exact(const std::shared_ptr<Model>& model, unsigned schedules) {
  Schedule schedule(model, head_of(model->facts().width));
  for (unsigned seed = 0; seed < schedules; ++seed) {
    SCOPED_TRACE("schedule " + std::to_string(seed));
    schedule.play(seed, "f32");
    if (testing::Test::HasFailure()) return;
  }
  std::printf("%s: %zu scores, largest error %.1e deviations, %d of %d pairs swapped\n",
              model->facts().architecture.c_str(), schedule.compared(), schedule.worst(), schedule.swapped,
              schedule.pairs);
  EXPECT_GT(schedule.compared(), schedules);
  EXPECT_LT(schedule.worst(), 1e-4);
}

TEST(Mirror, ScoresOfARandomScheduleEqualThoseFromScratchWithLlama) { expect_exact(exact("llama"), 200); }
TEST(Mirror, ScoresOfARandomScheduleEqualThoseFromScratchWithQwen3) { expect_exact(exact("qwen3"), 200); }
TEST(Mirror, ScoresOfARandomScheduleEqualThoseFromScratchWithASlidingWindow) { expect_exact(sliding(), 200); }

// llama.cpp's own cache of a window would hold 256 cells here, and use those that left the window again.
TEST(Mirror, CutsABranchBackByMoreThanItsSlidingWindow) {
  const std::shared_ptr<Model> model = sliding();
  const std::shared_ptr<const Head> head = head_of(model->facts().width);
  const std::unique_ptr<Mirror> mirror = Mirror::create(model, mirror_of(2, 64, "f32", 512));
  FromScratch scratch(model, head, 512);
  std::mt19937 random(1);
  std::vector<Token> text(400);
  for (Token& token : text) token = static_cast<Token>(random() % 512);
  mirror->prefill({text.begin(), text.begin() + 290});
  mirror->fork(2);
  mirror->score(*head, request_of({0, 1}, {290, 290}, {{text.begin() + 290, text.end()}, {1}}));
  const std::vector<Token> kept(text.begin(), text.begin() + 200);
  const MirrorScores scores = mirror->score(*head, request_of({0, 1}, {200, 200}, {{3, 4}, {5}}));
  EXPECT_NEAR(scores.scores[0], scratch(joined(kept, {3, 4})), 1e-4);
  EXPECT_NEAR(scores.scores[1], scratch(joined(kept, {5})), 1e-4);
}

TEST(Mirror, ScoresWithHalfPrecisionCellsStayNearThoseWithFullOnes) {
  const std::shared_ptr<Model> model = exact("llama");
  Schedule schedule(model, head_of(model->facts().width));
  for (unsigned seed = 0; seed < 100; ++seed) schedule.play(seed, "f16");
  std::printf("llama, f16 cells: %zu scores, largest error %.1e deviations, %d of %d pairs swapped\n",
              schedule.compared(), schedule.worst(), schedule.swapped, schedule.pairs);
  EXPECT_GT(schedule.worst(), 0.0) << "f16 cells cannot be exact: the reference is not another one";
  EXPECT_LT(schedule.worst(), 0.02);
}

const std::vector<Token> kPrefix = {1, 40, 41, 42, 300};

struct Rig {
  explicit Rig(int streams, int branches, int batch = 64) : mirror(Mirror::create(model, mirror_of(streams, batch))) {
    mirror->prefill(kPrefix);
    mirror->fork(branches);
  }
  std::shared_ptr<Model> model = exact("llama");
  std::shared_ptr<const Head> head = head_of(model->facts().width);
  std::unique_ptr<Mirror> mirror;
};

TEST(Mirror, DecodesEachTokenOnceAndTheSuffixEachTime) {
  Rig rig(4, 4);
  const Texts first = {{5, 6, 7}, {8}, {9, 10}, {}};
  const MirrorScores one = rig.mirror->score(*rig.head, request_of(ids(0, 4), {5, 5, 5, 5}, first, {20, 21}));
  EXPECT_EQ(one.cost.decoded, 6 + 8);
  EXPECT_EQ(one.cost.suffix_decoded, 8);
  EXPECT_EQ(one.scores.size(), 4u);
  EXPECT_TRUE(one.marked.empty());
  EXPECT_EQ(rig.mirror->occupancy().cells_used, 4 * 5 + 6);
  EXPECT_EQ(rig.mirror->occupancy().cells_peak, 4 * 5 + 14);
  const MirrorScores two = rig.mirror->score(*rig.head, request_of({2, 0}, {7, 8}, {{11}, {12, 13, 14, 15}}, {20, 21}));
  EXPECT_EQ(two.cost.decoded, 5 + 4);
  EXPECT_EQ(two.cost.suffix_decoded, 4);
}

TEST(Mirror, AnswersFromTheKeptStateWhenNothingIsNew) {
  Rig rig(2, 2);
  const MirrorScores one = rig.mirror->score(*rig.head, request_of({0, 1}, {5, 5}, {{5, 6}, {7}}));
  EXPECT_EQ(one.cost.decoded, 3);
  const MirrorScores two = rig.mirror->score(*rig.head, request_of({1, 0}, {6, 7}, {{}, {}}));
  EXPECT_EQ(two.cost.decoded, 0);
  EXPECT_EQ(two.cost.batches, 0);
  EXPECT_EQ(two.scores, (std::vector<float>{one.scores[1], one.scores[0]}));
  // A read behind a suffix leaves the branch's own state as it was; one token less has a state of its own.
  rig.mirror->score(*rig.head, request_of({0}, {7}, {{}}, {30}));
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of({0}, {7}, {{}})).cost.decoded, 0);
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of({0}, {6}, {{}})).cost.decoded, 1);
  EXPECT_EQ(rig.mirror->occupancy().cells_used, 6 + 6);
}

TEST(Mirror, ScoresThePrefixAloneWithoutDecodingItAgain) {
  Rig rig(3, 3);
  FromScratch scratch(rig.model, rig.head);
  const MirrorScores scores = rig.mirror->score(*rig.head, request_of({2, 0}, {5, 5}, {{}, {}}));
  EXPECT_EQ(scores.cost.decoded, 0);
  EXPECT_EQ(scores.scores, std::vector<float>(2, scratch(kPrefix)));
}

TEST(Mirror, TakesALastTokenThatIsMarkedAsOneRow) {
  Rig rig(1, 1);
  MirrorRequest request = request_of({0}, {5}, {{5, 6, 7}});
  request.marks = {1, 0, 1};
  const MirrorScores scores = rig.mirror->score(*rig.head, request);
  EXPECT_EQ(scores.cost.decoded, 3);
  ASSERT_EQ(scores.marked.size(), 2u);
  EXPECT_EQ(scores.marked[1], scores.scores[0]);
  EXPECT_NE(scores.marked[0], scores.scores[0]);
}

TEST(Mirror, ScoresAtMoreMarksThanOneBatchHasOutputs) {
  Rig rig(8, 8, 512);
  FromScratch scratch(rig.model, rig.head);
  std::vector<Token> text(40);
  std::iota(text.begin(), text.end(), 200);
  MirrorRequest request = request_of(ids(0, 8), std::vector<int>(8, 5), Texts(8, text));
  request.marks.assign(request.tokens.size(), 1);
  const MirrorScores scores = rig.mirror->score(*rig.head, request);
  EXPECT_EQ(scores.cost.decoded, 320);
  EXPECT_EQ(scores.cost.batches, 4) << "39 tokens of 8 branches, 128 rows at most, and the last tokens";
  ASSERT_EQ(scores.marked.size(), 320u);
  for (std::size_t token = 0; token < text.size(); ++token) {
    const float expected =
        scratch(joined(kPrefix, {text.begin(), text.begin() + static_cast<std::ptrdiff_t>(token) + 1}));
    for (std::size_t branch = 0; branch < 8; ++branch)
      EXPECT_NEAR(scores.marked[branch * 40 + token], expected, 1e-4) << token << " of " << branch;
  }
}

TEST(Mirror, DecodesBranchesOfOneLengthTogether) {
  Rig rig(8, 8, 256);
  const Texts equal(8, {5, 6, 7, 8, 9});
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of(ids(0, 8), std::vector<int>(8, 5), equal)).cost.batches, 2);
  // A hole in the streams splits both batches.
  const std::vector<std::int32_t> some = {0, 1, 3, 4, 5};
  const Texts five(5, {5, 6, 7, 8, 9});
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of(some, std::vector<int>(5, 10), five)).cost.batches, 4);
  rig.mirror->drop({2, 6, 7});
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of(some, std::vector<int>(5, 15), five)).cost.batches, 2);
}

TEST(Mirror, FreesTheCellsOfDroppedBranchesAndClosesHoles) {
  Rig rig(6, 6);
  rig.mirror->drop({0, 4});
  rig.mirror->drop({0});
  const Occupancy occupancy = rig.mirror->occupancy();
  EXPECT_EQ(occupancy.live, 4);
  EXPECT_EQ(occupancy.streams_free, 2);
  EXPECT_EQ(occupancy.cells_used, 4 * 5);
  rig.mirror->check_integrity();
  EXPECT_EQ(code_of([&] { rig.mirror->score(*rig.head, request_of({4}, {5}, {{5}})); }), "BRANCH_UNKNOWN");
  rig.mirror->drop({1, 2, 3, 5});
  EXPECT_EQ(rig.mirror->occupancy().cells_used, 0);
  rig.mirror->prefill(kPrefix);
  rig.mirror->fork(6);
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of({4}, {5}, {{5}})).cost.decoded, 1);
}

TEST(Mirror, FillsAStreamToItsLastCellAndRefusesOneTokenMoreBeforeItDecodes) {
  Rig rig(2, 2);
  const std::vector<Token> rest(256 - 5 - 1, 9);
  const MirrorRequest whole = request_of({0, 1}, {5, 5}, {rest, {4}}, {3});
  EXPECT_EQ(rig.mirror->score(*rig.head, whole).cost.decoded, 250 + 1 + 2);
  const Occupancy before = rig.mirror->occupancy();
  EXPECT_EQ(code_of([&] {
              rig.mirror->score(*rig.head, request_of({1, 0}, {6, 255}, {{5}, {5}}, {3}));
            }),
            "CONTEXT_TOO_LONG");
  EXPECT_EQ(rig.mirror->occupancy().cells_used, before.cells_used);
  // Branch 1 has not got the token that came with the refused one.
  EXPECT_EQ(code_of([&] { rig.mirror->score(*rig.head, request_of({1}, {7}, {{}})); }), "OPTION_INVALID");
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of({0}, {255}, {{5}})).cost.decoded, 1);
  const std::vector<Token> text(256, 9);
  EXPECT_EQ(code_of([&] { rig.mirror->prefill(text); }), "PROMPT_TOO_LONG");
  EXPECT_EQ(rig.mirror->prefill(std::vector<Token>(255, 9)).tokens, 255);
}

TEST(Mirror, RefusesARequestThatContradictsItself) {
  Rig rig(3, 3);
  const MirrorRequest good = request_of({0, 1}, {5, 5}, {{5}, {6}});
  const auto refused = [&](auto change) {
    MirrorRequest request = good;
    change(request);
    return code_of([&] { rig.mirror->score(*rig.head, request); });
  };
  EXPECT_EQ(refused([](MirrorRequest& r) { r.ids = {0, 0}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.ids = {0}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.ids = {0, 3}; }), "BRANCH_UNKNOWN");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.ids = {-1, 0}; }), "BRANCH_UNKNOWN");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.keep = {5}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.keep = {5, 6}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.keep = {-1, 5}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {0, 2, 1}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {1, 1, 2}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {0, 1, 3}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {0, -1, 2}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.marks = {1}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.marks = {1, 2}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.tokens = {5, 512}; }), "TOKEN_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.suffix = {-1}; }), "TOKEN_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) {
              r.keep = {0, 5};
              r.offsets = {0, 0, 2};
            }),
            "OPTION_INVALID")
      << "nothing to score at";
  EXPECT_EQ(refused([](MirrorRequest&) {}), "");
  EXPECT_TRUE(rig.mirror->score(*rig.head, request_of({}, {}, {})).scores.empty());
}

TEST(Mirror, RefusesHeadsOfAnotherWidthOrWithFeatures) {
  Rig rig(1, 1);
  const MirrorRequest request = request_of({0}, {5}, {{5}});
  EXPECT_EQ(code_of([&] { rig.mirror->score(*head_of(64), request); }), "HEAD_WIDTH");
  EXPECT_EQ(code_of([&] { rig.mirror->score(*head_of(128, {"mean_logprob"}), request); }), "HEAD_FEATURES");
}

TEST(Mirror, RefusesCallsOutOfOrder) {
  const std::shared_ptr<Model> model = exact("llama");
  const std::shared_ptr<const Head> head = head_of(model->facts().width);
  const std::unique_ptr<Mirror> mirror = Mirror::create(model, mirror_of(2));
  EXPECT_EQ(code_of([&] { mirror->fork(1); }), "NOT_PREFILLED");
  EXPECT_EQ(code_of([&] { mirror->score(*head, request_of({}, {}, {})); }), "NOT_PREFILLED");
  EXPECT_EQ(code_of([&] { mirror->prefill({}); }), "PROMPT_EMPTY");
  EXPECT_EQ(code_of([&] { mirror->prefill({512}); }), "TOKEN_INVALID");
  EXPECT_EQ(code_of([&] { mirror->prefill(kPrefix, -1); }), "OPTION_INVALID");
  mirror->prefill(kPrefix);
  EXPECT_EQ(mirror->occupancy().streams_used, 1);
  EXPECT_EQ(code_of([&] { mirror->fork(0); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { mirror->fork(3); }), "STREAMS_FULL");
  mirror->fork(2);
  EXPECT_EQ(code_of([&] { mirror->fork(2); }), "NOT_PREFILLED");
  EXPECT_EQ(code_of([&] { mirror->drop({0, 2}); }), "BRANCH_UNKNOWN");
  EXPECT_EQ(mirror->occupancy().live, 2);
  EXPECT_EQ(code_of([&] { mirror->score(*head, request_of({0}, {5}, {{5}}), std::nan("")); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([] { Mirror::create(nullptr, mirror_of(1)); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { Mirror::create(model, mirror_of(257)); }), "OPTION_INVALID");
}

TEST(Mirror, CutShortAtAnyMomentGoesOnWhereItWas) {
  Rig rig(4, 4, 16);
  FromScratch scratch(rig.model, rig.head);
  std::vector<Token> text(100);
  std::iota(text.begin(), text.end(), 100);
  const Texts texts = {text, {text.begin(), text.begin() + 60}, {text.begin() + 3, text.end()}, {9}};
  MirrorScores scores = rig.mirror->score(*rig.head, request_of(ids(0, 4), {5, 5, 5, 5}, texts, {30}), 1e-9);
  EXPECT_EQ(scores.reason, AdvanceReason::deadline);
  EXPECT_EQ(scores.cost.decoded, 0);
  EXPECT_TRUE(scores.scores.empty());
  std::int64_t decoded = 0, suffixes = 0;
  int calls = 0;
  double seconds = 1e-4;
  do {
    scores = rig.mirror->score(*rig.head, request_of(ids(0, 4), {105, 65, 102, 6}, Texts(4), {30}), seconds);
    rig.mirror->check_integrity();
    decoded += scores.cost.decoded - scores.cost.suffix_decoded;
    suffixes += scores.cost.suffix_decoded;
    seconds *= 1.3;
    ++calls;
  } while (scores.reason == AdvanceReason::deadline && calls < 200);
  ASSERT_EQ(scores.reason, AdvanceReason::reached);
  EXPECT_EQ(decoded, 100 + 60 + 97 + 1) << "each token once, in however many calls";
  EXPECT_GE(suffixes, 4);
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(scores.scores[i], scratch(joined(joined(kPrefix, texts[i]), {30})), 1e-4);
}

TEST(Mirror, TakesAbortsFromAnotherThreadAtAnyTime) {
  Rig rig(4, 4, 16);
  const Texts texts(4, std::vector<Token>(40, 77));
  std::atomic<bool> done{false};
  std::atomic<int> stopped{0}, reached{0};
  std::thread other([&] {
    int quiet = 20;  // milliseconds; grows until a call fits between two aborts, however slow the machine
    while (!done.load()) {
      rig.mirror->request_abort();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      rig.mirror->clear_abort();
      std::this_thread::sleep_for(std::chrono::milliseconds(quiet));
      if (reached == 0) quiet *= 2;
    }
  });
  const std::chrono::steady_clock::time_point limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while ((stopped < 5 || reached < 5) && std::chrono::steady_clock::now() < limit) {
    const MirrorScores scores = rig.mirror->score(*rig.head, request_of(ids(0, 4), {5, 5, 5, 5}, texts));
    ++(scores.reason == AdvanceReason::reached ? reached : stopped);
    rig.mirror->check_integrity();
  }
  done = true;
  other.join();
  rig.mirror->clear_abort();
  EXPECT_GE(stopped, 5);
  EXPECT_GE(reached, 5);
  FromScratch scratch(rig.model, rig.head);
  const MirrorScores scores = rig.mirror->score(*rig.head, request_of({2}, {45}, {{}}));
  EXPECT_NEAR(scores.scores.at(0), scratch(joined(kPrefix, texts[0])), 1e-4);
}

TEST(Mirror, PrefillCutShortLeavesItEmpty) {
  Rig rig(2, 2);
  EXPECT_EQ(rig.mirror->prefill(kPrefix, 1e-9).reason, AdvanceReason::deadline);
  EXPECT_EQ(rig.mirror->occupancy().cells_used, 0);
  EXPECT_EQ(code_of([&] { rig.mirror->fork(1); }), "NOT_PREFILLED");
  rig.mirror->request_abort();
  EXPECT_EQ(rig.mirror->prefill(kPrefix).reason, AdvanceReason::aborted);
}

TEST(Mirror, IsDeadAfterAFaultInsideLlama) {
  for (const std::string kind : {"code", "exception", "assert"}) {
    Rig rig(2, 2);
    arm_fault(kind, -3);
    EXPECT_EQ(code_of([&] {
                rig.mirror->score(*rig.head, request_of({0}, {5}, {{5, 6}}));
              }),
              kind == "assert" ? "NATIVE_ASSERT" : "DECODE_FAILED");
    EXPECT_EQ(code_of([&] { rig.mirror->score(*rig.head, request_of({0}, {7}, {{}})); }), "POOL_DEAD");
    EXPECT_EQ(code_of([&] { rig.mirror->prefill(kPrefix); }), "POOL_DEAD");
  }
}

TEST(Slabs, TakeEveryTokenOnceAndInOrder) {
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    std::vector<int> left(1 + random() % 12);
    for (int& length : left) length = static_cast<int>(random() % 9);
    const int most = static_cast<int>(left.size() + random() % 30);
    for (const Slab& slab : cut_slabs(left, most)) {
      ASSERT_GT(slab.streams * slab.tokens, 0);
      ASSERT_LE(slab.streams * slab.tokens, most);
      for (int stream = slab.first; stream < slab.first + slab.streams; ++stream)
        left[static_cast<std::size_t>(stream)] -= slab.tokens;
      for (const int length : left) ASSERT_GE(length, 0);
    }
    EXPECT_EQ(std::accumulate(left.begin(), left.end(), 0), 0);
  }
}

TEST(Slabs, AreFewForBranchesAlike) {
  EXPECT_EQ(cut_slabs(std::vector<int>(64, 32), 512).size(), 4u);
  EXPECT_EQ(cut_slabs(std::vector<int>(64, 32), 2048).size(), 1u);
  std::vector<int> lengths(64, 32);
  lengths[10] = lengths[40] = 5;  // two that ended early
  EXPECT_EQ(cut_slabs(lengths, 2048).size(), 4u);
  EXPECT_TRUE(cut_slabs({0, 0}, 8).empty());
}

}  // namespace
}  // namespace winnow::test
