#include "certainty.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "philox.h"

namespace winnow {
namespace {

// By the definitions, in double precision, from probabilities.
Certainty naive(const std::vector<float>& logits) {
  double mass = 0;
  for (const float logit : logits) mass += std::exp(static_cast<double>(logit));
  std::vector<double> logs;
  for (const float logit : logits) logs.push_back(static_cast<double>(logit) - std::log(mass));
  double all = 0, top = 0;
  for (const double log : logs) all += log;
  std::sort(logs.begin(), logs.end(), std::greater<>());
  const std::size_t count = std::min<std::size_t>(20, logs.size());
  for (std::size_t i = 0; i < count; ++i) top += logs[i];
  const double size = static_cast<double>(logs.size());
  return {static_cast<float>(-all / size - std::log(size)), static_cast<float>(-top / static_cast<double>(count))};
}

TEST(Certainty, IsWhatTheDefinitionsSay) {
  SamplerScratch scratch;
  for (const int vocabulary : {1, 2, 19, 20, 21, 255, 256, 257, 5000}) {
    std::vector<float> logits;
    for (int i = 0; i < vocabulary; ++i) {
      logits.push_back(static_cast<float>(12 * draw(3, 4, 5, static_cast<std::uint32_t>(i)) - 6));
    }
    const Certainty found = certainty_of(logits.data(), vocabulary, scratch);
    const Certainty expected = naive(logits);
    EXPECT_NEAR(found.certainty, expected.certainty, 1e-4) << vocabulary;
    EXPECT_NEAR(found.top_confidence, expected.top_confidence, 1e-4) << vocabulary;
  }
}

TEST(Certainty, IsZeroForEvenOddsAndFiniteForForbiddenTokens) {
  SamplerScratch scratch;
  const std::vector<float> even(100, 3.5f);
  EXPECT_NEAR(certainty_of(even.data(), 100, scratch).certainty, 0, 1e-5);
  EXPECT_NEAR(certainty_of(even.data(), 100, scratch).top_confidence, std::log(100.0), 1e-5);
  std::vector<float> forbidden(100, -std::numeric_limits<float>::infinity());
  forbidden[7] = 0;
  const Certainty found = certainty_of(forbidden.data(), 100, scratch);
  EXPECT_NEAR(found.certainty, 0.99 * 87 - std::log(100.0), 1e-4);
  EXPECT_NEAR(found.top_confidence, 87 * 19.0 / 20, 1e-4);
}

}  // namespace
}  // namespace winnow
