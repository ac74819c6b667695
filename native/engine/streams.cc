#include "streams.h"

#include <ggml.h>
#include <llama.h>

#include <algorithm>
#include <limits>

#include "backend.h"
#include "context.h"
#include "error.h"

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
  streams->params_ = params;
  streams->least_rows_ = params.deterministic ? 2 : 1;
  const llama_context_params options = context_params(params, outputs);
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
  streams->batch_ = std::make_unique<Batch>(model, options, params.threads, abort);
  const llama_context* const context = streams->batch_->context();
  streams->memory_ = llama_get_memory(context);
  if (streams->memory_ == nullptr) {
    throw EngineError("MODEL_UNSUPPORTED",
                      "Expected a decoder with a KV cache but received architecture '" + facts.architecture + "'");
  }
  const int made = static_cast<int>(llama_n_ctx_seq(context));
  if (made != params.cells_per_stream) {
    throw EngineError("INTEGRITY", "Expected " + std::to_string(params.cells_per_stream) +
                                       " cells per stream but llama.cpp made " + std::to_string(made));
  }
  // Rounding up to a block never extends a branch beyond what the model was trained on.
  streams->limit_ = std::min(params.cells_per_stream, facts.context_train);
  streams->prompt_rows_ = std::min(params.batch, static_cast<int>(llama_n_batch(context)));

  streams->batch_->resize(std::max(streams->count_, streams->prompt_rows_));
  return streams;
}

bool Streams::decode(int rows) {
  return batch_->compute(rows, "decode", [this](llama_context* context, const llama_batch& batch) {
    const int code = llama_decode(context, batch);
    if (code == 0) {
      llama_synchronize(context);
      logits_ = llama_get_logits(context);
      states_ = params_.states ? llama_get_embeddings(context) : nullptr;
    }
    return code;
  });
}

void Streams::require_usable() const {
  if (batch_->dead()) {
    throw EngineError("POOL_DEAD",
                      "Expected a usable pool but received one that failed "
                      "earlier; close it and open another");
  }
}

void Streams::keep_states(bool keep) {
  if (params_.states) llama_set_embeddings(batch_->context(), keep);
}

const float* Streams::logits(int row) const {
  return logits_ + static_cast<std::size_t>(row) * static_cast<std::size_t>(model().facts().vocabulary);
}

const float* Streams::state(int row) const {
  if (states_ == nullptr) return nullptr;
  return states_ + static_cast<std::size_t>(row) * static_cast<std::size_t>(model().facts().width);
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
  batch_->end();
  throw EngineError("MODEL_UNSUPPORTED", "Expected a cache whose last tokens can be removed but received that of '" +
                                             model().facts().architecture + "'");
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

ContextSizes Streams::sizes() const { return sizes_of(model(), batch_->context(), outputs_max_, params_.states); }

}  // namespace winnow
