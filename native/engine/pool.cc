#include "pool.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <llama.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "backend.h"
#include "error.h"
#include "philox.h"
#include "workers.h"

#if !defined(NDEBUG) || defined(WINNOW_CHECKS)
#define WINNOW_CHECK_INTEGRITY() check_integrity()
#else
#define WINNOW_CHECK_INTEGRITY() static_cast<void>(0)
#endif

namespace winnow {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMaxThreads = 512;  // ggml's GGML_MAX_N_THREADS
constexpr int kMaxBatch = 1 << 16;
constexpr std::int64_t kWorthSharing = 1 << 18;  // logits; below it waking a thread costs more than it saves

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Moment at which a call must stop; Clock::time_point::max() for none.
Clock::time_point deadline_after(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) {
    throw EngineError("OPTION_INVALID",
                      "Expected 0 seconds or more for deadline but received " + std::to_string(seconds));
  }
  if (seconds == 0 || seconds > 1e8) return Clock::time_point::max();
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

struct FreeContext {
  void operator()(llama_context* context) const { llama_free(context); }
};

struct Branch {
  std::int32_t id = 0;
  BranchStatus status = BranchStatus::live;
  int stream = -1;  // -1 once it ended: its cells are free
  int length = 0;   // cells it holds (or held): prompt and decoded tokens
  int generated = 0;
  int row = 0;   // its row in the logits and states of the last decode, while it is live
  Sampled next;  // sampled, not yet decoded
  Confidence confidence;
  std::vector<float> state;  // copied when it ends; the rows themselves last until the next decode
  // Taken in the current call of advance().
  std::vector<Token> tokens;
  std::vector<float> logprobs, entropies;
  bool touched = false;
};

// 64-bit FNV-1a (Fowler, Noll, Vo) over the tokens' bytes, little endian: the prompt's part in every draw.
std::uint64_t hash_prompt(const std::vector<Token>& prompt) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const Token token : prompt) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash ^= (static_cast<std::uint32_t>(token) >> shift) & 0xFFu;
      hash *= 0x100000001B3u;
    }
  }
  return hash;
}

ggml_type kv_type(const std::string& name) {
  if (name == "f32") return GGML_TYPE_F32;
  if (name == "f16") return GGML_TYPE_F16;
  if (name == "q8_0") return GGML_TYPE_Q8_0;
  if (name == "q4_0") return GGML_TYPE_Q4_0;
  throw EngineError("OPTION_INVALID", "Expected f32, f16, q8_0 or q4_0 for KV type but received '" + name + "'");
}

llama_flash_attn_type flash_type(const std::string& name) {
  if (name == "auto") return LLAMA_FLASH_ATTN_TYPE_AUTO;
  if (name == "on") return LLAMA_FLASH_ATTN_TYPE_ENABLED;
  if (name == "off") return LLAMA_FLASH_ATTN_TYPE_DISABLED;
  throw EngineError("OPTION_INVALID", "Expected auto, on or off for flash attention but received '" + name + "'");
}

void check_range(const char* name, int value, int least, int most) {
  if (value < least || value > most) {
    throw EngineError("OPTION_INVALID", "Expected " + std::to_string(least) + " to " + std::to_string(most) + " for " +
                                            name + " but received " + std::to_string(value));
  }
}

int meta_number(const llama_model* model, const std::string& key, int otherwise) {
  char text[64] = {};
  if (llama_model_meta_val_str(model, key.c_str(), text, sizeof text) < 0) return otherwise;
  const int value = std::atoi(text);
  return value > 0 ? value : otherwise;
}

// Bytes of keys and values of one cell over all layers, taking all layers alike.
std::uint64_t cell_bytes(const Model& model, ggml_type type) {
  const ModelFacts& facts = model.facts();
  const int heads = std::max(facts.heads, 1), heads_kv = std::max(facts.heads_kv, 1);
  const int head = std::max(facts.width / heads, 1);
  const std::string prefix = facts.architecture + ".attention.";
  std::uint64_t bytes = 0;
  for (const char* part : {"key_length", "value_length"}) {
    const std::int64_t row = static_cast<std::int64_t>(meta_number(model.raw(), prefix + part, head)) * heads_kv;
    const std::int64_t block = ggml_blck_size(type);
    if (row % block != 0) {
      throw EngineError("OPTION_INVALID", "Expected a KV type whose block of " + std::to_string(block) +
                                              " divides the model's key and value width of " + std::to_string(row) +
                                              " but received " + ggml_type_name(type));
    }
    bytes += ggml_row_size(type, row);
  }
  return bytes * static_cast<std::uint64_t>(facts.layers);
}

