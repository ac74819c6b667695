// Step: one token for some of the live branches, in two halves: sample() from the logits at hand, decode() of what was
// sampled. Between the two, branches that sampled an end or stop token are gone, so nothing is decoded for them.
#pragma once

#include <optional>
#include <vector>

#include "branch_table.h"
#include "pool.h"
#include "rules.h"
#include "streams.h"
#include "workers.h"

namespace winnow {

class Step {
 public:
  // Samples on as many threads as the streams' params say. `streams` and `branches` outlive it.
  Step(Streams& streams, BranchTable& branches);

  // Draws the next token of each, and ends those that drew an end or stop token. A draw is a pure function of the
  // logits and (seed, prompt, candidate, position). Throws LOGITS_INVALID.
  void sample(const std::vector<Branch*>& taking);
  // Decodes the drawn token of each, in the order of their streams, as one batch; ends those that reached their length.
  // Whoever lives and takes no part has its next token drawn and its state copied first: the rows of the last decode
  // are lost. Rows are counted for each race, ghosts with whom they stand beside. Throws DECODE_FAILED, NATIVE_ASSERT,
  // STREAMS_FULL (a ghost that `deterministic` wants finds no cell).
  void decode(const std::vector<Branch*>& taking);
  // Does that much for all live branches, before something else is decoded.
  void keep_rows();

 private:
  void draw(const std::vector<Branch*>& branches);
  std::optional<StopScan::Cut> found_stop(const Branch& branch) const;
  static void take(Branch& branch);
  double uniform_of(const Branch& branch, int position) const;
  std::optional<RowAsk> ask_of(const Branch& branch, int position) const;
  bool draw_from_digest(Branch& branch) const;
  void draw_one(Branch& branch, int worker);
  void draw_next(Branch& branch, RulesScratch& scratch);
  void keep_rows_of_others(const std::vector<Branch*>& taking);
  // A row of a decode. A ghost is decoded for its neighbours' sake, and its cell is given back at once.
  struct Row {
    Branch* branch;  // nullptr: a ghost
    int stream;
  };
  std::vector<Row> rows_of(const std::vector<Branch*>& taking) const;
  bool has_room(int stream) const;

  Streams& streams_;
  BranchTable& branches_;
  Workers workers_;
  std::vector<RulesScratch> scratch_;  // one for each worker
};

}  // namespace winnow
