#include "sampler.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "softmax.h"
#include "truncation.h"

namespace winnow {
namespace {

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

float top_of(const float* logits, int vocabulary) {
  const float top = largest_logit(logits, vocabulary);
  if (std::isfinite(top)) return top;
  throw EngineError("LOGITS_INVALID",
                    std::string("Expected finite logits but received ") + (std::isnan(top) ? "NaN"
                                                                           : top > 0       ? "+inf"
                                                                                           : "-inf for every token"));
}

Sampled measured(Token token, const float* logits, float top, const RowSum& row) {
  const double log_mass = std::log(row.mass);
  Sampled sampled;
  sampled.token = token;
  sampled.logprob = static_cast<float>(static_cast<double>(logits[token] - top) - log_mass);
  sampled.entropy = static_cast<float>(std::max(0.0, log_mass - row.moment / row.mass));
  return sampled;
}

}  // namespace

Sampled measure(const float* logits, int vocabulary, Token token) {
  const float top = top_of(logits, vocabulary);
  return measured(token, logits, top, sum_row(logits, vocabulary, top, 1.0f, nullptr));
}

Sampled sample(const float* logits, int vocabulary, const Sampling& sampling, double uniform, SamplerScratch& scratch) {
  const float top = top_of(logits, vocabulary);
  const bool greedy = sampling.temperature <= 0;
  const bool filtered =
      (sampling.top_k > 0 && sampling.top_k < vocabulary) || sampling.top_p < 1.0f || sampling.min_p > 0;
  // The cap keeps 0 * inf away; anything that cold is greedy but for ties.
  const float inverse = greedy ? 1.0f : std::min(1.0f / sampling.temperature, 1e30f);
  const bool raw_draw = !greedy && !filtered && inverse == 1.0f;

  scratch.sums.clear();
  const RowSum row = sum_row(logits, vocabulary, top, 1.0f, raw_draw ? &scratch.sums : nullptr);
  Token token = -1;
  if (greedy) {
    token = static_cast<Token>(std::find(logits, logits + vocabulary, top) - logits);
  } else if (filtered) {
    truncate_row(logits, vocabulary, sampling, top, row.mass, scratch);
    token = draw_from_kept(top, inverse, uniform, scratch);
  } else {
    if (!raw_draw) sum_row(logits, vocabulary, top, inverse, &scratch.sums);
    token = draw_from_all(logits, vocabulary, top, inverse, uniform, scratch);
  }
  return measured(token, logits, top, row);
}

}  // namespace winnow