std::uint64_t total_memory() {
  std::uint64_t most = 0;
  for (const Device& device : devices()) most = std::max(most, device.memory_total);
  return most;
}

void check_sampling(const Sampling& sampling) {
  const auto invalid = [](const std::string& expected, double received) {
    throw EngineError("OPTION_INVALID", "Expected " + expected + " but received " + std::to_string(received));
  };
  if (!std::isfinite(sampling.temperature) || sampling.temperature < 0)
    invalid("0 or more for temperature", static_cast<double>(sampling.temperature));
  if (sampling.top_k < 0) invalid("0 or more for top-k", sampling.top_k);
  if (!(sampling.top_p > 0 && sampling.top_p <= 1))
    invalid("more than 0 and at most 1 for top-p", static_cast<double>(sampling.top_p));
  if (!(sampling.min_p >= 0 && sampling.min_p <= 1)) invalid("0 to 1 for min-p", static_cast<double>(sampling.min_p));
}

// Whether a prefill in flight must stop; read by llama.cpp between the nodes of a CPU graph.
struct Interrupt {
  const std::atomic<bool>* abort = nullptr;
  Clock::time_point deadline = Clock::time_point::max();
  bool armed = false;  // only while the prompt is decoded: a step cut short could not be told from one not begun

  bool due() const { return abort->load(std::memory_order_relaxed) || Clock::now() >= deadline; }
};

bool on_interrupt(void* data) {
  const Interrupt* interrupt = static_cast<const Interrupt*>(data);
  return interrupt->armed && interrupt->due();
}

}  // namespace

struct Pool::State {
  std::shared_ptr<Model> model;  // outlives the context
  PoolParams params;             // as resolved
  std::unique_ptr<llama_context, FreeContext> context;
  llama_memory_t memory = nullptr;
  Interrupt interrupt;
  std::unique_ptr<Workers> workers;
  std::vector<SamplerScratch> scratch;  // one for each worker

  int width = 0;
  int vocabulary = 0;
  int limit = 0;       // tokens a branch may hold
  int batch_rows = 0;  // prompt tokens per decode
  int ghost_rows = 1;  // fewest rows of a decode step
  std::uint64_t kv_bytes = 0;

  // The batch, filled anew for each decode.
  std::vector<Token> batch_token;
  std::vector<llama_pos> batch_pos;
  std::vector<std::int32_t> batch_counts;
  std::vector<llama_seq_id> batch_seq;
  std::vector<llama_seq_id*> batch_seqs;
  std::vector<std::int8_t> batch_output;

  // Rows of the last decode; llama.cpp owns them until the next.
  const float* logits = nullptr;
  const float* states = nullptr;

  bool dead = false;
  bool prefilled = false;
  bool forked = false;
  int prompt_length = 0;
  std::uint64_t prompt_hash = 0;
  ForkParams fork;
  std::vector<Branch> branches;  // by id - fork.first_candidate
  std::vector<int> branch_at;    // stream -> index in branches, for streams 0..live-1
  int live = 0;

  // Kept beside llama.cpp's own positions, and compared with them by check_integrity().
  int streams_used = 0;
  std::int64_t cells_used = 0;
  std::int64_t cells_peak = 0;

  void require_usable() const {
    if (dead)
      throw EngineError("POOL_DEAD",
                        "Expected a usable pool but received one that failed earlier; close it and open another");
  }

