// Running confidence of one branch, from numbers the sampler has anyway. Covers the tokens that were sampled
// and decoded; the end token is never decoded and never included.
//
// With lp_i the raw log-probability of token i, H_i the entropy of the distribution it was drawn from (nats):
//   excess_i = max(0, -lp_i - H_i), the surprise beyond what the distribution led one to expect.
#pragma once

#include <array>
#include <cstddef>

namespace winnow {

inline constexpr int kFeatures = 9;
inline constexpr int kWindow = 16;
inline constexpr std::array<const char*, kFeatures> kFeatureNames = {
    "mean_logprob",        "min_logprob", "recent_mean_logprob", "recent_min_logprob", "mean_entropy",
    "recent_mean_entropy", "max_excess",  "recent_max_excess",   "log_tokens"};

class Confidence {
 public:
  void add(float logprob, float entropy);
  // All zero before the first token. log_tokens = log(1 + tokens).
  std::array<float, kFeatures> features() const;
  int tokens() const { return count_; }

 private:
  int count_ = 0;
  double sum_logprob_ = 0, sum_entropy_ = 0;
  float min_logprob_ = 0, max_excess_ = 0;
  std::array<float, kWindow> recent_logprob_{}, recent_entropy_{};  // ring, slot = index mod kWindow
};

}  // namespace winnow
