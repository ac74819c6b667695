// BranchTable: the races of a pool, the stream each of their branches lives in, and the accounts of streams and cells.
// It alone frees cells and moves branches; the pool's steps only read the table and grow it. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "branch.h"
#include "pool.h"
#include "race.h"
#include "streams.h"

namespace winnow {

class BranchTable {
 public:
  explicit BranchTable(Streams& streams);  // outlives the table

  // The first stream that is free. Throws STREAMS_FULL.
  int free_stream() const;
  // A race whose prompt was decoded into free_stream().
  Race& open(std::vector<Token> prompt, std::uint64_t prompt_hash);
  // Frees its cells and forgets it. Unknown ids are ignored.
  void close(RaceId id);
  // As many branches as its fork says, like this one, with copies of the prompt in streams of their own; the first
  // takes the prompt's own unless that is kept.
  void fork(Race& race, const Branch& like);
  // The last decode gave it one cell more.
  void grow(Branch& branch);
  // Frees the cells of every branch that is no longer live and moves the tail into the holes, so that streams
  // 0..used()-1 are in use again: one whole-stream copy for each hole below them.
  void retire();
  // A parked branch into the first free stream, which holds its cells, and lives again.
  void seat(Race& race, Branch& branch);
  // The same branches in streams that were made anew, one after the other.
  void remade();

  Race& find(RaceId id);  // throws RACE_UNKNOWN
  const Race& find(RaceId id) const;
  // Who lives in a stream below used(); nullptr where a prompt does.
  Branch* at(int stream);
  Race& owner(int stream) const { return *owners_[static_cast<std::size_t>(stream)].race; }  // stream below used()
  int used() const { return used_; }
  int length(int stream) const;  // tokens in it; 0 of a free one
  int cells(int stream) const;   // in use by it alone: in a unified cache those of the prompt are the prompt's
  std::int64_t cells_free() const;
  const std::map<RaceId, std::unique_ptr<Race>>& races() const { return races_; }

  // Hidden state of the branch's last decoded token; rows last until the next decode.
  const float* state(const Race& race, const Branch& branch) const;
  const float* logits(const Race& race, const Branch& branch) const;  // nullptr where its next token is drawn already

  Occupancy occupancy() const;
  void check_integrity() const;  // what Pool's says

 private:
  struct Owner {
    Race* race = nullptr;  // nullptr: free
    int branch = -1;       // its place among the race's branches; -1 for the prompt
  };
  Branch* branch_of(const Owner& owner) const;
  void take(int stream, Race& race, int branch);
  void check_stream(int stream) const;

  Streams& streams_;
  std::map<RaceId, std::unique_ptr<Race>> races_;
  RaceId next_id_ = 1;
  std::vector<Owner> owners_;  // by stream
  int used_ = 0;

  // Kept beside llama.cpp's own positions, and compared with them by check_integrity().
  std::int64_t cells_used_ = 0;
  std::int64_t cells_peak_ = 0;  // since it was last empty
};

}  // namespace winnow
