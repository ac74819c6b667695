// Reading: the way of one score through a reward model: what its branches still have to decode, and after which of
// their tokens the state is read.
//
// All tokens but the last of each branch go in slabs, without outputs unless a slab holds marks; then the last tokens
// of all branches are one batch of one row each, with states on.
#pragma once

#include <cstddef>
#include <vector>

#include "follower.h"
#include "mirror_request.h"
#include "slabs.h"
#include "streams.h"

namespace winnow {

class Reading {
 public:
  // All three outlive the reading.
  Reading(Streams& streams, CellCount& cells, const MirrorRequest& request);

  // Branch `index` of the request takes what it keeps and gets. One with nothing to decode is answered at once.
  void add(Follower& branch, std::size_t index);
  // False when the deadline or an abort cut it short. Either way branches end with cells of their own tokens only.
  bool run();

  const std::vector<float>& states() const { return states_; }  // one row for each id, then one for each mark
  const MirrorCost& cost() const { return cost_; }

 private:
  struct Part {
    Follower* branch = nullptr;
    std::size_t index = 0;  // in the request
    int last = 0;           // position of the token the score is read at
  };

  void give(Follower& branch, std::size_t index);
  void cut(Follower& branch, int length);
  Token token(const Follower& branch, int position) const;
  int mark_at(const Part& part, int position) const;
  bool decode_slab(const Slab& slab);
  bool decode_last();
  void count(Follower& branch, int rows);
  void keep(const Part& part, int position, const float* state);
  void put(std::size_t row, const float* state);

  Streams& streams_;
  CellCount& cells_;
  const MirrorRequest& request_;
  std::size_t width_;
  std::vector<Part> parts_;     // by stream; without a branch where the request has none
  std::vector<int> mark_rows_;  // by new token: its row of states_, -1 where it is not marked
  std::vector<float> states_;
  MirrorCost cost_;
};

}  // namespace winnow
