#include "sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "error.h"
#include "fixture.h"
#include "philox.h"

namespace winnow::test {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// A full sort, in double precision.
struct Reference {
  std::vector<double> probability;  // of the shaped distribution, by token id; 0 where cut
  double logprob(Token token) const { return logits[static_cast<std::size_t>(token)] - log_mass; }
  double entropy = 0;
  bool ambiguous = false;  // top-p's sum passes so near to p that rounding may decide what is kept

  std::vector<double> logits;
  double log_mass = 0;
};

Reference reference(const std::vector<float>& row, const Sampling& sampling) {
  Reference result;
  result.logits.assign(row.begin(), row.end());
  const double top = *std::max_element(result.logits.begin(), result.logits.end());
  std::vector<double> weight(row.size());
  for (std::size_t i = 0; i < row.size(); ++i) weight[i] = std::exp(result.logits[i] - top);
  const double mass = std::accumulate(weight.begin(), weight.end(), 0.0);
  result.log_mass = top + std::log(mass);
  for (const double each : weight) {
    if (each > 0) result.entropy -= each / mass * std::log(each / mass);
  }
  std::vector<std::size_t> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
  while (!order.empty() && row[order.back()] == kForbidden) order.pop_back();
  if (sampling.temperature == 0) order.resize(1);
  if (sampling.top_k > 0 && order.size() > static_cast<std::size_t>(sampling.top_k))
    order.resize(static_cast<std::size_t>(sampling.top_k));
  if (sampling.top_p < 1) {
    double whole = 0, sum = 0;
    for (const std::size_t id : order) whole += weight[id];
    for (std::size_t i = 0; i < order.size(); ++i) {
      sum += weight[order[i]];
      if (std::abs(sum / whole - static_cast<double>(sampling.top_p)) < 1e-6) result.ambiguous = true;
      if (sum / whole >= static_cast<double>(sampling.top_p)) {
        order.resize(i + 1);
        break;
      }
    }
  }
  if (sampling.min_p > 0) {
    const float least = static_cast<float>(top) + std::log(sampling.min_p);
    while (row[order.back()] < least) order.pop_back();
  }
  result.probability.assign(row.size(), 0);
  const double temperature = sampling.temperature == 0 ? 1 : static_cast<double>(sampling.temperature);
  double kept = 0;
  for (const std::size_t id : order) kept += result.probability[id] = std::exp((result.logits[id] - top) / temperature);
  for (double& each : result.probability) each /= kept;
  return result;
}

std::vector<float> random_row(std::mt19937_64& random) {
  static const int sizes[] = {1, 2, 3, 15, 16, 17, 255, 256, 257, 512, 1000, 2048, 4097, 20000, 50000};
  const int size = sizes[random() % (random() % 4 == 0 ? 15 : 12)];
  std::vector<float> row(static_cast<std::size_t>(size));
  std::normal_distribution<float> normal;
  const float sharpness[] = {0.0f, 0.01f, 1.0f, 3.0f, 10.0f, 40.0f};
  const float spread = sharpness[random() % 6], shift = static_cast<float>(random() % 200) - 100;
  const bool ties = random() % 3 == 0, forbid = random() % 3 == 0, spike = random() % 4 == 0;
  for (float& logit : row) {
    logit = spread * normal(random);
    if (ties) logit = std::round(logit * 2) / 2;
    logit += shift;
    if (forbid && random() % 3 == 0) logit = kForbidden;
  }
  const std::size_t some = random() % row.size();
  if (row[some] == kForbidden) row[some] = shift;
  if (spike) row[some] += 15;
  return row;
}

Sampling random_sampling(std::mt19937_64& random, int size) {
  Sampling sampling;
  const float temperatures[] = {1.0f, 1.0f, 0.7f, 1.3f, 0.05f, 0.0f, 5.0f};
  sampling.temperature = temperatures[random() % 7];
  if (random() % 2 == 0)
    sampling.top_k = 1 + static_cast<int>(random() % (random() % 2 == 0 ? 60u : static_cast<unsigned>(size) + 5));
  const float top_ps[] = {0.95f, 0.9f, 0.5f, 0.999f, 0.01f, 1e-6f};
  if (random() % 2 == 0) sampling.top_p = top_ps[random() % 6];
  const float min_ps[] = {0.05f, 0.1f, 0.9f, 1.0f, 1e-4f};
  if (random() % 2 == 0) sampling.min_p = min_ps[random() % 5];
  return sampling;
}

TEST(Sampler, AgreesWithAFullSortInDoublePrecision) {
  std::mt19937_64 random(2026);
  SamplerScratch scratch;
  int ambiguous = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    const std::vector<float> row = random_row(random);
    const Sampling sampling = random_sampling(random, static_cast<int>(row.size()));
    const Reference expected = reference(row, sampling);
    for (int repeat = 0; repeat < 4; ++repeat) {
      const double uniform = repeat == 0   ? 0.0
                             : repeat == 1 ? 1 - 0x1.0p-53
                                           : static_cast<double>(random() >> 11) * 0x1.0p-53;
      const Sampled sampled = sample(row.data(), static_cast<int>(row.size()), sampling, uniform, scratch);
      const std::string what = "trial " + std::to_string(trial) + " size " + std::to_string(row.size()) + " token " +
                               std::to_string(sampled.token);
      ASSERT_GE(sampled.token, 0) << what;
      ASSERT_LT(sampled.token, static_cast<Token>(row.size())) << what;
      // The arithmetic's limits: a float has 24 bits, the logits here reach 200, the masses are accurate to 1e-6.
      ASSERT_NEAR(sampled.logprob, expected.logprob(sampled.token),
                  2e-5 * (1 + std::abs(expected.logprob(sampled.token))))
          << what;
      ASSERT_NEAR(sampled.entropy, expected.entropy, 5e-5) << what;
      if (expected.ambiguous) {
        ++ambiguous;
        continue;
      }
      ASSERT_GT(expected.probability[static_cast<std::size_t>(sampled.token)], 0) << what << " was cut";
      const double below =
          std::accumulate(expected.probability.begin(), expected.probability.begin() + sampled.token, 0.0);
      ASSERT_GE(uniform, below - 2e-6) << what;
      ASSERT_LE(uniform, below + expected.probability[static_cast<std::size_t>(sampled.token)] + 2e-6) << what;
    }
  }
  EXPECT_LT(ambiguous, 1600) << "most trials must decide";
}

