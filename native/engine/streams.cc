#include "streams.h"

#include <ggml.h>
#include <llama.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "backend.h"
#include "error.h"
#include "remains.h"

namespace winnow {
namespace {

constexpr int kMaxThreads = 512;  // ggml's GGML_MAX_N_THREADS
constexpr int kMaxBatch = 1 << 16;

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

std::uint64_t free_memory() {
  std::uint64_t most = 0;
  for (const Device& device : devices()) most = std::max(most, device.memory_free);
  return most;
}

// Defaults filled in; every value one that llama.cpp takes without an assert.
PoolParams resolve(const PoolParams& requested, const ModelFacts& facts) {
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
  if (flash_type(requested.flash_attention) == LLAMA_FLASH_ATTN_TYPE_DISABLED &&
      ggml_is_quantized(kv_type(requested.kv_type))) {
    throw EngineError("OPTION_INVALID",
                      "Expected flash attention for KV type " + requested.kv_type + " but received off");
  }
  PoolParams params = requested;
  params.cells_per_stream = (requested.cells_per_stream + kCellBlock - 1) / kCellBlock * kCellBlock;
  if (params.threads == 0) {
    params.threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
  }
  return params;
}

}  // namespace

void Streams::FreeContext::operator()(llama_context* context) const { llama_free(context); }

Streams::~Streams() = default;

std::unique_ptr<Streams> Streams::open(std::shared_ptr<Model> model, const PoolParams& requested,
                                       const std::atomic<bool>& abort, int outputs) {
  std::unique_ptr<Streams> streams(new Streams());
  const ModelFacts& facts = model->facts();
  const PoolParams params = resolve(requested, facts);
  streams->model_ = model;
  streams->params_ = params;
  streams->abort_ = &abort;
  streams->least_rows_ = params.deterministic ? 2 : 1;
  streams->count_ = std::max(params.streams, streams->least_rows_);
  const ggml_type type = kv_type(params.kv_type);
  const std::uint64_t cells =
      static_cast<std::uint64_t>(streams->count_) * static_cast<std::uint64_t>(params.cells_per_stream);
  streams->bytes_ = cells * cell_bytes(*model, type);
  if (cells > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max()) || streams->bytes_ > free_memory()) {
    throw EngineError("OUT_OF_MEMORY", "Expected a cache that fits in the free memory but received " +
                                           std::to_string(streams->count_) + " streams of " +
                                           std::to_string(params.cells_per_stream) + " cells, " +
                                           std::to_string(streams->bytes_) + " bytes");
  }

  llama_context_params options = llama_context_default_params();
  options.n_ctx = static_cast<std::uint32_t>(cells);
  options.n_seq_max = static_cast<std::uint32_t>(streams->count_);
  // One ubatch as large as the batch, so that a decode step is never split and every weight is read once.
  options.n_batch = static_cast<std::uint32_t>(std::max(streams->count_, params.batch));
  options.n_ubatch = options.n_batch;
  streams->outputs_max_ = std::clamp(outputs, streams->count_, static_cast<int>(options.n_batch));
  options.n_outputs_max = static_cast<std::uint32_t>(streams->outputs_max_);
  options.n_threads = options.n_threads_batch = params.threads;
  options.pooling_type = LLAMA_POOLING_TYPE_NONE;
  options.flash_attn_type = flash_type(params.flash_attention);
  options.type_k = options.type_v = type;
  options.kv_unified = false;
  // Of a sliding window's cells llama.cpp would else keep only the last; a mirror that cuts a branch needs the others.
  options.swa_full = true;
  options.embeddings = params.states;
  options.abort_callback = on_interrupt;
  options.abort_callback_data = streams.get();
  {
    const AssertGuard guard;
    clear_last_log();
    try {
      streams->context_.reset(llama_init_from_model(model->raw(), options));
    } catch (const EngineError&) {
      throw;
    } catch (const std::exception& error) {
      throw EngineError("OUT_OF_MEMORY", std::string("Expected a llama.cpp context but received: ") + error.what());
    }
  }
  if (!streams->context_) {
    const std::string words = last_log();
    const bool memory = words.find("alloc") != std::string::npos || words.find("memory") != std::string::npos;
    throw EngineError(memory ? "OUT_OF_MEMORY" : "OPTION_INVALID",
                      "Expected a llama.cpp context of " + std::to_string(streams->count_) + " x " +
                          std::to_string(params.cells_per_stream) + " cells but received none: " + words);
  }
  streams->threads_ = std::make_unique<ComputeThreads>(params.threads);
  streams->threads_->attach(streams->context_.get());
  streams->memory_ = llama_get_memory(streams->context_.get());
  if (streams->memory_ == nullptr) {
    throw EngineError("MODEL_UNSUPPORTED",
                      "Expected a decoder with a KV cache but received architecture '" + facts.architecture + "'");
  }
  const int made = static_cast<int>(llama_n_ctx_seq(streams->context_.get()));
  if (made != params.cells_per_stream) {
    throw EngineError("INTEGRITY", "Expected " + std::to_string(params.cells_per_stream) +
                                       " cells per stream but llama.cpp made " + std::to_string(made));
  }
  // Rounding up to a block never extends a branch beyond what the model was trained on.
  streams->limit_ = std::min(params.cells_per_stream, facts.context_train);
  streams->prompt_rows_ = std::min(params.batch, static_cast<int>(llama_n_batch(streams->context_.get())));

