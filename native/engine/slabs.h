// Slab: rows that llama.cpp decodes as one ubatch: the next `tokens` tokens of each of the neighbouring streams
// first..first+streams-1.
//
// llama.cpp takes equally many tokens from every stream of a ubatch, and only from streams without a hole between them;
// each ubatch reads all the weights once. So the fewer slabs the better: streams that all have equally many tokens to
// come need one, and streams whose numbers differ at most one each (beside what `most_rows` cuts).
#pragma once

#include <vector>

namespace winnow {

struct Slab {
  int first = 0;
  int streams = 0;
  int tokens = 0;
};

// Slabs that together take lengths[stream] tokens from every stream, in an order in which each stream's tokens come one
// after the other. `most_rows` (streams x tokens of a slab, at most) is at least the number of streams.
//
// From each run of streams that have tokens left, as many as the shortest of them has: one slab a stream at most. 64
// streams of 24 to 36 tokens at random come to 51 slabs of 2048 rows, and would to 13 if streams were in the order of
// their lengths; but that order is another at each score, and moving a stream copies all its cells.
std::vector<Slab> cut_slabs(std::vector<int> lengths, int most_rows);

}  // namespace winnow
