// BranchTable: the branches of one prompt, the stream each lives in, and the accounts of streams and cells. It alone
// frees cells and moves branches; the pool's steps only read the table and grow it. Not thread-safe, but at() may be
// called from many threads at a time for different streams.
#pragma once

#include <cstdint>
#include <vector>

#include "branch.h"
#include "pool.h"
#include "streams.h"

namespace winnow {

class BranchTable {
 public:
  explicit BranchTable(Streams& streams);  // outlives the table

  // Forgets the prompt and all branches, and empties the streams.
  void clear();
  // The prompt was decoded into stream 0.
  void hold_prompt(int length);
  // Ids first_candidate..+count-1 into streams 0..count-1, all of them copies of stream 0. After hold_prompt().
  void fork(std::int32_t first_candidate, int count);
  // The last decode gave each live branch one cell more.
  void grow();
  // Frees the cells of every branch that is no longer live and moves the tail into the holes, so that live branches
  // fill streams 0..live()-1 again: one whole-stream copy for each hole below them.
  void retire();

  bool holds_prompt() const { return prompt_length_ > 0; }
  bool forked() const { return !branches_.empty(); }
  int live() const { return live_; }
  // Live branches without a cell left. All are of one length: they were forked together and advance together.
  bool full() const { return live_ > 0 && branches_[index_at(0)].length >= streams_.limit(); }

  Branch& at(int stream) { return branches_[index_at(stream)]; }  // stream below live()
  Branch& find(std::int32_t id);                                  // throws BRANCH_UNKNOWN
  const Branch& find(std::int32_t id) const;
  std::vector<Branch>& all() { return branches_; }  // by id, ascending
  // Hidden state of the branch's last decoded token; lasts until the next decode.
  const float* state(const Branch& branch) const;

  Occupancy occupancy() const;
  void check_integrity() const;  // what Pool's says

 private:
  std::size_t index_at(int stream) const {
    return static_cast<std::size_t>(stream_owners_[static_cast<std::size_t>(stream)]);
  }
  std::size_t index_of(std::int32_t id) const;
  void check_stream(int stream) const;

  Streams& streams_;
  std::int32_t first_candidate_ = 0;
  int prompt_length_ = 0;
  std::vector<Branch> branches_;
  std::vector<int> stream_owners_;  // index in branches_ for streams 0..live_-1, -1 for the others
  int live_ = 0;

  // Kept beside llama.cpp's own positions, and compared with them by check_integrity().
  int streams_used_ = 0;
  std::int64_t cells_used_ = 0;
  std::int64_t cells_peak_ = 0;  // since clear()
};

}  // namespace winnow