// Every token that should be kept can be drawn, and no other.
TEST(Sampler, KeepsExactlyTheSetOfTheFullSort) {
  std::mt19937_64 random(99);
  SamplerScratch scratch;
  int checked = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::vector<float> row(static_cast<std::size_t>(20 + random() % 300));
    std::normal_distribution<float> normal;
    for (float& logit : row) logit = std::round(normal(random) * 4) / 4;  // many ties
    Sampling sampling = random_sampling(random, static_cast<int>(row.size()));
    sampling.temperature = 1;
    const Reference expected = reference(row, sampling);
    if (expected.ambiguous) continue;
    ++checked;
    double below = 0;
    for (std::size_t id = 0; id < row.size(); ++id) {
      if (expected.probability[id] == 0) continue;
      const double middle = below + expected.probability[id] / 2;
      ASSERT_EQ(sample(row.data(), static_cast<int>(row.size()), sampling, middle, scratch).token,
                static_cast<Token>(id))
          << "trial " << trial;
      below += expected.probability[id];
    }
  }
  EXPECT_GT(checked, 200);
}

TEST(Sampler, DrawsWithTheRightFrequencies) {
  // Chi-square with 99 degrees of freedom: 160 lies beyond the 99.99th percentile (154.4 is 99.97%).
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> row(100);
  for (float& logit : row) logit = normal(random);
  SamplerScratch scratch;
  for (const float temperature : {1.0f, 0.8f}) {
    Sampling sampling;
    sampling.temperature = temperature;
    const Reference expected = reference(row, sampling);
    std::vector<int> counts(row.size());
    constexpr int draws = 100000;
    for (std::uint32_t i = 0; i < draws; ++i)
      ++counts[static_cast<std::size_t>(sample(row.data(), 100, sampling, draw(11, 12, 13, i), scratch).token)];
    double chi = 0;
    for (std::size_t id = 0; id < row.size(); ++id)
      chi += std::pow(counts[id] - draws * expected.probability[id], 2) / (draws * expected.probability[id]);
    EXPECT_LT(chi, 160) << temperature;
    EXPECT_GT(chi, 45) << "too even to be random";
  }
}