  // 0, or 2 when the interrupt cut it short. Everything else ends the pool.
  int decode(int rows) {
    const AssertGuard guard;
    clear_last_log();
    llama_batch batch{};
    batch.n_tokens = rows;
    batch.token = batch_token.data();
    batch.pos = batch_pos.data();
    batch.n_seq_id = batch_counts.data();
    batch.seq_id = batch_seqs.data();
    batch.logits = batch_output.data();
    std::string reason;
    try {
      const int code = llama_decode(context.get(), batch);
      if (code == 2) return code;
      if (code == 0) {
        llama_synchronize(context.get());
        logits = llama_get_logits(context.get());
        states = params.states ? llama_get_embeddings(context.get()) : nullptr;
        return 0;
      }
      reason = "code " + std::to_string(code) + ". " + last_log();
    } catch (const EngineError&) {
      dead = true;
      throw;
    } catch (const std::exception& error) {
      reason = error.what();
    }
    dead = true;
    throw EngineError("DECODE_FAILED",
                      "Expected llama.cpp to decode " + std::to_string(rows) + " rows but received " + reason);
  }

  void set_row(int row, Token token, int position, int stream, bool output) {
    const std::size_t at = static_cast<std::size_t>(row);
    batch_token[at] = token;
    batch_pos[at] = position;
    batch_seq[at] = stream;
    batch_output[at] = output ? 1 : 0;
  }

  void free_cells(int stream) { llama_memory_seq_rm(memory, stream, -1, -1); }

  // Forgets the prompt and all branches. Copies that llama.cpp still has to make go into cells that are empty.
  void reset() {
    const AssertGuard guard;
    llama_memory_clear(memory, false);
    logits = states = nullptr;
    prefilled = forked = false;
    prompt_length = live = streams_used = 0;
    cells_used = cells_peak = 0;
    branches.clear();
    std::fill(branch_at.begin(), branch_at.end(), -1);
  }

  Branch& find(std::int32_t id) {
    const std::int64_t index = static_cast<std::int64_t>(id) - static_cast<std::int64_t>(fork.first_candidate);
    if (!forked || index < 0 || index >= static_cast<std::int64_t>(branches.size())) {
      throw EngineError("BRANCH_UNKNOWN",
                        "Expected the id of a branch of this prompt but received " + std::to_string(id));
    }
    return branches[static_cast<std::size_t>(index)];
  }

  const float* state_of(const Branch& branch) const {
    if (branch.stream < 0) return branch.state.data();
    return states + static_cast<std::size_t>(branch.row) * static_cast<std::size_t>(width);
  }

  // Frees the cells of every branch that is no longer live and moves the tail into the holes, so that live
  // branches fill streams 0..live-1 again: one whole-stream copy for each hole below them.
  void retire() {
    const AssertGuard guard;
    std::vector<int> holes;
    const int before = live;
    for (int stream = 0; stream < before; ++stream) {
      Branch& branch = branches[static_cast<std::size_t>(branch_at[static_cast<std::size_t>(stream)])];
      if (branch.status == BranchStatus::live) continue;
      if (params.states) {
        const float* row = state_of(branch);
        branch.state.assign(row, row + width);
      }
      free_cells(stream);
      cells_used -= branch.length;
      --streams_used;
      --live;
      branch.stream = -1;
      branch_at[static_cast<std::size_t>(stream)] = -1;
      holes.push_back(stream);
    }
    std::size_t hole = 0;
    for (int stream = live; stream < before; ++stream) {
      const int index = branch_at[static_cast<std::size_t>(stream)];
      if (index < 0) continue;
      const int target = holes[hole++];  // below `live`: there are as many holes there as branches beyond
      llama_memory_seq_cp(memory, stream, target, -1, -1);
      free_cells(stream);
      branches[static_cast<std::size_t>(index)].stream = target;
      branch_at[static_cast<std::size_t>(target)] = index;
      branch_at[static_cast<std::size_t>(stream)] = -1;
    }
  }

  // A pure function of the logits and (seed, prompt, candidate, position): sampling twice gives the same.
  void sample_live() {
    const auto job = [this](int stream, int worker) {
      Branch& branch = branches[static_cast<std::size_t>(branch_at[static_cast<std::size_t>(stream)])];
      const double uniform = draw(fork.seed, prompt_hash, static_cast<std::uint32_t>(branch.id),
                                  static_cast<std::uint32_t>(branch.generated));
      branch.next = sample(logits + static_cast<std::size_t>(branch.row) * static_cast<std::size_t>(vocabulary),
                           vocabulary, fork.sampling, uniform, scratch[static_cast<std::size_t>(worker)]);
    };
    if (static_cast<std::int64_t>(live) * vocabulary < kWorthSharing) {
      for (int stream = 0; stream < live; ++stream) job(stream, 0);
    } else {
      workers->run(live, job);
    }
  }

