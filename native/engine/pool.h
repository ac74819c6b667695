// Pool: KV memory in equal streams, and the branches living in them. It alone frees cells.
//
// One llama context of S streams x L cells. A branch owns one stream. Streams in use are always 0..k-1: llama.cpp
// splits a batch at every hole, and each part reads all the weights again, so a kill moves the tail into the holes (at
// most one stream copy for each hole).
//
// Any number of races share the pool: a race is one prompt, prefilled into a free stream, and the branches forked from
// it. A call of advance() says which races go how far; their branches are one batch, and the others wait.
//
// Order within a step: sample every branch that takes part from the logits at hand, end those that sampled an end or
// stop token (their cells are freed, nothing is decoded), then decode the rest as one batch. So after a call every
// branch's last token has been decoded: its state is at hand, and a score at t reads the state after token t. Of a
// branch that waits while others are decoded the next token is drawn and the state copied first.
//
// `deterministic` decodes at least two rows: beside a lone branch a ghost row, which holds one cell of a neighbouring
// stream during that decode only. The context then has two streams at least (kv_bytes counts them); Occupancy speaks of
// the streams asked for and never of ghosts. Two rows are what llama.cpp's CPU kernels need: measured for f32, f16,
// q8_0 and q4_0 weights with SSE2, AVX, AVX2 and AVX-512 libraries (test/determinism_test.cc).
//
// Parked branches hold no cells, only their tokens and, where asked for, a copy of their cells in the host's memory.
//
// With `unified_cells` there is one stream, which all share: a cell belongs to every branch that reads it, so the
// prompt's are there once, and forking, killing and moving change llama.cpp's notes on cells and no cell. What is said
// of streams is then so of llama.cpp's sequences, and the prompt keeps one of its own until its race ends. Every row is
// held against all cells in use, whoever's they are.
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
#include "rules.h"
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
  // Where tokens are drawn: "host" | "graph" | "auto", which is the host: nowhere was the graph measured to be faster.
  // Of branches whose rules, top-k, top-p or certainties the graph has no part in, the host draws the tokens all the
  // same, and of a unified cache it draws all.
  std::string drawing = "auto";
  bool states = true;          // keep hidden states (needed to score with a head)
  bool deterministic = false;  // never decode fewer than two rows, so logits do not depend on who else is alive
  // 0 for streams. Otherwise one cache of so many cells for all, rounded up to kCellBlock; never `deterministic`, since
  // kernels sum over the cells in the order in which they lie, and not for sliding windows or caches of two parts.
  int unified_cells = 0;
};

using RaceId = std::int32_t;

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
  // Neither counts where tokens are given. Stop strings end a branch wherever its tokens part; the last token, which
  // completed one, is reported and not decoded.
  SamplingRules rules;
  std::vector<std::string> stop;
  bool certainties = false;  // report what certainty.h has of every token
  // In a stream of its own, for later forks; otherwise the first branch takes its stream. Always, in a unified cache.
  bool keep_prompt = false;
};

// `stop`: by a stop token or a stop string. `refused`: its rules allow no token.
enum class BranchStatus : std::uint8_t { live = 0, end = 1, stop = 2, length = 3, killed = 4, parked = 5, refused = 6 };

enum class AdvanceReason : std::uint8_t {
  reached = 0,   // every live branch has as many tokens as asked for
  settled = 1,   // no branch is live any more
  full = 2,      // the streams are full, or no cell is left; live branches wait, nothing was lost
  deadline = 3,  // time ran out between two steps
  aborted = 4,   // request_abort()
  running = 5,   // another race of the call had one of the first three, or room
  room = 6,      // fewer than `least` branches still take part
};

// How far a race goes: until each of its live branches has so many generated tokens, or fewer than `least` of them are
// still on their way there: whoever has others waiting can put them into the free streams. 0: however few.
struct Turn {
  RaceId race = 0;
  int until = 0;
  int least = 0;
};

// What happened to a race in a turn, branch-major. branches[i] took counts[i] tokens. Of a race that is `running` still
// nothing is told yet: it comes with the end of its turn, over however many calls.
struct Advance {
  AdvanceReason reason = AdvanceReason::running;
  int steps = 0;                       // decode steps it took part in
  std::vector<std::int32_t> branches;  // ids of branches that took tokens or ended, ascending
  std::vector<std::int32_t> counts;
  std::vector<std::uint8_t> status;            // BranchStatus after the call
  std::vector<std::int32_t> cuts, cut_tokens;  // bytes to take off the end of its text, and whole tokens of these
  std::vector<Token> tokens;                   // end and stop tokens are not included
  std::vector<float> logprobs;
  std::vector<float> entropies;
  std::vector<float> certainties, top_confidences;  // empty unless the fork asked for them
  std::int64_t decoded = 0;                         // rows decoded, ghost rows of `deterministic` included
  double decode_seconds = 0, sample_seconds = 0;    // its share, by rows, of what the calls took
  std::int64_t cells_peak = 0;                      // of the race so far
};

