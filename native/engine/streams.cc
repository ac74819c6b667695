#include "streams.h"

#include <ggml.h>
#include <llama.h>

#include <algorithm>
#include <limits>

#include "backend.h"
#include "context.h"
#include "error.h"
#include "remains.h"

namespace winnow {
namespace {

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

}  // namespace

void Streams::FreeContext::operator()(llama_context* context) const { llama_free(context); }

Streams::~Streams() = default;

std::unique_ptr<Streams> Streams::open(std::shared_ptr<Model> model, const PoolParams& requested,
                                       const std::atomic<bool>& abort, int outputs) {
  std::unique_ptr<Streams> streams(new Streams());
  const ModelFacts& facts = model->facts();
  if (!model->has_weights()) {
    throw EngineError("OPTION_INVALID",
                      "Expected a model with weights but received '" + facts.path + "', which was opened without");
  }
  const PoolParams params = resolve_params(requested, facts);
  streams->model_ = model;
  streams->params_ = params;
  streams->abort_ = &abort;
  streams->least_rows_ = params.deterministic ? 2 : 1;
  llama_context_params options = context_params(params, outputs);
  streams->count_ = static_cast<int>(options.n_seq_max);
  const std::uint64_t cells =
      static_cast<std::uint64_t>(streams->count_) * static_cast<std::uint64_t>(params.cells_per_stream);
  streams->bytes_ = cells * cell_bytes(*model, options.type_k);
  if (cells > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max()) || streams->bytes_ > free_memory()) {
    throw EngineError("OUT_OF_MEMORY", "Expected a cache that fits in the free memory but received " +
                                           std::to_string(streams->count_) + " streams of " +
                                           std::to_string(params.cells_per_stream) + " cells, " +
                                           std::to_string(streams->bytes_) + " bytes");
  }

  streams->outputs_max_ = static_cast<int>(options.n_outputs_max);
  options.abort_callback = on_interrupt;
  options.abort_callback_data = streams.get();
  streams->context_.reset(make_context(*model, options));
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

ContextSizes Streams::sizes() const { return sizes_of(*model_, context_.get(), outputs_max_, params_.states); }

bool Streams::due() const { return abort_->load(std::memory_order_relaxed) || Clock::now() >= deadline_; }

bool Streams::on_interrupt(void* data) {
  const Streams* streams = static_cast<const Streams*>(data);
  return streams->armed_ && streams->due();
}

}  // namespace winnow
