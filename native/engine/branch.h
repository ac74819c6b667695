// Branch: one candidate inside a pool.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "certainty.h"
#include "confidence.h"
#include "pool.h"
#include "rules.h"
#include "sampler.h"
#include "stop_strings.h"

namespace winnow {

struct Branch {
  std::int32_t id = 0;
  std::shared_ptr<const ForkParams> fork;  // shared with the others of that fork
  std::optional<BranchRules> rules;        // nothing where the fork asks for none
  std::optional<StopScan> scan;            // likewise
  int cut = 0;                             // bytes to take off its text: a stop string, and what came with it
  int cut_tokens = 0;                      // whole tokens of these
  BranchStatus status = BranchStatus::live;
  int stream = -1;    // -1 while it holds no cells: it ended, or is parked
  int length = 0;     // cells it holds (or held): prompt and decoded tokens
  int generated = 0;  // decoded tokens
  int row = -1;       // its row in the logits and states of the last decode; -1 where others were decoded since
  std::exception_ptr failure;  // of the draw: for whoever takes the token
  bool drawn = false;          // `next` is sampled and not yet decoded
  Sampled next;
  Certainty next_certainty;
  Confidence confidence;
  std::vector<float> state;         // copied when its row is lost; empty before the first token: it is the prompt's
  std::vector<std::uint8_t> cells;  // of a parked branch, where they were copied
  std::vector<Token> tokens;        // decoded behind the prompt
  // Of the tokens taken since the last turn of its race ended.
  std::vector<float> logprobs, entropies, certainties, top_confidences;
  bool touched = false;  // it took tokens or ended since
};

}  // namespace winnow
