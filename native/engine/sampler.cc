#include "sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "error.h"

// One body, compiled for each vector width, chosen at load. Not under the sanitizers: the loader runs the
// chooser before their run-time is ready. The engine is built without contraction to fused multiply-add, so
// every width gives the same bits.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WINNOW_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WINNOW_WIDE
#endif

namespace winnow {
namespace {

constexpr int kLanes = 16;
constexpr int kBlock = 256;            // logits per partial sum: the search inside one block is then short
constexpr float kNegligible = -87.0f;  // exp of it is just above the smallest normal float

// exp(x) for x <= 0, without a branch or a call so that loops over it vectorise. Range reduction to
// |r| <= ln(2)/2 and the polynomial of Cephes' expf (Moshier, 1989).
inline float exp_nonpositive(float x) {
  const float clamped = x < kNegligible ? kNegligible : x;
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it leaves round(x) in the low mantissa bits
  const float shifted = clamped * 1.44269504088896341f + magic;
  const float whole = shifted - magic;
  const float r = (clamped - whole * 0.693359375f) - whole * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(magic) + 127u)
                                 << 23;
  const float scaled = p * std::bit_cast<float>(exponent);
  return x < kNegligible ? 0.0f : scaled;
}

// Largest logit; NaN if any is NaN.
WINNOW_WIDE float largest(const float* logits, int count) {
  float top[kLanes];
  int unordered[kLanes] = {};
  for (int lane = 0; lane < kLanes; ++lane) top[lane] = -std::numeric_limits<float>::infinity();
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float x = logits[i + lane];
      top[lane] = x > top[lane] ? x : top[lane];
      unordered[lane] |= x != x ? 1 : 0;
    }
  }
  for (int lane = 0; i < count; ++i, ++lane) {
    top[lane] = logits[i] > top[lane] ? logits[i] : top[lane];
    unordered[lane] |= logits[i] != logits[i] ? 1 : 0;
  }
  float best = top[0];
  int any = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    best = std::max(best, top[lane]);
    any |= unordered[lane];
  }
  return any != 0 ? std::numeric_limits<float>::quiet_NaN() : best;
}

// Largest logit of each run of kLanes.
WINNOW_WIDE void largest_of_runs(const float* logits, int runs, float* out) {
  for (int run = 0; run < runs; ++run) {
    float best = logits[run * kLanes];
    for (int lane = 1; lane < kLanes; ++lane)
      best = logits[run * kLanes + lane] > best ? logits[run * kLanes + lane] : best;
    out[run] = best;
  }
}

WINNOW_WIDE void exponentials(const float* logits, int count, float top, float inverse, float* out) {
  for (int i = 0; i < count; ++i) out[i] = exp_nonpositive((logits[i] - top) * inverse);
}

struct BlockSum {
  float mass = 0;
  float moment = 0;  // sum of weight * (logit - top) * inverse
};

WINNOW_WIDE BlockSum sum_block(const float* logits, float top, float inverse) {
  float mass[kLanes] = {}, moment[kLanes] = {};
  for (int i = 0; i < kBlock; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float x = (logits[i + lane] - top) * inverse;
      const float distance = x < kNegligible ? kNegligible : x;  // keeps 0 * -inf out of the moment
      const float weight = exp_nonpositive(x);
      mass[lane] += weight;
      moment[lane] += weight * distance;
    }
  }
  BlockSum sum;
  for (int lane = 0; lane < kLanes; ++lane) {
    sum.mass += mass[lane];
    sum.moment += moment[lane];
  }
  return sum;
}

BlockSum sum_tail(const float* logits, int count, float top, float inverse) {
  BlockSum sum;
  for (int i = 0; i < count; ++i) {
    const float x = (logits[i] - top) * inverse;
    const float weight = exp_nonpositive(x);
    sum.mass += weight;
    sum.moment += weight * std::max(x, kNegligible);
  }
  return sum;
}

struct RowSum {
  double mass = 0;
  double moment = 0;
};

// Fills `blocks` with the mass of each block where it is given.
RowSum sum_row(const float* logits, int count, float top, float inverse, std::vector<double>* blocks) {
  RowSum row;
  for (int start = 0; start < count; start += kBlock) {
    const int length = std::min(kBlock, count - start);
    const BlockSum sum =
        length == kBlock ? sum_block(logits + start, top, inverse) : sum_tail(logits + start, length, top, inverse);
    row.mass += static_cast<double>(sum.mass);
    row.moment += static_cast<double>(sum.moment);
    if (blocks != nullptr) blocks->push_back(static_cast<double>(sum.mass));
  }
  return row;
}

