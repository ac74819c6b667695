#include "row_digest.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "softmax.h"

namespace winnow::test {
namespace {

// What the graph makes of a row, in double precision.
struct Row {
  std::vector<float> logits, sums, padded;
  RowDigest digest;

  Row(std::vector<float> from, const RowAsk& ask, int guess = -1) : logits(std::move(from)) {
    const std::size_t blocks = (logits.size() + kBlock - 1) / kBlock;
    double mass = 0, total = 0, information = 0;
    digest.top = largest_logit(logits.data(), static_cast<int>(logits.size()));
    for (const float logit : logits) mass += std::exp(static_cast<double>(logit - digest.top));
    std::vector<double> of_blocks(blocks);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double distance = static_cast<double>(logits[i] - digest.top);
      const double share = std::exp(distance) / mass;
      if (share > 0) information += share * std::log(share);
      if (distance > static_cast<double>(ask.least))
        of_blocks[i / kBlock] += std::exp(distance * static_cast<double>(ask.inverse));
    }
    for (const double sum : of_blocks) total += sum;
    double before = 0;
    for (std::size_t i = 0; i < blocks; ++i) {
      sums.push_back(static_cast<float>(of_blocks[i] / total));
      if (before <= ask.uniform * total && of_blocks[i] > 0) digest.block = static_cast<int>(i);
      before += of_blocks[i];
    }
    if (guess >= 0) digest.block = guess;
    padded = logits;
    padded.resize(blocks * kBlock);
    digest.share = static_cast<float>(1 / mass);
    digest.information = static_cast<float>(information);
    digest.wanted = logits[static_cast<std::size_t>(ask.wanted)];
    digest.sums = sums.data();
    digest.logits = padded.data() + digest.block * kBlock;
  }
};

std::vector<float> random_row(int vocabulary, std::mt19937& random) {
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> row(static_cast<std::size_t>(vocabulary));
  for (float& logit : row) logit = normal(random);
  return row;
}

TEST(RowDigest, GivesTheTokenOfTheWholeRow) {
  std::mt19937 random(3);
  SamplerScratch scratch;
  for (const int vocabulary : {2, 255, 256, 257, 5000}) {
    for (const Sampling& sampling : {Sampling{}, Sampling{0}, Sampling{0.4f}, Sampling{1.7f}, Sampling{1, 0, 1, 0.05f},
                                     Sampling{0.7f, 0, 1, 0.3f}, Sampling{1, vocabulary}, Sampling{1, 0, 1, 1}}) {
      for (int i = 0; i < 200; ++i) {
        const std::vector<float> logits = random_row(vocabulary, random);
        const double uniform = std::uniform_real_distribution<double>()(random);
        const std::optional<RowAsk> ask = RowAsk::of(sampling, vocabulary, uniform);
        ASSERT_TRUE(ask);
        const Row row(logits, *ask);
        const std::optional<Sampled> found = sample(row.digest, vocabulary, *ask);
        const Sampled expected = sample(logits.data(), vocabulary, sampling, uniform, scratch);
        ASSERT_TRUE(found);
        EXPECT_EQ(found->token, expected.token);
        EXPECT_NEAR(found->logprob, expected.logprob, 1e-5);
        EXPECT_NEAR(found->entropy, expected.entropy, 1e-5);
      }
    }
  }
}

TEST(RowDigest, TakesTheLowestOfEqualsWhereItIsGreedy) {
  std::vector<float> logits(700, -1.0f);
  logits[300] = logits[301] = logits[650] = 2.0f;
  const RowAsk ask = *RowAsk::of(Sampling{0}, 700, 0.9);
  EXPECT_EQ(ask.uniform, 0);
  EXPECT_EQ(sample(Row(logits, ask).digest, 700, ask)->token, 300);
}

TEST(RowDigest, LeavesTheForbiddenOutHoweverHot) {
  std::vector<float> logits(600, -std::numeric_limits<float>::infinity());
  logits[20] = 1.0f;
  logits[590] = 0.5f;
  for (const double uniform : {0.0, 0.3, 0.6, 0.999999}) {
    const RowAsk ask = *RowAsk::of(Sampling{100}, 600, uniform);
    EXPECT_EQ(sample(Row(logits, ask).digest, 600, ask)->token, uniform < 0.5 ? 20 : 590);
  }
}

TEST(RowDigest, SaysWhatMeasureSaysOfAToken) {
  std::mt19937 random(5);
  const std::vector<float> logits = random_row(1000, random);
  RowAsk ask;
  ask.wanted = 777;
  const std::optional<Sampled> found = measure(Row(logits, ask).digest, ask);
  const Sampled expected = measure(logits.data(), 1000, 777);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->token, 777);
  EXPECT_NEAR(found->logprob, expected.logprob, 1e-5);
  EXPECT_NEAR(found->entropy, expected.entropy, 1e-5);
}

TEST(RowDigest, TellsNothingWhereTheGuessWasWrongOrTheRowIsNotFinite) {
  std::mt19937 random(7);
  const std::vector<float> logits = random_row(1000, random);
  const RowAsk ask = *RowAsk::of(Sampling{}, 1000, 0.5);
  const int right = Row(logits, ask).digest.block;
  for (int guess = 0; guess < 4; ++guess)
    EXPECT_EQ(sample(Row(logits, ask, guess).digest, 1000, ask).has_value(), guess == right);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Row row(logits, ask);
    row.digest.information = bad;
    EXPECT_FALSE(sample(row.digest, 1000, ask));
    EXPECT_FALSE(measure(row.digest, ask));
    row = Row(logits, ask);
    row.sums[0] = bad;
    row.digest.sums = row.sums.data();
    EXPECT_FALSE(sample(row.digest, 1000, ask));
  }
}

TEST(RowDigest, IsNotAskedForWhatNeedsASort) {
  EXPECT_FALSE(RowAsk::of(Sampling{1, 40}, 1000, 0));
  EXPECT_FALSE(RowAsk::of(Sampling{1, 0, 0.9f}, 1000, 0));
  EXPECT_TRUE(RowAsk::of(Sampling{1, 1000}, 1000, 0));
}

}  // namespace
}  // namespace winnow::test
