// A rung move: the branches that are left go from a context of many short streams into one of fewer, longer streams.
// These ways, on bare contexts, are what Pool::reshape is measured against.
//
// By host copy: all branches are saved, the old context is closed, the new one is made and filled: both do not fit at
// once. llama.cpp writes a sequence as
//   magic u32 | sequence i32 | streams u32 | for each stream: cells u32, then what they hold where there are any
// and refuses one of another number of streams; the same bytes with as many empty streams are what it would have
// written there. By replay: tokens are decoded again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bare.h"

struct RungCost {
  double save_seconds = 0, close_seconds = 0, open_seconds = 0, restore_seconds = 0;
  std::uint64_t bytes = 0;  // that went through the host

  double seconds() const { return save_seconds + close_seconds + open_seconds + restore_seconds; }
};

// `how`: "pageable" or "pinned" host memory, or "replay". Stream i of the result holds what stream survivors[i] of
// `from` held; `tokens[i]` are its tokens, read by replay alone. `to`: the new context, at least as many streams.
std::unique_ptr<BareContext> move_rung(std::unique_ptr<BareContext> from, const std::vector<int>& survivors,
                                       const std::vector<std::vector<winnow::Token>>& tokens, const BareParams& to,
                                       const std::string& how, RungCost& cost);
