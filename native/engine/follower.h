// Follower: a branch as a reward model knows it, inside a mirror.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "model.h"

namespace winnow {

struct Follower {
  int stream = -1;            // -1 once it was dropped: its cells are free
  std::vector<Token> tokens;  // the prefix and all it was given
  int decoded = 0;            // cells it holds, of `tokens` from the first; while it is scored those of the suffix too
  std::vector<float> state;   // the state after the first `state_at` tokens
  int state_at = -1;          // -1: none kept

  int length() const { return static_cast<int>(tokens.size()); }
};

// Cells that followers hold, kept beside llama.cpp's own positions.
struct CellCount {
  std::int64_t used = 0, peak = 0;

  void add(std::int64_t cells) {
    used += cells;
    peak = std::max(peak, used);
  }
};

}  // namespace winnow
