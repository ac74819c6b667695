// Softmax: the passes over a row of logits behind every distribution. Weights are relative to the largest logit:
// weight = exp((logit - top) * inverse), where `inverse` is 1 / temperature. One is within 2e-7 relative; under
// e^-87 it counts as zero.
#pragma once

#include <vector>

namespace winnow {

inline constexpr int kBlock = 256;  // logits per partial sum: the search inside one block is then short

// Largest logit; NaN if any is NaN.
float largest_logit(const float* logits, int count);

// Weights of `count` logits, none above `top`, into `out`.
void exponentials(const float* logits, int count, float top, float inverse, float* out);

struct RowSum {
  double mass = 0;    // sum of the weights
  double moment = 0;  // sum of weight * (logit - top) * inverse; entropy = log(mass) - moment / mass, nats
};

// Appends the mass of each kBlock logits to `blocks` where it is given.
RowSum sum_row(const float* logits, int count, float top, float inverse, std::vector<double>* blocks);

// First index whose cumulative weight exceeds `target`; the last with any weight when rounding let the target
// reach the total, -1 when there is none.
int first_beyond(const float* weights, int count, double target);

}  // namespace winnow
