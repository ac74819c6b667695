#include "truncation.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "lanes.h"
#include "softmax.h"

namespace winnow {
namespace {

// Largest logit of each run of kLanes.
WINNOW_WIDE void largest_of_runs(const float* logits, int runs, float* out) {
  for (int run = 0; run < runs; ++run) {
    float best = logits[run * kLanes];
    for (int lane = 1; lane < kLanes; ++lane)
      best = logits[run * kLanes + lane] > best ? logits[run * kLanes + lane] : best;
    out[run] = best;
  }
}

// Larger logit first, then lower id: the order in which top-k and top-p keep.
bool before(const SamplerScratch::Candidate& a, const SamplerScratch::Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// A logit that at least `count` logits reach: the count-th largest of the runs' largest.
float reached_by(const float* logits, int vocabulary, int count, SamplerScratch& scratch) {
  const int runs = vocabulary / kLanes;
  if (runs < count) return -std::numeric_limits<float>::infinity();
  scratch.values.resize(static_cast<std::size_t>(runs));
  largest_of_runs(logits, runs, scratch.values.data());
  std::nth_element(scratch.values.begin(), scratch.values.begin() + (count - 1), scratch.values.end(),
                   std::greater<float>());
  return scratch.values[static_cast<std::size_t>(count - 1)];
}

// The shortest prefix of `order` (in the order of `before`) whose weight reaches `need` is moved to its front;
// returns its length. Quickselect by weight: linear on average, where a sort of a flat row would not be.
std::size_t shortest_reaching(std::vector<SamplerScratch::Candidate>& order, double need) {
  using Iterator = std::vector<SamplerScratch::Candidate>::iterator;
  Iterator low = order.begin(), high = order.end();
  double sum = 0;  // weight of [begin, low)
  while (high - low > 32) {
    Iterator middle = low + (high - low) / 2;
    SamplerScratch::Candidate samples[3] = {*low, *middle, *(high - 1)};
    std::sort(samples, samples + 3, before);
    const SamplerScratch::Candidate pivot = samples[1];
    const Iterator split =
        std::partition(low, high, [&](const SamplerScratch::Candidate& each) { return !before(pivot, each); });
    double upper = 0;
    for (Iterator each = low; each != split; ++each) upper += static_cast<double>(each->weight);
    if (sum + upper >= need) {
      if (split == high) break;  // cannot be: one of the three samples lies after the pivot
      high = split;
    } else {
      sum += upper;
      low = split;
    }
  }
  std::sort(low, high, before);
  for (; low != high; ++low) {
    sum += static_cast<double>(low->weight);
    if (sum >= need) return static_cast<std::size_t>(low - order.begin()) + 1;
  }
  return static_cast<std::size_t>(high - order.begin());
}

}  // namespace

void truncate_row(const float* logits, int vocabulary, const Sampling& sampling, float top, double mass,
                  SamplerScratch& scratch) {
  const bool by_count = sampling.top_k > 0 && sampling.top_k < vocabulary;
  const bool by_mass = sampling.top_p < 1.0f;
  const float least = sampling.min_p > 0 ? top + std::log(sampling.min_p) : -std::numeric_limits<float>::infinity();

  // A logit under `floor` is kept by none of the three, so it is never gathered.
  float floor = -std::numeric_limits<float>::max();  // leaves the forbidden out
  if (by_count) floor = std::max(floor, reached_by(logits, vocabulary, sampling.top_k, scratch));
  if (!by_mass) floor = std::max(floor, least);
  // Without top-k: weights under (1 - p) mass / vocabulary add up to less than (1 - p) mass, so the rest reaches p.
  if (by_mass && !by_count) {
    const double bound = (1.0 - static_cast<double>(sampling.top_p)) * mass / vocabulary;
    floor = std::max(floor, top + static_cast<float>(std::log(bound)) - 1e-3f);
  }
  scratch.ids.clear();
  scratch.values.clear();
  for (Token id = 0; id < vocabulary; ++id) {
    if (logits[id] < floor) continue;
    scratch.ids.push_back(id);
    scratch.values.push_back(logits[id]);
  }
  scratch.weights.resize(scratch.values.size());
  exponentials(scratch.values.data(), static_cast<int>(scratch.values.size()), top, 1.0f, scratch.weights.data());
  scratch.order.clear();
  for (std::size_t i = 0; i < scratch.ids.size(); ++i)
    scratch.order.push_back({scratch.values[i], scratch.ids[i], scratch.weights[i]});

  std::vector<SamplerScratch::Candidate>& order = scratch.order;
  const std::size_t most = static_cast<std::size_t>(sampling.top_k);
  if (by_count && order.size() > most) {
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(most - 1), order.end(), before);
    order.resize(most);
  }
  if (by_mass) {
    double whole = mass;
    if (by_count) {
      whole = 0;
      for (const SamplerScratch::Candidate& each : order) whole += static_cast<double>(each.weight);
    }
    order.resize(shortest_reaching(order, static_cast<double>(sampling.top_p) * whole));
  }
  order.erase(std::remove_if(order.begin(), order.end(),
                             [&](const SamplerScratch::Candidate& each) { return each.logit < least; }),
              order.end());
}

}  // namespace winnow
