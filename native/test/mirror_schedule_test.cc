// Random schedules: every score of a mirror equals that of the same text from scratch.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>

#include "mirrored.h"
#include "sliding_model.h"

namespace winnow::test {
namespace {

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

}  // namespace
}  // namespace winnow::test
