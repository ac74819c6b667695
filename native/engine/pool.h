// Pool: KV memory in equal streams, and the branches living in them. It alone frees cells.
//
// One llama context of S streams x L cells. A branch owns one stream. Live branches always fill streams
// 0..k-1: llama.cpp splits a batch at every hole, and each part reads all the weights again, so a kill moves
// the tail into the holes (at most one stream copy for each hole).
//
// Order within a step: sample every live branch from the logits at hand, end those that sampled an end or stop
// token (their cells are freed, nothing is decoded), then decode the rest as one batch. So after a call every
// live branch's last token has been decoded: its state, and the logits for its next token, are at hand, and a
// score at t reads the state after token t.
//
// `deterministic` decodes at least two rows: beside a lone branch a ghost row, which holds one cell of stream 1
// during that decode only. The context then has two streams at least (kv_bytes counts them); Occupancy speaks of
// the streams asked for and never of ghosts. Two rows are what llama.cpp's CPU kernels need: measured for f32, f16,
// q8_0 and q4_0 weights with SSE2, AVX, AVX2 and AVX-512 libraries (test/determinism_test.cc).
//
// Not thread-safe, one call at a time, except request_abort(). A pool that threw NATIVE_ASSERT or DECODE_FAILED
// is dead: every later call throws POOL_DEAD, and only destruction remains.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "confidence.h"
#include "head.h"
#include "model.h"
#include "sampler.h"
#include "sizes.h"

struct llama_context;

namespace winnow {

inline constexpr int kMaxStreams = 256;  // LLAMA_MAX_SEQ
inline constexpr int kCellBlock = 256;   // llama.cpp pads a stream to a multiple of this

struct PoolParams {
  int streams = 1;  // 1..256
  // Tokens a branch may hold, prompt included; rounded up to kCellBlock, though no branch ever grows beyond the
  // model's trained context.
  int cells_per_stream = 0;
  int threads = 0;                       // 0: one per core
  int batch = 512;                       // prompt tokens per decode call, at least 1
  std::string kv_type = "f16";           // "f32" | "f16" | "q8_0" | "q4_0"
  std::string flash_attention = "auto";  // "auto" | "on" | "off"
  bool states = true;                    // keep hidden states (needed to score with a head)
  bool deterministic = false;  // never decode fewer than two rows, so logits do not depend on who else is alive
};

struct ForkParams {
  int count = 1;
  std::uint64_t seed = 0;
  std::uint32_t first_candidate = 0;  // candidates first..first+count-1; keys the draws
  int max_tokens = 0;                 // generated tokens per branch, at least 1
  Sampling sampling;
  std::vector<Token> stop_tokens;
  // Where not empty, one list for each branch: it takes these tokens instead of sampled ones, and then ends. Their
  // log-probabilities, states and features are what they would be had it sampled them.
  std::vector<std::vector<Token>> given;
  bool certainties = false;  // report what certainty.h has of every token
};

enum class BranchStatus : std::uint8_t { live = 0, end = 1, stop = 2, length = 3, killed = 4 };

enum class AdvanceReason : std::uint8_t {
  reached = 0,   // every live branch took `steps` tokens
  settled = 1,   // no branch is live any more
  full = 2,      // the streams are full; live branches wait, nothing was lost
  deadline = 3,  // time ran out between two steps
  aborted = 4,   // request_abort()
};

// What happened since the last call, branch-major. branches[i] took counts[i] tokens.
struct Advance {
  AdvanceReason reason = AdvanceReason::reached;
  int steps = 0;                       // decode steps done
  std::vector<std::int32_t> branches;  // ids of branches that took tokens or ended, ascending
  std::vector<std::int32_t> counts;
  std::vector<std::uint8_t> status;  // BranchStatus after the call
  std::vector<Token> tokens;         // end and stop tokens are not included
  std::vector<float> logprobs;
  std::vector<float> entropies;
  std::vector<float> certainties, top_confidences;  // empty unless the fork asked for them
  std::int64_t decoded = 0;                         // rows decoded, ghost rows of `deterministic` included
  double decode_seconds = 0, sample_seconds = 0;
};

struct Prefill {
  AdvanceReason reason = AdvanceReason::reached;  // reached | deadline | aborted
  int tokens = 0;
  double seconds = 0;
};

struct Occupancy {
  int streams = 0, streams_used = 0, streams_free = 0;
  int cells_per_stream = 0;
  std::int64_t cells = 0, cells_used = 0, cells_free = 0, cells_peak = 0;  // peak since the last prefill
  int live = 0;
  std::uint64_t kv_bytes = 0;
};

class Pool {
 public:
  // Throws OPTION_INVALID, CONTEXT_TOO_LONG, OUT_OF_MEMORY.
  static std::unique_ptr<Pool> create(std::shared_ptr<Model> model, const PoolParams& params);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Empties the pool, forgets its branches, and decodes the prompt once into stream 0.
  // Throws PROMPT_EMPTY, PROMPT_TOO_LONG (needs room for one more token), TOKEN_INVALID.
  Prefill prefill(const std::vector<Token>& prompt, double deadline_seconds = 0);

  // `count` branches that share the prompt; ids are first_candidate..+count-1. Once per prefill (the candidates
  // take over stream 0). Throws STREAMS_FULL if count exceeds the streams, NOT_PREFILLED, OPTION_INVALID.
  void fork(const ForkParams& params);

  // Up to `steps` tokens for every live branch. deadline_seconds: budget of this call, 0 for none.
  Advance advance(int steps, double deadline_seconds = 0);

  // Ends live branches and frees their cells at once; ids that already ended are ignored. Throws BRANCH_UNKNOWN.
  void kill(const std::vector<std::int32_t>& ids);

  // Rows in the order of `ids`. A branch that ended keeps the row of its last decoded token; before the first
  // token it is the row of the prompt's last token. Throws BRANCH_UNKNOWN, STATES_OFF, HEAD_WIDTH.
  std::vector<float> score(const Head& head, const std::vector<std::int32_t>& ids) const;
  std::vector<float> states(const std::vector<std::int32_t>& ids) const;      // ids x width
  std::vector<float> confidence(const std::vector<std::int32_t>& ids) const;  // ids x kFeatures

  Occupancy occupancy() const;
  ContextSizes sizes() const;  // what llama.cpp has allocated for it
  // Throws INTEGRITY when free + used != total for streams or cells, a live branch is not in streams 0..k-1, or
  // llama.cpp's own positions disagree. Run after every operation in debug builds and in the tests.
  void check_integrity() const;

  void request_abort() noexcept { abort_.store(true, std::memory_order_relaxed); }
  void clear_abort() noexcept { abort_.store(false, std::memory_order_relaxed); }

  const Model& model() const;
  const PoolParams& params() const;

 private:
  Pool();
  struct State;
  std::unique_ptr<State> state_;
  std::atomic<bool> abort_{false};
};

}  // namespace winnow
