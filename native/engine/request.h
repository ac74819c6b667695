// Requests: what a pool is asked to do, checked whole before anything of it changes. Each of these throws an
// EngineError and says what was expected.
#pragma once

#include <cstdint>
#include <vector>

#include "branch_table.h"
#include "model.h"
#include "pool.h"

namespace winnow {

// `name` in the sentence. Throws TOKEN_INVALID.
void check_tokens(const char* name, const std::vector<Token>& tokens, int vocabulary);

// `limit`: tokens a branch may hold. Throws PROMPT_EMPTY, PROMPT_TOO_LONG, TOKEN_INVALID.
void check_prompt(const std::vector<Token>& prompt, int limit, int vocabulary);

// Whether there are so many free. Throws STREAMS_FULL.
void check_cells(std::int64_t cells, const BranchTable& branches);

// `room`: branches there are streams for. Throws STREAMS_FULL, OPTION_INVALID, TOKEN_INVALID.
void check_fork(const ForkParams& params, const Race& race, int room, int vocabulary);

// Whether those who live fit into so many streams so long. Throws OPTION_INVALID.
void check_shape(int streams, int cells_per_stream, const BranchTable& branches);

// Throws OPTION_INVALID.
void check_turns(const std::vector<Turn>& turns);

}  // namespace winnow
