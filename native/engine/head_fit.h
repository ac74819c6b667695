// HeadFit: fits a reward head to labelled rows, on the CPU. Equal inputs, parameters and seed give equal bits, whatever
// the number of threads.
//
// In each step some state columns stand at their means: without that a head learns prompts by heart from their
// states, and makes less of the confidence features than one of them does alone. The others stand that much further
// from theirs (inverted dropout, Srivastava et al. 2014, section 10): a state says the same in many columns, so units
// add up as much in training as where the head is used, with all columns on.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "fit_rows.h"

namespace winnow {

struct FitParams {
  int columns = 0;
  int state_columns = 0;  // the first of `columns`
  bool binary = true;     // labels are 0..1: cross-entropy; otherwise squared error
  int hidden = 128;       // 0: linear
  int epochs = 50;
  int patience = 12;     // epochs without a better validation loss before it stops
  int batch = 1024;      // rows, cut at groups
  double rate = 3e-3;    // highest; a tenth of the run rises to it, then it falls as a cosine to 0
  double decay = 0.3;    // AdamW's, times the rate
  double dropout = 0.3;  // of state columns
  double ranking = 1.0;  // weight of the ranking loss
  int threads = 0;       // 0: one per core
  std::uint64_t seed = 0;
};

struct Epoch {
  int index = 0;  // from 1
  double train_loss = 0, validation_loss = 0;
};

struct Fit {
  bool stopped = false;                // the abort flag ended it; the best epoch so far is here, if any
  std::vector<float> parameters;       // as HeadNet, for inputs as they came (state) and standardised (features)
  std::vector<float> mean, deviation;  // of the features
  std::vector<Epoch> epochs;
  int best = 0;  // the epoch that is here; 0: stopped before the first one ended, nothing was learnt
};

// Throws EngineError OPTION_INVALID: no rows, a label or input that is not finite, labels outside 0..1 where binary,
// all labels equal; no epoch with a finite validation loss.
Fit fit_head(const FitRows& train, const FitRows& validation, const FitParams& params, const std::atomic<bool>& abort,
             const std::function<void(const Epoch&)>& on_epoch = {});

}  // namespace winnow
