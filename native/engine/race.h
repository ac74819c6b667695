// Race: the branches of one prompt inside a pool.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "branch.h"
#include "pool.h"

namespace winnow {

struct Race {
  RaceId id = 0;
  std::vector<Token> prompt;
  std::uint64_t prompt_hash = 0;  // the prompt's part in every draw
  int prompt_stream = -1;         // where the prompt lies; -1 once the branches have taken it over
  // Of the prompt's last token: what first tokens are drawn from, and the state before them (empty without states).
  std::vector<float> logits, state;
  std::vector<Branch> branches;  // by id, ascending; only forks add to them
  // A branch before its first token, of the last fork: a like one need not make a grammar of its text again.
  std::optional<Branch> fresh;
  int live = 0;            // branches that hold a stream
  std::int64_t cells = 0;  // in use by the prompt and the branches
  std::int64_t cells_peak = 0;
  // In the current call of advance().
  int until = 0;   // generated tokens its branches go to; 0: it takes no part
  int rows = 0;    // of the step at hand
  Advance untold;  // what it took since its last turn ended: sums only, the tokens are the branches'

  Branch& find(std::int32_t id);  // throws BRANCH_UNKNOWN
  const Branch& find(std::int32_t id) const;
};

}  // namespace winnow
