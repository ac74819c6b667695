// Sampler: one row of logits -> one token, its raw log-probability and the raw entropy.
//
// The log-probability and the entropy are of the model's own distribution (temperature 1, nothing cut), so
// they mean the same whatever the sampling options are. The token comes from the shaped distribution, in the
// order of llama.cpp's default chain (common/sampling): top-k, then top-p, then min-p, all on the untempered
// distribution, then temperature over what was kept.
//   top-k   the k largest logits
//   top-p   the fewest largest of those whose share of their mass reaches p
//   min-p   of those, logit >= largest logit + log(min_p)
// Among equal logits the lower id is kept first. Inverse-CDF over token ids in index order: one uniform per
// token, and a small change of a logit changes the token only where the uniform lies next to a boundary.
// Accuracy: the exponential is within 2e-7 relative; a weight under e^-87 of the largest counts as zero.
#pragma once

#include <cstdint>
#include <vector>

#include "model.h"

namespace winnow {

struct Sampling {
  float temperature = 1.0f;  // 0: greedy, the lowest id among equals
  int top_k = 0;             // 0: off
  float top_p = 1.0f;        // 1: off
  float min_p = 0.0f;        // 0: off
};

struct Sampled {
  Token token = -1;
  float logprob = 0;  // nats
  float entropy = 0;  // nats
};

// Scratch of one thread; grows to the vocabulary once.
struct SamplerScratch {
  struct Candidate {
    float logit;
    Token id;
    float weight;
  };
  std::vector<float> values;
  std::vector<float> weights;
  std::vector<Token> ids;
  std::vector<double> sums;
  std::vector<Candidate> order;
};

// What `sample` says of a token that somebody else chose. Throws as it does.
Sampled measure(const float* logits, int vocabulary, Token token);

// `uniform` in [0, 1). Rows with NaN or +inf, or with -inf (a forbidden token) alone, throw EngineError
// LOGITS_INVALID.
Sampled sample(const float* logits, int vocabulary, const Sampling& sampling, double uniform, SamplerScratch& scratch);

}  // namespace winnow