  const std::size_t rows = static_cast<std::size_t>(std::max(streams->count_, streams->prompt_rows_));
  streams->tokens_.resize(rows);
  streams->positions_.resize(rows);
  streams->stream_counts_.assign(rows, 1);
  streams->streams_.resize(rows);
  streams->outputs_.resize(rows);
  for (std::int32_t& each : streams->streams_) streams->stream_lists_.push_back(&each);
  return streams;
}

void Streams::set_row(int row, Token token, int position, int stream, bool output) {
  const std::size_t at = static_cast<std::size_t>(row);
  tokens_[at] = token;
  positions_[at] = position;
  streams_[at] = stream;
  outputs_[at] = output ? 1 : 0;
}

bool Streams::decode(int rows) {
  const AssertGuard guard;
  clear_last_log();
  llama_batch batch{};
  batch.n_tokens = rows;
  batch.token = tokens_.data();
  batch.pos = positions_.data();
  batch.n_seq_id = stream_counts_.data();
  batch.seq_id = stream_lists_.data();
  batch.logits = outputs_.data();
  std::string reason;
  try {
    const int code = llama_decode(context_.get(), batch);
    if (code == 0) {
      llama_synchronize(context_.get());
      logits_ = llama_get_logits(context_.get());
      states_ = params_.states ? llama_get_embeddings(context_.get()) : nullptr;
      return true;
    }
    if (code == 2 && armed_) return false;
    reason = "code " + std::to_string(code) + ". " + last_log();
  } catch (const EngineError&) {
    dead_ = true;
    if (params_.threads > 1) {
      keep_forever({model_, std::shared_ptr<void>(std::move(threads_)), std::shared_ptr<void>(std::move(context_))});
    }
    throw;
  } catch (const std::exception& error) {
    reason = error.what();
  }
  dead_ = true;
  throw EngineError("DECODE_FAILED",
                    "Expected llama.cpp to decode " + std::to_string(rows) + " rows but received " + reason);
}

void Streams::require_usable() const {
  if (dead_) {
    throw EngineError("POOL_DEAD",
                      "Expected a usable pool but received one that failed "
                      "earlier; close it and open another");
  }
}

void Streams::keep_states(bool keep) {
  if (params_.states) llama_set_embeddings(context_.get(), keep);
}

const float* Streams::logits(int row) const {
  return logits_ + static_cast<std::size_t>(row) * static_cast<std::size_t>(model_->facts().vocabulary);
}

const float* Streams::state(int row) const {
  if (states_ == nullptr) return nullptr;
  return states_ + static_cast<std::size_t>(row) * static_cast<std::size_t>(model_->facts().width);
}

void Streams::clear() {
  const AssertGuard guard;
  llama_memory_clear(memory_, false);
  logits_ = states_ = nullptr;
}

void Streams::free_cells(int stream) {
  const AssertGuard guard;
  llama_memory_seq_rm(memory_, stream, -1, -1);
}

void Streams::cut(int stream, int length) {
  const AssertGuard guard;
  if (llama_memory_seq_rm(memory_, stream, length, -1)) return;
  dead_ = true;
  throw EngineError("MODEL_UNSUPPORTED", "Expected a cache whose last tokens can be removed but received that of '" +
                                             model_->facts().architecture + "'");
}

void Streams::copy(int from, int to) {
  const AssertGuard guard;
  llama_memory_seq_cp(memory_, from, to, -1, -1);
}

int Streams::first(int stream) const {
  const AssertGuard guard;
  return llama_memory_seq_pos_min(memory_, stream);
}

int Streams::last(int stream) const {
  const AssertGuard guard;
  return llama_memory_seq_pos_max(memory_, stream);
}

void Streams::arm(Clock::time_point deadline) {
  deadline_ = deadline;
  armed_ = true;
}

void Streams::disarm() { armed_ = false; }

bool Streams::due() const { return abort_->load(std::memory_order_relaxed) || Clock::now() >= deadline_; }

bool Streams::on_interrupt(void* data) {
  const Streams* streams = static_cast<const Streams*>(data);
  return streams->armed_ && streams->due();
}

}  // namespace winnow
