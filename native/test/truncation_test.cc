#include "truncation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "softmax.h"

namespace winnow::test {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// Ids that are kept, ascending.
std::vector<Token> kept(const std::vector<float>& row, const Sampling& sampling) {
  const int size = static_cast<int>(row.size());
  const float top = largest_logit(row.data(), size);
  SamplerScratch scratch;
  truncate_row(row.data(), size, sampling, top, sum_row(row.data(), size, top, 1, nullptr).mass, scratch);
  std::vector<Token> ids;
  for (const SamplerScratch::Candidate& each : scratch.order) ids.push_back(each.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

Sampling cut(int top_k, float top_p, float min_p) {
  Sampling sampling;
  sampling.top_k = top_k;
  sampling.top_p = top_p;
  sampling.min_p = min_p;
  return sampling;
}

// Probabilities 0.05, 0.4, 0.1, 0.3, 0.15.
std::vector<float> five() { return {std::log(0.05f), std::log(0.4f), std::log(0.1f), std::log(0.3f), std::log(0.15f)}; }

TEST(Truncation, KeepsTheKLargest) {
  EXPECT_EQ(kept(five(), cut(1, 1, 0)), (std::vector<Token>{1}));
  EXPECT_EQ(kept(five(), cut(3, 1, 0)), (std::vector<Token>{1, 3, 4}));
}

TEST(Truncation, KeepsTheFewestThatReachTheMass) {
  EXPECT_EQ(kept(five(), cut(0, 0.39f, 0)), (std::vector<Token>{1}));
  EXPECT_EQ(kept(five(), cut(0, 0.41f, 0)), (std::vector<Token>{1, 3}));
  EXPECT_EQ(kept(five(), cut(0, 0.84f, 0)), (std::vector<Token>{1, 3, 4}));
  EXPECT_EQ(kept(five(), cut(0, 0.86f, 0)), (std::vector<Token>{1, 2, 3, 4}));
}

TEST(Truncation, TakesTheMassOfWhatTopKLeft) {
  // Of 0.4 and 0.3 the larger alone is 4 / 7 = 0.571.
  EXPECT_EQ(kept(five(), cut(2, 0.57f, 0)), (std::vector<Token>{1}));
  EXPECT_EQ(kept(five(), cut(2, 0.58f, 0)), (std::vector<Token>{1, 3}));
}

TEST(Truncation, MeasuresMinPByTheLargest) {
  EXPECT_EQ(kept(five(), cut(0, 1, 0.3f)), (std::vector<Token>{1, 3, 4}));
  EXPECT_EQ(kept(five(), cut(0, 1, 0.4f)), (std::vector<Token>{1, 3}));
  EXPECT_EQ(kept(five(), cut(0, 0.86f, 0.3f)), (std::vector<Token>{1, 3, 4}));
}

TEST(Truncation, KeepsTheLowerIdsAmongEquals) {
  std::vector<float> row(1000, 1.0f);
  row[500] = 2;
  EXPECT_EQ(kept(row, cut(3, 1, 0)), (std::vector<Token>{0, 1, 500}));
  EXPECT_EQ(kept(row, cut(3, 0.99f, 0)), (std::vector<Token>{0, 1, 500}));
}

TEST(Truncation, KeepsOneAtLeastAndNoForbiddenOne) {
  std::vector<float> row(300, kForbidden);
  row[7] = -2;
  row[299] = -1;
  EXPECT_EQ(kept(row, cut(1, 1e-6f, 1)), (std::vector<Token>{299}));
  EXPECT_EQ(kept(row, cut(200, 1, 0)), (std::vector<Token>{7, 299}));
  EXPECT_EQ(kept(row, cut(200, 0.999f, 1e-4f)), (std::vector<Token>{7, 299}));
}

}  // namespace
}  // namespace winnow::test
