// FitLoss: what a reward head is fitted to, and the slope of it at every logit.
//
// Cross-entropy of a label (0..1) for calibration, or half the squared error of a label that is any number; and beside
// it the logistic ranking loss ln(1 + exp(z_low - z_high)), averaged over the pairs of one group whose labels differ
// (Burges et al., "Learning to rank using gradient descent", 2005), for choosing among the candidates of one prompt.
// Cross-entropy alone spends a head's effort on telling easy prompts from hard ones.
#pragma once

#include <vector>

#include "fit_rows.h"

namespace winnow {

double row_loss(double logit, double label, bool binary);

// Fills `slopes` with the derivative of the mean loss by each logit, and returns that loss. `groups` are spans of rows.
double fit_loss(const std::vector<float>& logits, const std::vector<float>& labels, const std::vector<Span>& groups,
                bool binary, double ranking, std::vector<float>& slopes);

}  // namespace winnow