  // Ends the branches that sampled an end or stop token.
  void settle_sampled() {
    bool any = false;
    for (int stream = 0; stream < live; ++stream) {
      Branch& branch = branches[static_cast<std::size_t>(branch_at[static_cast<std::size_t>(stream)])];
      if (model->is_end(branch.next.token))
        branch.status = BranchStatus::end;
      else if (std::find(fork.stop_tokens.begin(), fork.stop_tokens.end(), branch.next.token) != fork.stop_tokens.end())
        branch.status = BranchStatus::stop;
      else
        continue;
      branch.touched = any = true;
    }
    if (any) retire();
  }

  bool streams_full() const { return live > 0 && branches[static_cast<std::size_t>(branch_at[0])].length >= limit; }

  // Decodes the sampled token of every live branch as one batch; returns the rows decoded.
  int decode_step() {
    const int rows = std::max(live, ghost_rows);
    for (int stream = 0; stream < live; ++stream) {
      const Branch& branch = branches[static_cast<std::size_t>(branch_at[static_cast<std::size_t>(stream)])];
      set_row(stream, branch.next.token, branch.length, stream, true);
    }
    // Ghosts hold a cell only during the decode; they are no part of the accounts.
    for (int stream = live; stream < rows; ++stream) set_row(stream, batch_token[0], 0, stream, true);
    decode(rows);
    const AssertGuard guard;
    for (int stream = live; stream < rows; ++stream) free_cells(stream);

    cells_used += live;
    cells_peak = std::max(cells_peak, cells_used);
    bool any = false;
    for (int stream = 0; stream < live; ++stream) {
      Branch& branch = branches[static_cast<std::size_t>(branch_at[static_cast<std::size_t>(stream)])];
      branch.row = stream;
      ++branch.length;
      ++branch.generated;
      branch.confidence.add(branch.next.logprob, branch.next.entropy);
      branch.tokens.push_back(branch.next.token);
      branch.logprobs.push_back(branch.next.logprob);
      branch.entropies.push_back(branch.next.entropy);
      branch.touched = true;
      if (branch.generated >= fork.max_tokens) {
        branch.status = BranchStatus::length;
        any = true;
      }
    }
    if (any) retire();
    return rows;
  }
};

Pool::Pool() : state_(std::make_unique<State>()) {}
Pool::~Pool() = default;

