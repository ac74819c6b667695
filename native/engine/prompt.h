// Prompt: the tokens all branches share, decoded once, and what they mean to the draws.
#pragma once

#include <cstdint>
#include <vector>

#include "model.h"
#include "streams.h"

namespace winnow {

// 64-bit FNV-1a (Fowler, Noll, Vo) over the tokens' bytes, little endian: the prompt's part in every draw.
std::uint64_t hash_prompt(const std::vector<Token>& prompt);

// Decodes the prompt into stream 0, which is empty; its last token's logits and state end up in row 0. False when
// an abort or the deadline stopped it: what the streams then hold is of no use. Throws DECODE_FAILED, NATIVE_ASSERT.
bool decode_prompt(Streams& streams, const std::vector<Token>& prompt, Streams::Clock::time_point deadline);

}  // namespace winnow
