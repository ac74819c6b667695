#include "ranker.h"

#include <llama.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include "batch.h"
#include "context.h"
#include "deadline.h"
#include "error.h"
#include "host_memory.h"
#include "rank_head.h"
#include "request.h"

namespace winnow {
namespace {

using Clock = Batch::Clock;

// Logits and states that llama.cpp keeps room for.
std::uint64_t output_bytes(const ModelFacts& facts, int rows) {
  return static_cast<std::uint64_t>(rows) *
         (static_cast<std::uint64_t>(facts.vocabulary) + static_cast<std::uint64_t>(facts.width)) * sizeof(float);
}

void add_token(std::vector<Token>& to, Token token) {
  if (token >= 0) to.push_back(token);
}

PairFrame frame_of(const llama_vocab* vocab) {
  const Token bos = llama_vocab_bos(vocab), sep = llama_vocab_sep(vocab);
  PairFrame frame;
  if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_WPM) {
    // Whatever the flags say: BERT was trained on nothing else, and converters disagree about what they stand for.
    add_token(frame.before, bos);
    add_token(frame.between, sep);
    add_token(frame.after, sep);
    return frame;
  }
  const Token end = llama_vocab_eos(vocab) >= 0 ? llama_vocab_eos(vocab) : sep;
  if (llama_vocab_get_add_bos(vocab)) add_token(frame.before, bos);
  if (llama_vocab_get_add_eos(vocab)) add_token(frame.between, end);
  if (llama_vocab_get_add_sep(vocab)) add_token(frame.between, sep);
  if (llama_vocab_get_add_eos(vocab)) add_token(frame.after, end);
  return frame;
}

void check_request(const RankRequest& request, int vocabulary, int context) {
  const std::vector<std::int32_t>& offsets = request.offsets;
  if (offsets.empty() || offsets.front() != 0 || !std::is_sorted(offsets.begin(), offsets.end()) ||
      static_cast<std::size_t>(offsets.back()) != request.tokens.size()) {
    throw EngineError("OPTION_INVALID", "Expected offsets that rise from 0 to the " +
                                            std::to_string(request.tokens.size()) + " tokens but received others");
  }
  check_tokens("token ids", request.tokens, vocabulary);
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    const std::int32_t length = offsets[i] - offsets[i - 1];
    if (length >= 1 && length <= context) continue;
    throw EngineError(length < 1 ? "OPTION_INVALID" : "CONTEXT_TOO_LONG",
                      "Expected 1 to " + std::to_string(context) + " tokens in sequence " + std::to_string(i - 1) +
                          " but received " + std::to_string(length));
  }
}

}  // namespace

struct Ranker::State {
  int context_tokens = 0, rows = 0, sequences = 0;
  PairFrame frame;
  std::unique_ptr<Batch> batch;

  struct Filled {
    std::size_t next;  // the first sequence that is not in the batch
    int rows;
  };
  Filled fill(const RankRequest& request, std::size_t from);
  bool encode(int count, std::size_t texts, std::vector<float>& scores);
};

// The batch of as many sequences from `from` on as fit.
Ranker::State::Filled Ranker::State::fill(const RankRequest& request, std::size_t from) {
  int row = 0;
  std::size_t next = from;
  for (; next + 1 < request.offsets.size() && next - from < static_cast<std::size_t>(sequences); ++next) {
    const std::int32_t first = request.offsets[next], last = request.offsets[next + 1];
    if (row + last - first > rows) break;
    const int sequence = static_cast<int>(next - from);
    for (std::int32_t i = first; i < last; ++i)
      batch->set_row(row++, request.tokens[static_cast<std::size_t>(i)], i - first, sequence, true);
  }
  return {next, row};
}

// Appends the scores of the first `texts` sequences. False when the interrupt cut it short. Any failure throws, and
// ends this ranker.
bool Ranker::State::encode(int count, std::size_t texts, std::vector<float>& scores) {
  const RankHead& rank = *batch->model()->facts().rank;
  return batch->compute(count, "encode", [&](llama_context* context, const llama_batch& rows_of) {
    const int code = llama_encode(context, rows_of);
    for (std::size_t i = 0; code == 0 && i < texts; ++i) {
      const float* const outputs = llama_get_embeddings_seq(context, static_cast<int>(i));
      if (outputs == nullptr) throw std::runtime_error("no output of the rank head for a sequence");
      scores.push_back(rank.no < 0 ? outputs[rank.yes] : outputs[rank.yes] - outputs[rank.no]);
    }
    return code;
  });
}

Ranker::Ranker() = default;
Ranker::~Ranker() { state_.reset(); }  // before abort_, which an encode reads