std::unique_ptr<Pool> Pool::create(std::shared_ptr<Model> model, const PoolParams& requested) {
  if (!model) throw EngineError("OPTION_INVALID", "Expected a model for the pool but received none");
  const ModelFacts& facts = model->facts();
  check_range("streams", requested.streams, 1, kMaxStreams);
  check_range("threads", requested.threads, 0, kMaxThreads);
  check_range("batch", requested.batch, 1, kMaxBatch);
  if (requested.cells_per_stream < 1) {
    throw EngineError("OPTION_INVALID", "Expected 1 or more for cells per stream but received " +
                                            std::to_string(requested.cells_per_stream));
  }
  if (requested.cells_per_stream > facts.context_train) {
    throw EngineError("CONTEXT_TOO_LONG", "Expected at most " + std::to_string(facts.context_train) +
                                              " cells per stream, the model's trained context, but received " +
                                              std::to_string(requested.cells_per_stream));
  }
  std::unique_ptr<Pool> pool(new Pool());
  State& state = *pool->state_;
  state.model = model;
  state.params = requested;
  PoolParams& params = state.params;
  params.cells_per_stream = (requested.cells_per_stream + kCellBlock - 1) / kCellBlock * kCellBlock;
  if (params.threads == 0)
    params.threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);

  state.ghost_rows = params.deterministic ? 2 : 1;
  const int streams = std::max(params.streams, state.ghost_rows);
  const std::uint64_t cells = static_cast<std::uint64_t>(streams) * static_cast<std::uint64_t>(params.cells_per_stream);
  const ggml_type type = kv_type(params.kv_type);
  const llama_flash_attn_type flash = flash_type(params.flash_attention);
  if (flash == LLAMA_FLASH_ATTN_TYPE_DISABLED && ggml_is_quantized(type)) {
    throw EngineError("OPTION_INVALID", "Expected flash attention for KV type " + params.kv_type + " but received off");
  }
  state.kv_bytes = cells * cell_bytes(*model, type);
  if (cells > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max()) || state.kv_bytes > total_memory()) {
    throw EngineError("OUT_OF_MEMORY", "Expected a cache that fits in memory but received " + std::to_string(streams) +
                                           " streams of " + std::to_string(params.cells_per_stream) + " cells, " +
                                           std::to_string(state.kv_bytes) + " bytes");
  }

  llama_context_params options = llama_context_default_params();
  options.n_ctx = static_cast<std::uint32_t>(cells);
  options.n_seq_max = static_cast<std::uint32_t>(streams);
  // One ubatch as large as the batch, so that a decode step is never split and every weight is read once.
  options.n_batch = static_cast<std::uint32_t>(std::max(streams, params.batch));
  options.n_ubatch = options.n_batch;
  options.n_outputs_max = static_cast<std::uint32_t>(streams);
  options.n_threads = options.n_threads_batch = params.threads;
  options.pooling_type = LLAMA_POOLING_TYPE_NONE;
  options.flash_attn_type = flash;
  options.type_k = options.type_v = type;
  options.kv_unified = false;
  options.embeddings = params.states;
  options.abort_callback = on_interrupt;
  options.abort_callback_data = &state.interrupt;
  state.interrupt.abort = &pool->abort_;
  {
    const AssertGuard guard;
    clear_last_log();
    try {
      state.context.reset(llama_init_from_model(model->raw(), options));
    } catch (const EngineError&) {
      throw;
    } catch (const std::exception& error) {
      throw EngineError("OUT_OF_MEMORY", std::string("Expected a llama.cpp context but received: ") + error.what());
    }
  }
  if (!state.context) {
    const std::string words = last_log();
    const bool memory = words.find("alloc") != std::string::npos || words.find("memory") != std::string::npos;
    throw EngineError(memory ? "OUT_OF_MEMORY" : "OPTION_INVALID",
                      "Expected a llama.cpp context of " + std::to_string(streams) + " x " +
                          std::to_string(params.cells_per_stream) + " cells but received none: " + words);
  }
  state.memory = llama_get_memory(state.context.get());
  if (state.memory == nullptr) {
    throw EngineError("MODEL_UNSUPPORTED",
                      "Expected a decoder with a KV cache but received architecture '" + facts.architecture + "'");
  }
  if (static_cast<int>(llama_n_ctx_seq(state.context.get())) != params.cells_per_stream) {
    throw EngineError("INTEGRITY", "Expected " + std::to_string(params.cells_per_stream) +
                                       " cells per stream but llama.cpp made " +
                                       std::to_string(llama_n_ctx_seq(state.context.get())));
  }
  state.width = facts.width;
  state.vocabulary = facts.vocabulary;
  // Rounding up to a block never extends a branch beyond what the model was trained on.
  state.limit = std::min(params.cells_per_stream, facts.context_train);
  state.batch_rows = std::min(params.batch, static_cast<int>(llama_n_batch(state.context.get())));

  const std::size_t rows = static_cast<std::size_t>(std::max(streams, state.batch_rows));
  state.batch_token.resize(rows);
  state.batch_pos.resize(rows);
  state.batch_counts.assign(rows, 1);
  state.batch_seq.resize(rows);
  state.batch_output.resize(rows);
  for (llama_seq_id& each : state.batch_seq) state.batch_seqs.push_back(&each);
  state.branch_at.assign(static_cast<std::size_t>(streams), -1);
  state.workers = std::make_unique<Workers>(params.threads);
  state.scratch.resize(static_cast<std::size_t>(params.threads));
  return pool;
}

