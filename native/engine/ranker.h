// Ranker: an encoder that reads a query and a document together (a cross-encoder) and gives them one number through its
// rank head. Sequences of tokens are packed into batches; whatever stands beside one in a batch, it sees itself alone.
//
// An encoder attends in both directions, so a text that grew is read again from its first token: nothing is kept
// between calls. Decoders with a rank head are read on a Mirror instead, where each token is decoded once.
//
// llama.cpp asserts that an encoder's batch is one ubatch, and rank pooling takes the first token of a sequence *in its
// ubatch* for its first: no sequence may be split. Positions beyond the learned ones end the process on a compute
// thread. Hence rows for a whole sequence of the longest kind, and lengths checked before anything is decoded.
//
// Not thread-safe, one call at a time, except request_abort(). A ranker that threw NATIVE_ASSERT or DECODE_FAILED is
// dead: every later call throws POOL_DEAD, and only destruction remains.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model.h"
#include "pool.h"

namespace winnow {

struct RankerParams {
  int context = 512;  // most tokens of a sequence; at most what the model was trained for
  int batch = 512;    // rows of a batch, raised to `context`; llama.cpp keeps a row of logits for each, unused
  int threads = 0;    // 0: as many as the machine has
  std::string flash_attention = "auto";  // "auto" | "on" | "off"
};

// The tokens around a query and a document, in the order before, query, between, document, after.
struct PairFrame {
  std::vector<Token> before, between, after;
};

struct RankRequest {
  std::vector<Token> tokens;          // sequence i is tokens[offsets[i]..offsets[i + 1])
  std::vector<std::int32_t> offsets;  // one more than sequences
};

struct RankScores {
  AdvanceReason reason = AdvanceReason::reached;  // reached | deadline | aborted
  // One for each sequence; empty unless reached. The raw output of the head's one label, or that of yes less that of
  // no; of Jina BERT v2 its hyperbolic tangent.
  std::vector<float> scores;
  std::int64_t decoded = 0;  // rows, those of a batch cut short not
  int batches = 0;           // how often the weights were read
  double seconds = 0;
};

class Ranker {
 public:
  // The model must be an encoder opened as a ranker. Throws MODEL_UNSUPPORTED, OPTION_INVALID, CONTEXT_TOO_LONG,
  // OUT_OF_MEMORY, NO_TOKENIZER.
  static std::unique_ptr<Ranker> create(std::shared_ptr<Model> model, const RankerParams& params);
  ~Ranker();
  Ranker(const Ranker&) = delete;
  Ranker& operator=(const Ranker&) = delete;

  // Any number of sequences of 1 to context() tokens. Throws, before anything is decoded, OPTION_INVALID,
  // TOKEN_INVALID, CONTEXT_TOO_LONG.
  RankScores score(const RankRequest& request, double deadline_seconds = 0);

  // [CLS] query [SEP] document [SEP] for WordPiece vocabularies, <s> query </s></s> document </s> for RoBERTa's; as
  // the vocabulary says for others. Both segments are of the first kind: llama.cpp knows no second.
  const PairFrame& frame() const;
  int context() const;
  // Only kv_bytes means something: memory that grows with the rows. An encoder has no cells.
  Occupancy occupancy() const;

  void request_abort() noexcept { abort_.store(true, std::memory_order_relaxed); }
  void clear_abort() noexcept { abort_.store(false, std::memory_order_relaxed); }

 private:
  Ranker();
  struct State;
  std::unique_ptr<State> state_;
  std::atomic<bool> abort_{false};
};

}  // namespace winnow
