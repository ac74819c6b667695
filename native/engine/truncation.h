// Truncation: which tokens of a row top-k, top-p and min-p leave to be drawn, without an array of the whole
// vocabulary. What each of the three keeps, and in what order they cut, stands in sampler.h.
#pragma once

#include "sampler.h"

namespace winnow {

// Leaves the kept tokens in scratch.order, in no particular order: at least one, none of them forbidden.
// `top` is the row's largest logit, finite; `mass` the sum of its weights at temperature 1 (softmax.h).
void truncate_row(const float* logits, int vocabulary, const Sampling& sampling, float top, double mass,
                  SamplerScratch& scratch);

}  // namespace winnow