Prefill Pool::prefill(const std::vector<Token>& prompt, double deadline_seconds) {
  State& state = *state_;
  state.require_usable();
  const Clock::time_point start = Clock::now();
  const Clock::time_point deadline = deadline_after(deadline_seconds);
  if (prompt.empty()) throw EngineError("PROMPT_EMPTY", "Expected a prompt of at least one token but received none");
  if (prompt.size() >= static_cast<std::size_t>(state.limit)) {
    throw EngineError("PROMPT_TOO_LONG", "Expected a prompt of at most " + std::to_string(state.limit - 1) +
                                             " tokens, which leaves room for one more, but received " +
                                             std::to_string(prompt.size()));
  }
  for (const Token token : prompt) {
    if (token < 0 || token >= state.vocabulary) {
      throw EngineError("TOKEN_INVALID", "Expected token ids from 0 to " + std::to_string(state.vocabulary - 1) +
                                             " but received " + std::to_string(token));
    }
  }
  state.reset();
  state.interrupt.deadline = deadline;
  state.interrupt.armed = true;
  const int length = static_cast<int>(prompt.size());
  Prefill result;
  // All but the last token in chunks without outputs; the last one alone, so that its logits and state do not
  // depend on how the prompt was cut, nor on whether states are kept.
  if (state.params.states) llama_set_embeddings(state.context.get(), false);
  bool stopped = false;
  for (int done = 0; done < length && !stopped;) {
    const bool last = done == length - 1;
    const int rows = last ? 1 : std::min(state.batch_rows, length - 1 - done);
    for (int row = 0; row < rows; ++row)
      state.set_row(row, prompt[static_cast<std::size_t>(done + row)], done + row, 0, last);
    if (last && state.params.states) llama_set_embeddings(state.context.get(), true);
    stopped = state.interrupt.due();
    if (!stopped) stopped = state.decode(rows) == 2;
    if (!stopped) done += rows;
  }
  state.interrupt.armed = false;
  result.seconds = seconds_since(start);
  if (stopped) {
    // A prompt that is half there is of no use, and what a cut decode left behind need not be known.
    if (state.params.states) llama_set_embeddings(state.context.get(), true);
    state.reset();
    result.reason = abort_.load(std::memory_order_relaxed) ? AdvanceReason::aborted : AdvanceReason::deadline;
    WINNOW_CHECK_INTEGRITY();
    return result;
  }
  state.prefilled = true;
  state.prompt_length = length;
  state.prompt_hash = hash_prompt(prompt);
  state.streams_used = 1;
  state.cells_used = state.cells_peak = length;
  result.tokens = length;
  WINNOW_CHECK_INTEGRITY();
  return result;
}

void Pool::fork(const ForkParams& params) {
  State& state = *state_;
  state.require_usable();
  if (!state.prefilled || state.forked) {
    throw EngineError("NOT_PREFILLED", std::string("Expected a prefill before each fork but received ") +
                                           (state.forked ? "a second fork" : "none"));
  }
  if (params.count < 1)
    throw EngineError("OPTION_INVALID", "Expected 1 or more for count but received " + std::to_string(params.count));
  if (params.count > state.params.streams) {
    throw EngineError("STREAMS_FULL", "Expected at most " + std::to_string(state.params.streams) +
                                          " branches, one for each stream, but received " +
                                          std::to_string(params.count));
  }
  if (params.max_tokens < 1)
    throw EngineError("OPTION_INVALID",
                      "Expected 1 or more for max tokens but received " + std::to_string(params.max_tokens));
  if (static_cast<std::int64_t>(params.first_candidate) + params.count > std::numeric_limits<std::int32_t>::max()) {
    throw EngineError("OPTION_INVALID",
                      "Expected candidate ids below 2^31 but received " + std::to_string(params.first_candidate));
  }
  check_sampling(params.sampling);
  for (const Token token : params.stop_tokens) {
    if (token < 0 || token >= state.vocabulary) {
      throw EngineError("TOKEN_INVALID", "Expected stop tokens from 0 to " + std::to_string(state.vocabulary - 1) +
                                             " but received " + std::to_string(token));
    }
  }
  const AssertGuard guard;
  state.fork = params;
  state.forked = true;
  for (int i = 0; i < params.count; ++i) {
    Branch branch;
    branch.id = static_cast<std::int32_t>(params.first_candidate) + i;
    branch.stream = i;
    branch.length = state.prompt_length;
    state.branches.push_back(std::move(branch));
    state.branch_at[static_cast<std::size_t>(i)] = i;
    if (i > 0) llama_memory_seq_cp(state.memory, 0, i, -1, -1);
  }
  state.live = state.streams_used = params.count;
  state.cells_used = static_cast<std::int64_t>(params.count) * state.prompt_length;
  state.cells_peak = std::max(state.cells_peak, state.cells_used);
  WINNOW_CHECK_INTEGRITY();
}