TEST(Sampler, TakesTheLargestAtTemperatureZeroAndTheLowestIdAmongEquals) {
  std::vector<float> row(1000, 1.0f);
  row[400] = row[700] = 5.0f;
  SamplerScratch scratch;
  Sampling greedy;
  greedy.temperature = 0;
  for (const double uniform : {0.0, 0.5, 0.999})
    EXPECT_EQ(sample(row.data(), 1000, greedy, uniform, scratch).token, 400);
}

TEST(Sampler, NeverDrawsAForbiddenTokenHoweverFlatOrCold) {
  std::vector<float> row(600, kForbidden);
  row[123] = -5000;
  row[321] = -5001;
  SamplerScratch scratch;
  for (const float temperature : {1.0f, 1e-6f, 1e-45f, 1e6f}) {
    Sampling sampling;
    sampling.temperature = temperature;
    for (const double uniform : {0.0, 0.5, 1 - 0x1.0p-53}) {
      const Token token = sample(row.data(), 600, sampling, uniform, scratch).token;
      EXPECT_TRUE(token == 123 || token == 321) << temperature << ' ' << token;
    }
  }
}

TEST(Sampler, ComputesTheExponentialToTwoPartsInTenMillion) {
  // Two tokens at distance d: log-probability of the lower is d - log(1 + exp(d)); the entropy follows too.
  SamplerScratch scratch;
  for (float distance = 0; distance > -80; distance -= 0.0137f) {
    const float row[2] = {0, distance};
    const double d = static_cast<double>(distance);
    const Sampled top = sample(row, 2, Sampling{}, 0.0, scratch);
    ASSERT_NEAR(top.logprob, -std::log1p(std::exp(d)), 3e-7) << distance;
    const double p = 1 / (1 + std::exp(d)), q = 1 - p;
    ASSERT_NEAR(top.entropy, -p * std::log(p) - (q > 0 ? q * std::log(q) : 0), 2e-6) << distance;
  }
}

TEST(Sampler, MeansTheSameByLogprobWhateverTheSamplingIs) {
  std::mt19937_64 random(17);
  SamplerScratch scratch;
  for (int trial = 0; trial < 100; ++trial) {
    const std::vector<float> row = random_row(random);
    const int size = static_cast<int>(row.size());
    const float entropy = sample(row.data(), size, Sampling{}, 0.3, scratch).entropy;
    Sampling shaped = random_sampling(random, size);
    const Sampled sampled = sample(row.data(), size, shaped, 0.3, scratch);
    EXPECT_EQ(sampled.entropy, entropy);
    EXPECT_NEAR(sampled.logprob, reference(row, Sampling{}).logprob(sampled.token), 1e-3);
  }
}

TEST(Sampler, RefusesLogitsThatAreNotNumbers) {
  SamplerScratch scratch;
  for (const int size : {5, 16, 300, 5000}) {
    for (const int at : {0, size / 2, size - 1}) {
      for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
        std::vector<float> row(static_cast<std::size_t>(size), 1.0f);
        row[static_cast<std::size_t>(at)] = bad;
        EXPECT_EQ(code_of([&] { sample(row.data(), size, Sampling{}, 0.5, scratch); }), "LOGITS_INVALID")
            << size << ' ' << at;
      }
    }
    const std::vector<float> none(static_cast<std::size_t>(size), kForbidden);
    EXPECT_EQ(code_of([&] { sample(none.data(), size, Sampling{}, 0.5, scratch); }), "LOGITS_INVALID");
  }
}

}  // namespace
}  // namespace winnow::test
