// Branch: one candidate inside a pool.
#pragma once

#include <cstdint>
#include <vector>

#include "certainty.h"
#include "confidence.h"
#include "pool.h"
#include "sampler.h"

namespace winnow {

struct Branch {
  std::int32_t id = 0;
  BranchStatus status = BranchStatus::live;
  int stream = -1;    // -1 once it ended: its cells are free
  int length = 0;     // cells it holds (or held): prompt and decoded tokens
  int generated = 0;  // decoded tokens
  int row = 0;        // its row in the logits and states of the last decode, while it is live
  Sampled next;       // sampled, not yet decoded
  Certainty next_certainty;
  Confidence confidence;
  std::vector<float> state;  // copied when it ends; the rows themselves last until the next decode
  // Taken in the current call of advance().
  std::vector<Token> tokens;
  std::vector<float> logprobs, entropies, certainties, top_confidences;
  bool touched = false;  // it took tokens or ended
};

}  // namespace winnow