// First index whose cumulative weight exceeds `target`; the last with any weight when rounding let the target
// reach the total, -1 when there is none.
int first_beyond(const float* weights, int count, double target) {
  double sum = 0;
  int last = -1;
  for (int i = 0; i < count; ++i) {
    if (weights[i] <= 0) continue;
    sum += static_cast<double>(weights[i]);
    last = i;
    if (sum > target) break;
  }
  return last;
}

Token draw_from_all(const float* logits, int vocabulary, float top, float inverse, double uniform,
                    SamplerScratch& scratch) {
  double total = 0;
  for (const double mass : scratch.sums) total += mass;
  const double target = uniform * total;
  double before = 0;
  std::size_t chosen = 0;
  double before_chosen = 0;
  for (std::size_t block = 0; block < scratch.sums.size(); ++block) {
    if (scratch.sums[block] <= 0) continue;
    chosen = block;
    before_chosen = before;
    before += scratch.sums[block];
    if (before > target) break;
  }
  const int start = static_cast<int>(chosen) * kBlock;
  const int length = std::min(kBlock, vocabulary - start);
  scratch.weights.resize(kBlock);
  exponentials(logits + start, length, top, inverse, scratch.weights.data());
  return start + first_beyond(scratch.weights.data(), length, target - before_chosen);
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

// Leaves the kept candidates in scratch.order, in no particular order.
void keep(const float* logits, int vocabulary, const Sampling& sampling, float top, double mass,
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

Token draw_from_kept(float top, float inverse, double uniform, SamplerScratch& scratch) {
  std::sort(scratch.order.begin(), scratch.order.end(),
            [](const SamplerScratch::Candidate& a, const SamplerScratch::Candidate& b) { return a.id < b.id; });
  scratch.values.clear();
  for (const SamplerScratch::Candidate& each : scratch.order) scratch.values.push_back(each.logit);
  const int count = static_cast<int>(scratch.values.size());
  scratch.weights.resize(scratch.values.size());
  exponentials(scratch.values.data(), count, top, inverse, scratch.weights.data());
  double total = 0;
  for (const float weight : scratch.weights) total += static_cast<double>(weight);
  return scratch.order[static_cast<std::size_t>(first_beyond(scratch.weights.data(), count, uniform * total))].id;
}

}  // namespace

Sampled sample(const float* logits, int vocabulary, const Sampling& sampling, double uniform, SamplerScratch& scratch) {
  const float top = largest(logits, vocabulary);
  if (!std::isfinite(top)) {
    throw EngineError("LOGITS_INVALID",
                      std::string("Expected finite logits but received ") + (std::isnan(top) ? "NaN"
                                                                             : top > 0       ? "+inf"
                                                                                             : "-inf for every token"));
  }
  const bool greedy = sampling.temperature <= 0;
  const bool filtered =
      (sampling.top_k > 0 && sampling.top_k < vocabulary) || sampling.top_p < 1.0f || sampling.min_p > 0;
  // The cap keeps 0 * inf away; anything that cold is greedy but for ties.
  const float inverse = greedy ? 1.0f : std::min(1.0f / sampling.temperature, 1e30f);
  const bool raw_draw = !greedy && !filtered && inverse == 1.0f;

  scratch.sums.clear();
  const RowSum row = sum_row(logits, vocabulary, top, 1.0f, raw_draw ? &scratch.sums : nullptr);
  Sampled sampled;
  if (greedy) {
    sampled.token = static_cast<Token>(std::find(logits, logits + vocabulary, top) - logits);
  } else if (filtered) {
    keep(logits, vocabulary, sampling, top, row.mass, scratch);
    sampled.token = draw_from_kept(top, inverse, uniform, scratch);
  } else {
    if (!raw_draw) sum_row(logits, vocabulary, top, inverse, &scratch.sums);
    sampled.token = draw_from_all(logits, vocabulary, top, inverse, uniform, scratch);
  }
  const double log_mass = std::log(row.mass);
  sampled.logprob = static_cast<float>(static_cast<double>(logits[sampled.token] - top) - log_mass);
  sampled.entropy = static_cast<float>(std::max(0.0, log_mass - row.moment / row.mass));
  return sampled;
}

}  // namespace winnow
