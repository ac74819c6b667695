#include "confidence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace winnow {
namespace {

TEST(Confidence, IsAllZeroBeforeTheFirstToken) {
  const std::array<float, kFeatures> zero{};
  EXPECT_EQ(Confidence().features(), zero);
}

TEST(Confidence, NamesEachFeatureOnce) {
  EXPECT_EQ(std::set<std::string>(kFeatureNames.begin(), kFeatureNames.end()).size(),
            static_cast<std::size_t>(kFeatures));
}

TEST(Confidence, AgreesWithTheDefinitionAtEveryLength) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> logprob(-6, 0), entropy(0, 5);
  Confidence confidence;
  std::vector<float> logprobs, entropies;
  for (int i = 1; i <= 100; ++i) {
    logprobs.push_back(logprob(random));
    entropies.push_back(entropy(random));
    confidence.add(logprobs.back(), entropies.back());
    const auto from = [&](std::size_t start) {
      struct {
        double mean_logprob = 0, min_logprob = 0, mean_entropy = 0, max_excess = 0;
      } naive;
      for (std::size_t k = start; k < logprobs.size(); ++k) {
        naive.mean_logprob += logprobs[k] / static_cast<double>(logprobs.size() - start);
        naive.min_logprob = std::min(naive.min_logprob, static_cast<double>(logprobs[k]));
        naive.mean_entropy += entropies[k] / static_cast<double>(logprobs.size() - start);
        naive.max_excess =
            std::max(naive.max_excess, static_cast<double>(-logprobs[k]) - static_cast<double>(entropies[k]));
      }
      return naive;
    };
    const auto all = from(0);
    const auto recent = from(logprobs.size() - std::min<std::size_t>(logprobs.size(), kWindow));
    const std::array<double, kFeatures> expected = {all.mean_logprob,   all.min_logprob,   recent.mean_logprob,
                                                    recent.min_logprob, all.mean_entropy,  recent.mean_entropy,
                                                    all.max_excess,     recent.max_excess, std::log(1.0 + i)};
    const std::array<float, kFeatures> features = confidence.features();
    for (std::size_t k = 0; k < expected.size(); ++k)
      ASSERT_NEAR(features[k], expected[k], 1e-5) << kFeatureNames[k] << " at " << i;
    ASSERT_EQ(confidence.tokens(), i);
  }
}

TEST(Confidence, CountsSurpriseBeyondTheEntropyAndNeverLess) {
  Confidence confidence;
  confidence.add(-1.0f, 2.0f);  // less surprising than expected
  EXPECT_EQ(confidence.features()[6], 0.0f);
  confidence.add(-5.0f, 2.0f);
  EXPECT_EQ(confidence.features()[6], 3.0f);
  for (int i = 0; i < kWindow; ++i) confidence.add(-0.1f, 0.5f);
  EXPECT_EQ(confidence.features()[6], 3.0f) << "over the whole branch";
  EXPECT_EQ(confidence.features()[7], 0.0f) << "out of the window";
}

}  // namespace
}  // namespace winnow
