// FollowerTable: the branches of a mirror, the stream each lives in, and the account of cells. It alone frees whole
// branches and moves them; a Reading grows and cuts them. Not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "follower.h"
#include "pool.h"
#include "streams.h"

namespace winnow {

class FollowerTable {
 public:
  explicit FollowerTable(Streams& streams);  // outlives the table

  // Forgets the prefix and all branches, and empties the streams.
  void clear();
  // The prefix was decoded into stream 0, and its last token's state is in row 0.
  void hold_prefix(const std::vector<Token>& prefix);
  // Ids 0..count-1 into streams 0..count-1, all of them copies of the prefix. After hold_prefix().
  void fork(int count);
  // Frees their cells and moves the tail into the holes, so that branches fill streams 0..live-1 again: one
  // whole-stream copy for each hole below them. All or none; throws BRANCH_UNKNOWN.
  void drop(const std::vector<std::int32_t>& ids);

  bool holds_prefix() const { return trunk_.decoded > 0; }
  bool forked() const { return !branches_.empty(); }
  Follower& find(std::int32_t id);  // one that was dropped has stream -1. Throws BRANCH_UNKNOWN
  CellCount& cells() { return cells_; }

  Occupancy occupancy() const;
  void check_integrity() const;  // what Mirror's says

 private:
  void move(std::int32_t id, int from, int to);

  Streams& streams_;
  Follower trunk_;                    // the prefix, in stream 0 until the fork
  std::vector<Follower> branches_;    // by id
  std::vector<std::int32_t> owners_;  // ids for streams 0..live_-1, -1 for the others
  int live_ = 0;
  CellCount cells_;
};

}  // namespace winnow
