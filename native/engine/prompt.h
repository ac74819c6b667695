// Prompt: the tokens all branches share, decoded once, and what they mean to the draws.
#pragma once

#include <cstdint>
#include <vector>

#include "model.h"
#include "streams.h"

namespace winnow {

// 64-bit FNV-1a (Fowler, Noll, Vo) over the tokens' bytes, little endian: the prompt's part in every draw.
std::uint64_t hash_prompt(const std::vector<Token>& prompt);

// Decodes what follows the first `held` tokens of the prompt (fewer than all) into a stream that holds these; the last
// token's logits and state end up in row 0. False when an abort or the deadline stopped it: what the stream then holds
// is of no use. Throws DECODE_FAILED, NATIVE_ASSERT.
bool decode_prompt(Streams& streams, int stream, const std::vector<Token>& prompt, int held,
                   Streams::Clock::time_point deadline);

// Decodes tokens behind the first `held` cells of a stream, without outputs. Not to be interrupted. With `written` they
// are what a branch wrote step by step: where `deterministic` asks for it, none is decoded as the only row of a batch,
// nor so many together that llama.cpp takes another kernel.
void replay(Streams& streams, int stream, const std::vector<Token>& tokens, int held, bool written);

}  // namespace winnow