std::unique_ptr<Ranker> Ranker::create(std::shared_ptr<Model> model, const RankerParams& params) {
  if (!model) throw EngineError("OPTION_INVALID", "Expected a model for the ranker but received none");
  const ModelFacts& facts = model->facts();
  if (facts.rank == nullptr || !facts.rank->encoder || !model->has_weights()) {
    throw EngineError("MODEL_UNSUPPORTED", "Expected an encoder opened as a ranker but received '" + facts.path +
                                               "' of architecture '" + facts.architecture + "'");
  }
  if (!facts.has_tokenizer)
    throw EngineError("NO_TOKENIZER",
                      "Expected a model with a tokenizer but received '" + facts.path + "', which has none");
  if (params.context < 1)
    throw EngineError("OPTION_INVALID",
                      "Expected 1 or more for context but received " + std::to_string(params.context));
  if (params.context > facts.context_train) {
    throw EngineError("CONTEXT_TOO_LONG", "Expected at most " + std::to_string(facts.context_train) +
                                              " tokens, the model's trained context, but received " +
                                              std::to_string(params.context));
  }
  if (params.context > kMaxBatch) {
    throw EngineError("OPTION_INVALID", "Expected at most " + std::to_string(kMaxBatch) + " for context but received " +
                                            std::to_string(params.context));
  }
  PoolParams pool;
  pool.streams = 1;
  pool.cells_per_stream = params.context;
  pool.threads = params.threads;
  // A batch that is refused stays what it was.
  pool.batch = params.batch < 1 ? params.batch : std::max(params.batch, params.context);
  pool.flash_attention = params.flash_attention;
  pool = resolve_params(pool, facts);

  std::unique_ptr<Ranker> ranker(new Ranker());
  ranker->state_ = std::make_unique<State>();
  State& state = *ranker->state_;
  state.context_tokens = params.context;
  state.rows = pool.batch;
  state.sequences = std::min(kMaxStreams, state.rows);
  state.frame = frame_of(model->vocab());
  for (const std::vector<Token>* part : {&state.frame.before, &state.frame.between, &state.frame.after})
    check_tokens("special tokens", *part, facts.vocabulary);

  // The mask of a batch, and the scores of every head where flash attention does not spare them.
  const std::uint64_t pairs = static_cast<std::uint64_t>(state.rows) * static_cast<std::uint64_t>(state.rows);
  const std::uint64_t heads = pool.flash_attention == "on" ? 0 : static_cast<std::uint64_t>(std::max(facts.heads, 1));
  const std::uint64_t bytes = output_bytes(facts, state.rows) + pairs * sizeof(float) * (1 + heads);
  const std::uint64_t available = host_memory_available();
  if (available > 0 && bytes > available) {
    throw EngineError("OUT_OF_MEMORY", "Expected a batch that fits in the free memory but received one of " +
                                           std::to_string(state.rows) + " rows, " + std::to_string(bytes) + " bytes");
  }
  llama_context_params options = context_params(pool, 0);
  options.n_ctx = options.n_batch = options.n_ubatch = options.n_outputs_max = static_cast<std::uint32_t>(state.rows);
  options.n_seq_max = static_cast<std::uint32_t>(state.sequences);
  options.kv_unified = true;  // there are no cells; n_ctx is not to be divided by the sequences
  options.embeddings = true;
  options.pooling_type = LLAMA_POOLING_TYPE_RANK;
  options.attention_type = LLAMA_ATTENTION_TYPE_NON_CAUSAL;
  state.batch = std::make_unique<Batch>(model, options, pool.threads, ranker->abort_);
  state.batch->resize(state.rows);
  return ranker;
}

RankScores Ranker::score(const RankRequest& request, double deadline_seconds) {
  State& state = *state_;
  if (state.batch->dead()) {
    throw EngineError("POOL_DEAD",
                      "Expected a usable ranker but received one that failed earlier; close it and open another");
  }
  const Clock::time_point start = Clock::now();
  const Clock::time_point deadline = deadline_in(deadline_seconds);
  check_request(request, state.batch->model()->facts().vocabulary, state.context_tokens);

  RankScores result;
  state.batch->arm(deadline);
  const std::size_t count = request.offsets.size() - 1;
  for (std::size_t from = 0; from < count;) {
    const auto [next, rows] = state.fill(request, from);
    if (state.batch->due() || !state.encode(rows, next - from, result.scores)) {
      result.reason = abort_.load(std::memory_order_relaxed) ? AdvanceReason::aborted : AdvanceReason::deadline;
      result.scores.clear();
      break;
    }
    ++result.batches;
    result.decoded += rows;
    from = next;
  }
  state.batch->disarm();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

const PairFrame& Ranker::frame() const { return state_->frame; }

int Ranker::context() const { return state_->context_tokens; }

Occupancy Ranker::occupancy() const {
  Occupancy occupancy;
  occupancy.kv_bytes = output_bytes(state_->batch->model()->facts(), state_->rows);
  return occupancy;
}

}  // namespace winnow
