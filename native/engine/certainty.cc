#include "certainty.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>

#include "softmax.h"

namespace winnow {
namespace {

constexpr float kFloor = -87.0f;

}  // namespace

Certainty certainty_of(const float* logits, int vocabulary, SamplerScratch& scratch) {
  const float top = largest_logit(logits, vocabulary);
  const double log_mass = std::log(sum_row(logits, vocabulary, top, 1.0f, nullptr).mass);
  const std::size_t size = static_cast<std::size_t>(vocabulary);
  std::vector<float>& distances = scratch.values;
  distances.resize(size);
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) {
    distances[i] = std::max(logits[i] - top, kFloor);
    sum += static_cast<double>(distances[i]);
  }
  const std::size_t count = std::min<std::size_t>(kTopTokens, size);
  if (count < size) {
    const auto last = distances.begin() + static_cast<std::ptrdiff_t>(count) - 1;
    std::nth_element(distances.begin(), last, distances.end(), std::greater<>());
  }
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i) largest += static_cast<double>(distances[i]);
  Certainty found;
  found.certainty =
      static_cast<float>(log_mass - sum / static_cast<double>(size) - std::log(static_cast<double>(size)));
  found.top_confidence = static_cast<float>(log_mass - largest / static_cast<double>(count));
  return found;
}

}  // namespace winnow