Advance Pool::advance(int steps, double deadline_seconds) {
  State& state = *state_;
  state.require_usable();
  const Clock::time_point deadline = deadline_after(deadline_seconds);
  if (steps < 1)
    throw EngineError("OPTION_INVALID", "Expected 1 or more for steps but received " + std::to_string(steps));
  if (!state.forked)
    throw EngineError("NOT_PREFILLED", "Expected a prefill and a fork before advance but received none");
  for (Branch& branch : state.branches) {
    branch.touched = false;
    branch.tokens.clear();
    branch.logprobs.clear();
    branch.entropies.clear();
  }
  Advance result;
  while (result.steps < steps && state.live > 0) {
    if (abort_.load(std::memory_order_relaxed)) {
      result.reason = AdvanceReason::aborted;
      break;
    }
    if (Clock::now() >= deadline) {
      result.reason = AdvanceReason::deadline;
      break;
    }
    const Clock::time_point sampling = Clock::now();
    state.sample_live();
    state.settle_sampled();  // an end token needs no cell, so branches can end even when the streams are full
    const Clock::time_point decoding = Clock::now();
    result.sample_seconds += std::chrono::duration<double>(decoding - sampling).count();
    if (state.live == 0) break;
    if (state.streams_full()) {
      result.reason = AdvanceReason::full;
      break;
    }
    result.decoded += state.decode_step();
    result.decode_seconds += seconds_since(decoding);
    ++result.steps;
  }
  if (state.live == 0) result.reason = AdvanceReason::settled;

  for (const Branch& branch : state.branches) {
    if (!branch.touched) continue;
    result.branches.push_back(branch.id);
    result.counts.push_back(static_cast<std::int32_t>(branch.tokens.size()));
    result.status.push_back(static_cast<std::uint8_t>(branch.status));
    result.tokens.insert(result.tokens.end(), branch.tokens.begin(), branch.tokens.end());
    result.logprobs.insert(result.logprobs.end(), branch.logprobs.begin(), branch.logprobs.end());
    result.entropies.insert(result.entropies.end(), branch.entropies.begin(), branch.entropies.end());
  }
  WINNOW_CHECK_INTEGRITY();
  return result;
}

void Pool::kill(const std::vector<std::int32_t>& ids) {
  State& state = *state_;
  state.require_usable();
  for (const std::int32_t id : ids) state.find(id);  // all or none
  bool any = false;
  for (const std::int32_t id : ids) {
    Branch& branch = state.find(id);
    if (branch.status != BranchStatus::live) continue;
    branch.status = BranchStatus::killed;
    any = true;
  }
  if (any) state.retire();
  WINNOW_CHECK_INTEGRITY();
}

std::vector<float> Pool::states(const std::vector<std::int32_t>& ids) const {
  State& state = *state_;
  state.require_usable();
  if (!state.params.states)
    throw EngineError("STATES_OFF", "Expected a pool that keeps states but received one opened without them");
  std::vector<float> rows;
  rows.reserve(ids.size() * static_cast<std::size_t>(state.width));
  for (const std::int32_t id : ids) {
    const float* row = state.state_of(state.find(id));
    rows.insert(rows.end(), row, row + state.width);
  }
  return rows;
}

std::vector<float> Pool::confidence(const std::vector<std::int32_t>& ids) const {
  State& state = *state_;
  state.require_usable();
  std::vector<float> rows;
  rows.reserve(ids.size() * kFeatures);
  for (const std::int32_t id : ids) {
    const std::array<float, kFeatures> features = state.find(id).confidence.features();
    rows.insert(rows.end(), features.begin(), features.end());
  }
  return rows;
}