struct Prefill {
  AdvanceReason reason = AdvanceReason::reached;  // reached | deadline | aborted
  RaceId race = 0;                                // unless reached, of none
  int tokens = 0;
  int decoded = 0;  // fewer than `tokens` where the cells of a like beginning could be copied
  double seconds = 0;
};

struct Occupancy {
  int streams = 0, streams_used = 0, streams_free = 0;
  int cells_per_stream = 0;  // tokens a branch may hold; in a unified cache all of them share `cells`
  std::int64_t cells = 0, cells_used = 0, cells_free = 0, cells_peak = 0;  // peak since it was last empty
  int live = 0;
  std::uint64_t kv_bytes = 0;
  std::uint64_t parked_bytes = 0;  // copies of parked branches' cells, in the host's memory
};

class Pool {
 public:
  // Throws OPTION_INVALID, CONTEXT_TOO_LONG, OUT_OF_MEMORY, MODEL_UNSUPPORTED (`unified_cells`).
  static std::unique_ptr<Pool> create(std::shared_ptr<Model> model, const PoolParams& params);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // What races are decoded with from now on, in place of other adapters. Throws POOL_BUSY while there is a race: cells
  // decoded with other adapters are no good with these; what set_adapters does, and then this pool may be dead.
  void adapt(const AdapterSet& adapters);

  // A new race: its prompt is decoded once, into a free stream. The beginning it shares with a prompt that is held
  // already is copied, not decoded, unless `deterministic` or in a unified cache. Cut short it leaves nothing behind.
  // Throws PROMPT_EMPTY, PROMPT_TOO_LONG (needs room for one more token), TOKEN_INVALID, STREAMS_FULL.
  Prefill prefill(const std::vector<Token>& prompt, double deadline_seconds = 0);

  // `count` branches that share the prompt; ids are first_candidate..+count-1, above those the race has. Throws
  // STREAMS_FULL if count exceeds the free streams, NOT_PREFILLED if the prompt was not kept, RACE_UNKNOWN,
  // OPTION_INVALID, TOKEN_INVALID, GRAMMAR_INVALID, NO_TOKENIZER.
  void fork(RaceId race, const ForkParams& params);

  // Takes all these races on, step by step, until the first of them is where it was to go, settled, full or has room;
  // in the order of the turns. deadline_seconds: budget of this call, 0 for none. Throws RACE_UNKNOWN, NOT_PREFILLED (a
  // race that was never forked), OPTION_INVALID, LOGITS_INVALID (a branch that takes part), STREAMS_FULL
  // (`deterministic`: no cell is free beside a branch that is decoded alone). Then nothing was decoded in the step at
  // hand, and what was taken before is told by the next call.
  std::vector<Advance> advance(const std::vector<Turn>& turns, double deadline_seconds = 0);

  // Ends live and parked branches and frees their cells at once; ids that already ended are ignored. Throws
  // BRANCH_UNKNOWN, RACE_UNKNOWN.
  void kill(RaceId race, const std::vector<std::int32_t>& ids);

  // Frees the cells of live branches, which go on after resume(); others are ignored. With `copy` the cells are kept in
  // the host's memory and come back exact; otherwise, and where the model's cannot be copied, the tokens are decoded
  // again, which moves their last bits unless `deterministic`. Throws BRANCH_UNKNOWN, RACE_UNKNOWN, OUT_OF_MEMORY (the
  // copies).
  void park(RaceId race, const std::vector<std::int32_t>& ids, bool copy);
  // Parked branches into free streams, in the order of the ids; others are ignored. The tokens that were decoded again.
  // Throws STREAMS_FULL, BRANCH_UNKNOWN, RACE_UNKNOWN.
  std::int64_t resume(RaceId race, const std::vector<std::int32_t>& ids);

  // Fewer and longer streams, or more and shorter ones; who lives goes on there, with the same cells. Throws
  // OPTION_INVALID (they do not fit, or share a unified cache), CONTEXT_TOO_LONG, OUT_OF_MEMORY: then all is as it was.
  void reshape(int streams, int cells_per_stream);

  // Forgets a race and frees what it holds; an unknown one is ignored.
  void end(RaceId race);

  // Rows in the order of `ids`. A branch that ended keeps the row of its last decoded token; before the first
  // token it is the row of the prompt's last token. Throws BRANCH_UNKNOWN, RACE_UNKNOWN, STATES_OFF, HEAD_WIDTH.
  std::vector<float> score(const Head& head, RaceId race, const std::vector<std::int32_t>& ids) const;
  std::vector<float> states(RaceId race, const std::vector<std::int32_t>& ids) const;      // ids x width
  std::vector<float> confidence(RaceId race, const std::vector<std::int32_t>& ids) const;  // ids x kFeatures

  Occupancy occupancy() const;
  ContextSizes sizes() const;  // what llama.cpp has allocated for it
  // Throws INTEGRITY when free + used != total for streams or cells, the streams in use are not 0..k-1, or
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
