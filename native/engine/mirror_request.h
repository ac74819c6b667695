// MirrorRequest: which branches of a mirror get which new tokens, and where they are scored. Branch-major and flat.
// MirrorCost: what it took.
#pragma once

#include <cstdint>
#include <vector>

#include "model.h"

namespace winnow {

struct MirrorRequest {
  std::vector<std::int32_t> ids;   // each once
  std::vector<std::int32_t> keep;  // of each branch: how many of its tokens stay, the prefix among them; the rest goes
  std::vector<Token> tokens;       // new tokens of branch i: tokens[offsets[i]..offsets[i + 1])
  std::vector<std::int32_t> offsets;  // ids + 1
  std::vector<std::uint8_t> marks;    // one for each new token: 1 scores after this token as well. Empty: none
  std::vector<Token> suffix;          // decoded behind each branch, scored at its last token, then removed

  int new_tokens(std::size_t branch) const { return offsets[branch + 1] - offsets[branch]; }
  bool marked(std::size_t token) const { return !marks.empty() && marks[token] != 0; }
};

struct MirrorCost {
  std::int64_t decoded = 0;         // rows, those of suffixes included and those of a decode cut short not
  std::int64_t suffix_decoded = 0;  // of these, rows of suffixes
  int batches = 0;                  // ubatches, hence how often the weights were read
};

// What of a request can be told from itself: sizes, order, marks of 0 or 1, tokens of the vocabulary.
// Throws OPTION_INVALID, TOKEN_INVALID.
void check_shape(const MirrorRequest& request, int vocabulary);

// What depends on the branch: `length` tokens it holds, and at most `limit` in a stream.
// Throws OPTION_INVALID (keep out of range; no token at all to score at), CONTEXT_TOO_LONG.
void check_branch(const MirrorRequest& request, std::size_t branch, int length, int limit);

}  // namespace winnow
