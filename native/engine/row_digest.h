// RowDigest: what is read of a row of logits that stays on its device: a few hundred numbers in place of the whole
// vocabulary, computed by the graph (graph_sampler.h). From the same uniform it gives the token that sample() gives of
// the whole row; sums in float may round otherwise, and then a token that the uniform lies next to takes its place.
//
// The graph sums the row's weights by blocks and guesses the block in which the uniform lies. The block is chosen here,
// in double precision as sampler.h does it; where the guess was another, the whole row has to be read.
#pragma once

#include <optional>

#include "sampler.h"

namespace winnow {

// What the graph is to make of a row: the shaped distribution, the uniform, a token whose logit is wanted.
struct RowAsk {
  float inverse = 1;    // 1 / temperature
  float least = -3e38;  // kept is what lies above it: logit - largest logit
  double uniform = 0;
  Token wanted = 0;

  // Nothing where the graph cannot shape the distribution: top-k and top-p would need a sort of the vocabulary.
  static std::optional<RowAsk> of(const Sampling& sampling, int vocabulary, double uniform);
};

struct RowDigest {
  float top = 0;                  // largest logit
  float share = 0;                // of the token that has it, at temperature 1
  float information = 0;          // sum of p log p at temperature 1, nats: the negative entropy
  float wanted = 0;               // logit
  const float* sums = nullptr;    // of the shaped weights, one for each kBlock tokens
  int block = 0;                  // the guess
  const float* logits = nullptr;  // of the tokens in that block
};

// What measure() says of the token that was wanted. Nothing where the row is not finite.
std::optional<Sampled> measure(const RowDigest& row, const RowAsk& ask);

// As sample(); `ask` is what the graph was asked. Nothing where the row is not finite, or the guess was wrong.
std::optional<Sampled> sample(const RowDigest& row, int vocabulary, const RowAsk& ask);

}  // namespace winnow
