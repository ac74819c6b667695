// Mirror: the KV memory of a reward model that follows the branches of a pool. Tokens are given, never sampled, and
// each is decoded once: a score decodes what is new and reads the state after it.
//
// One llama context of S streams x L cells, as in a pool: a branch owns a stream, branches fill streams 0..k-1, and
// dropping some moves the tail into the holes.
//
// Cost of states: with them on, llama.cpp takes every row for an output, multiplies it with the whole output matrix as
// well and copies its logits. So all tokens but the prefix's last and the ones a score is read at are decoded with
// states off and no outputs, cut into slabs (slabs.h), and the last tokens of all branches in one batch with states on.
// Only a slab that holds marks has states on too. Splitting branches at their marks instead would spare those outputs,
// but marks lie at other places in each branch, and every place is a batch of its own, for which all weights are read.
//
// A call that was cut short (deadline, abort) loses nothing: its branches hold the tokens they were given, whichever
// were decoded, and the next score decodes the rest. What it would have scored is not kept.
//
// Caches of sliding windows are made full-size (Streams does), so that removing a branch's end is exact. With kv_type
// f32 flash attention has to be off for exact scores: it turns f32 cells into f16 before it uses them.
//
// Not thread-safe, one call at a time, except request_abort(). A mirror that threw NATIVE_ASSERT, DECODE_FAILED or
// MODEL_UNSUPPORTED from score() is dead: every later call throws POOL_DEAD, and only destruction remains.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "head.h"
#include "mirror_request.h"
#include "model.h"
#include "pool.h"

namespace winnow {

// Rows of a batch that holds marks. Each reserves a row of logits: 0.6 MB with a vocabulary of 150,000.
inline constexpr int kMarkRows = 128;

struct MirrorScores {
  AdvanceReason reason = AdvanceReason::reached;  // reached | deadline | aborted
  std::vector<float> scores;                      // raw logits in the order of the ids; empty unless reached
  std::vector<float> marked;                      // one for each mark, in the order of the tokens; empty unless reached
  MirrorCost cost;
  double seconds = 0;
};

class Mirror {
 public:
  // As Pool::create; a mirror always keeps states and never has ghosts, whatever `states` and `deterministic` say.
  static std::unique_ptr<Mirror> create(std::shared_ptr<Model> model, const PoolParams& params);
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  // Empties the mirror, forgets its branches, and decodes the prefix once. A prefill cut short leaves it empty.
  // Throws PROMPT_EMPTY, PROMPT_TOO_LONG (needs room for one more token), TOKEN_INVALID, OPTION_INVALID.
  Prefill prefill(const std::vector<Token>& prefix, double deadline_seconds = 0);

  // Branches 0..count-1 that share the prefix. Once per prefill. Throws STREAMS_FULL, NOT_PREFILLED, OPTION_INVALID.
  void fork(int count);

  // Each branch keeps, gets and is scored as the request says. One that gets nothing, without a suffix, answers from
  // the state of its last read; where that was elsewhere (behind a suffix, before a cut) its last token is decoded
  // again. Throws, before anything changes: NOT_PREFILLED, OPTION_INVALID, TOKEN_INVALID, BRANCH_UNKNOWN,
  // CONTEXT_TOO_LONG, HEAD_WIDTH, HEAD_FEATURES (a head that needs confidence features, which only a pool has).
  MirrorScores score(const Head& head, const MirrorRequest& request, double deadline_seconds = 0);

  // Frees the cells of these branches at once; ids dropped before are ignored. Throws BRANCH_UNKNOWN.
  void drop(const std::vector<std::int32_t>& ids);

  Occupancy occupancy() const;
  // Throws INTEGRITY as Pool::check_integrity() does, and is run as often.
  void check_integrity() const;

  void request_abort() noexcept { abort_.store(true, std::memory_order_relaxed); }
  void clear_abort() noexcept { abort_.store(false, std::memory_order_relaxed); }

 private:
  Mirror();
  struct State;
  std::unique_ptr<State> state_;
  std::atomic<bool> abort_{false};
};

}  // namespace winnow
