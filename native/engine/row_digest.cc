#include "row_digest.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "softmax.h"

namespace winnow {
namespace {

// Tells the largest logit from any other, and is no denormal, which some devices take for zero.
constexpr float kBarelyBelow = -1e-30f;

std::optional<Sampled> measured(const RowDigest& row, Token token, float logit) {
  if (!std::isfinite(row.top) || !std::isfinite(row.information) || !(row.share > 0)) return std::nullopt;
  Sampled sampled;
  sampled.token = token;
  sampled.logprob = static_cast<float>(static_cast<double>(logit - row.top) + std::log(static_cast<double>(row.share)));
  sampled.entropy = std::max(0.0f, -row.information);
  return sampled;
}

}  // namespace

std::optional<RowAsk> RowAsk::of(const Sampling& sampling, int vocabulary, double uniform) {
  if ((sampling.top_k > 0 && sampling.top_k < vocabulary) || sampling.top_p < 1.0f) return std::nullopt;
  RowAsk ask;
  if (sampling.temperature <= 0) {
    ask.least = kBarelyBelow;
    return ask;
  }
  ask.uniform = uniform;
  ask.inverse = std::min(1.0f / sampling.temperature, 1e30f);
  if (sampling.min_p > 0) {
    const float below = std::nextafter(std::log(sampling.min_p), -std::numeric_limits<float>::infinity());
    ask.least = std::min(below, kBarelyBelow);
  }
  return ask;
}

std::optional<Sampled> measure(const RowDigest& row, const RowAsk& ask) {
  return measured(row, ask.wanted, row.wanted);
}

std::optional<Sampled> sample(const RowDigest& row, int vocabulary, const RowAsk& ask) {
  const int blocks = (vocabulary + kBlock - 1) / kBlock;
  double total = 0;
  for (int i = 0; i < blocks; ++i) total += static_cast<double>(row.sums[i]);
  if (!(total > 0)) return std::nullopt;
  const double target = ask.uniform * total;
  double before = 0, before_chosen = 0;
  int chosen = -1;
  for (int i = 0; i < blocks; ++i) {
    if (row.sums[i] <= 0) continue;
    chosen = i;
    before_chosen = before;
    before += static_cast<double>(row.sums[i]);
    if (before > target) break;
  }
  if (chosen != row.block) return std::nullopt;

  const int start = chosen * kBlock, length = std::min(kBlock, vocabulary - start);
  std::array<float, kBlock> weights;
  exponentials(row.logits, length, row.top, ask.inverse, weights.data());
  double mass = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(length); ++i) {
    if (!(row.logits[i] - row.top > ask.least)) weights[i] = 0;
    mass += static_cast<double>(weights[i]);
  }
  // The graph's weights are shares; those here are relative to the largest.
  const double part = (target - before_chosen) / static_cast<double>(row.sums[chosen]);
  const int place = first_beyond(weights.data(), length, part * mass);
  if (place < 0) return std::nullopt;
  return measured(row, start + place, row.logits[place]);
}

}  // namespace winnow
