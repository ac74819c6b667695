// Requests: what a pool is asked to do, checked whole before anything of it changes. Each of these throws an
// EngineError and says what was expected.
#pragma once

#include <vector>

#include "model.h"
#include "pool.h"

namespace winnow {

// `name` in the sentence. Throws TOKEN_INVALID.
void check_tokens(const char* name, const std::vector<Token>& tokens, int vocabulary);

// `limit`: tokens a branch may hold. Throws PROMPT_EMPTY, PROMPT_TOO_LONG, TOKEN_INVALID.
void check_prompt(const std::vector<Token>& prompt, int limit, int vocabulary);

// Throws STREAMS_FULL, OPTION_INVALID, TOKEN_INVALID.
void check_fork(const ForkParams& params, int streams, int vocabulary);

// Throws OPTION_INVALID.
void check_steps(int steps);

}  // namespace winnow
