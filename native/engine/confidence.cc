#include "confidence.h"

#include <algorithm>
#include <cmath>

namespace winnow {

void Confidence::add(float logprob, float entropy) {
  const float excess = std::max(0.0f, -logprob - entropy);
  min_logprob_ = count_ == 0 ? logprob : std::min(min_logprob_, logprob);
  max_excess_ = std::max(max_excess_, excess);
  sum_logprob_ += logprob;
  sum_entropy_ += entropy;
  const std::size_t slot = static_cast<std::size_t>(count_ % kWindow);
  recent_logprob_[slot] = logprob;
  recent_entropy_[slot] = entropy;
  ++count_;
}

std::array<float, kFeatures> Confidence::features() const {
  std::array<float, kFeatures> features{};
  if (count_ == 0) return features;
  const int window = std::min(count_, kWindow);
  double recent_logprob = 0, recent_entropy = 0;
  float recent_min = recent_logprob_[0], recent_excess = 0;
  for (std::size_t slot = 0; slot < static_cast<std::size_t>(window); ++slot) {
    recent_logprob += recent_logprob_[slot];
    recent_entropy += recent_entropy_[slot];
    recent_min = std::min(recent_min, recent_logprob_[slot]);
    recent_excess = std::max(recent_excess, -recent_logprob_[slot] - recent_entropy_[slot]);
  }
  features = {static_cast<float>(sum_logprob_ / count_),
              min_logprob_,
              static_cast<float>(recent_logprob / window),
              recent_min,
              static_cast<float>(sum_entropy_ / count_),
              static_cast<float>(recent_entropy / window),
              max_excess_,
              recent_excess,
              static_cast<float>(std::log1p(static_cast<double>(count_)))};
  return features;
}

}  // namespace winnow
