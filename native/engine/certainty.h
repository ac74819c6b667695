// Certainty: what a row of logits says beyond the token drawn from it and the entropy. Of the model's own distribution
// (temperature 1, nothing cut), nats; it takes passes of its own over the row, so it is only computed when asked for.
//   certainty       KL(uniform || p) = -log V - (1/V) sum of log p over the vocabulary: the term of self-certainty
//                   (Kang, Zhao and Song, arXiv 2502.18581)
//   top_confidence  -(1/20) sum of log p over the 20 likeliest tokens: DeepConf's token confidence (Fu et al.,
//                   arXiv 2508.15260); over all tokens where there are fewer
// A logit further than 87 below the largest counts as 87 below: a forbidden token would make both infinite.
#pragma once

#include "sampler.h"

namespace winnow {

inline constexpr int kTopTokens = 20;

struct Certainty {
  float certainty = 0;
  float top_confidence = 0;
};

// The row must be one that sample() takes.
Certainty certainty_of(const float* logits, int vocabulary, SamplerScratch& scratch);

}  // namespace winnow