std::vector<float> Pool::score(const Head& head, const std::vector<std::int32_t>& ids) const {
  if (head.facts().width != state_->width) {
    throw EngineError("HEAD_WIDTH", "Expected a head of width " + std::to_string(state_->width) +
                                        ", the model's, but received one of width " +
                                        std::to_string(head.facts().width));
  }
  const std::vector<float> rows = states(ids);
  const std::vector<float> features = confidence(ids);
  std::vector<float> scores(ids.size());
  head.apply(rows.data(), features.data(), ids.size(), scores.data());
  return scores;
}

Occupancy Pool::occupancy() const {
  const State& state = *state_;
  Occupancy occupancy;
  occupancy.streams = state.params.streams;
  occupancy.streams_used = state.streams_used;
  occupancy.streams_free = occupancy.streams - occupancy.streams_used;
  occupancy.cells_per_stream = state.params.cells_per_stream;
  occupancy.cells = static_cast<std::int64_t>(occupancy.streams) * occupancy.cells_per_stream;
  occupancy.cells_used = state.cells_used;
  occupancy.cells_free = occupancy.cells - occupancy.cells_used;
  occupancy.cells_peak = state.cells_peak;
  occupancy.live = state.live;
  occupancy.kv_bytes = state.kv_bytes;
  return occupancy;
}

void Pool::check_integrity() const {
  const State& state = *state_;
  const auto expect = [](bool holds, const std::string& what, std::int64_t expected, std::int64_t received) {
    if (!holds)
      throw EngineError("INTEGRITY", "Expected " + std::to_string(expected) + " for " + what + " but received " +
                                         std::to_string(received));
  };
  const AssertGuard guard;
  const int streams = static_cast<int>(state.branch_at.size());
  std::int64_t cells = 0;
  int used = 0;
  for (int stream = 0; stream < streams; ++stream) {
    const int index = state.branch_at[static_cast<std::size_t>(stream)];
    int length = 0;
    if (index >= 0) {
      const Branch& branch = state.branches[static_cast<std::size_t>(index)];
      expect(branch.stream == stream, "the stream of branch " + std::to_string(branch.id), stream, branch.stream);
      expect(branch.status == BranchStatus::live, "the status of branch " + std::to_string(branch.id), 0,
             static_cast<int>(branch.status));
      expect(branch.length == state.prompt_length + branch.generated,
             "the cells of branch " + std::to_string(branch.id), state.prompt_length + branch.generated, branch.length);
      length = branch.length;
    } else if (stream == 0 && state.prefilled && !state.forked) {
      length = state.prompt_length;
    }
    expect((index >= 0) == (stream < state.live), "live branches up to stream " + std::to_string(stream), state.live,
           index);
    const int first = llama_memory_seq_pos_min(state.memory, stream),
              last = llama_memory_seq_pos_max(state.memory, stream);
    expect(last == length - 1, "llama.cpp's last position in stream " + std::to_string(stream), length - 1, last);
    expect(first == (length > 0 ? 0 : -1), "llama.cpp's first position in stream " + std::to_string(stream),
           length > 0 ? 0 : -1, first);
    cells += last + 1;
    used += last >= 0 ? 1 : 0;
  }
  int live = 0;
  for (const Branch& branch : state.branches) {
    live += branch.status == BranchStatus::live ? 1 : 0;
    expect((branch.stream >= 0) == (branch.status == BranchStatus::live),
           "the stream of branch " + std::to_string(branch.id), -1, branch.stream);
  }
  const Occupancy occupancy = this->occupancy();
  expect(live == state.live, "live branches", live, state.live);
  expect(occupancy.cells_used == cells, "cells used", cells, occupancy.cells_used);
  expect(occupancy.streams_used == used, "streams used", used, occupancy.streams_used);
  expect(occupancy.cells_used + occupancy.cells_free == occupancy.cells, "cells", occupancy.cells,
         occupancy.cells_used + occupancy.cells_free);
  expect(occupancy.cells_free >= 0, "cells free", 0, occupancy.cells_free);
  expect(occupancy.streams_used + occupancy.streams_free == occupancy.streams, "streams", occupancy.streams,
         occupancy.streams_used + occupancy.streams_free);
  expect(occupancy.cells_peak >= occupancy.cells_used, "peak cells", occupancy.cells_used, occupancy.cells_peak);
}

const Model& Pool::model() const { return *state_->model; }
const PoolParams& Pool::params() const { return state_->params; }

}  // namespace winnow
