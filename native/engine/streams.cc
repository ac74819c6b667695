#include "streams.h"

#include <ggml.h>
#include <llama.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "backend.h"
#include "context.h"
#include "error.h"

namespace winnow {
namespace {

// llama.cpp's form of one sequence (llama-context.cpp, llama-kv-cache.cpp): magic, sequence, number of streams, and for
// each stream the number of its cells and, where there are any, these. It is read back only by a context of as many
// streams, so the number is rewritten, and the counts of the empty streams are left out and put back.
constexpr std::size_t kHeader = 2 * sizeof(std::uint32_t);  // magic, sequence
constexpr std::size_t kCount = sizeof(std::uint32_t);

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
  if (!model->has_weights()) {
    throw EngineError("OPTION_INVALID", "Expected a model with weights but received '" + model->facts().path +
                                            "', which was opened without");
  }
  streams->params_ = resolve_params(requested, model->facts());
  check_layout(*model, streams->params_);
  streams->model_ = std::move(model);
  streams->abort_ = &abort;
  streams->outputs_ = outputs;
  streams->least_rows_ = streams->params_.deterministic ? 2 : 1;
  streams->make();
  return streams;
}

void Streams::make() {
  const ModelFacts& facts = model_->facts();
  llama_context_params options = context_params(params_, outputs_);
  count_ = std::max(params_.streams, least_rows_);
  const std::uint64_t cells = static_cast<std::uint64_t>(this->cells());
  bytes_ = cells * cell_bytes(*model_, options.type_k);
  if (cells > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max()) || bytes_ > free_memory()) {
    throw EngineError("OUT_OF_MEMORY", "Expected a cache that fits in the free memory but received " +
                                           std::to_string(cells) + " cells for " + std::to_string(count_) +
                                           " streams, " + std::to_string(bytes_) + " bytes");
  }

  outputs_max_ = static_cast<int>(options.n_outputs_max);
  if (params_.drawing == "graph") {
    sampler_ = std::make_unique<GraphSampler>(count_, facts.vocabulary);
    sampler_->attach(options);
  }
  std::unique_ptr<Batch> batch = std::make_unique<Batch>(model_, options, params_.threads, *abort_);
  const llama_context* const context = batch->context();
  memory_ = llama_get_memory(context);
  if (memory_ == nullptr) {
    throw EngineError("MODEL_UNSUPPORTED",
                      "Expected a decoder with a KV cache but received architecture '" + facts.architecture + "'");
  }
  const int wanted = unified() ? params_.unified_cells : params_.cells_per_stream;
  const int made = static_cast<int>(llama_n_ctx_seq(context));
  if (made != wanted) {
    throw EngineError("INTEGRITY", "Expected " + std::to_string(wanted) + " cells per stream but llama.cpp made " +
                                       std::to_string(made));
  }
  // Rounding up to a block never extends a branch beyond what the model was trained on.
  limit_ = std::min(params_.cells_per_stream, facts.context_train);
  prompt_rows_ = std::min(params_.batch, static_cast<int>(llama_n_batch(context)));
  if (!adapters_.empty()) batch->adapt(adapters_);
  batch->resize(std::max(count_, prompt_rows_));
  batch_ = std::move(batch);
}

PoolParams Streams::shaped(int streams, int cells_per_stream) const {
  const ModelFacts& facts = model_->facts();
  if (unified()) throw EngineError("OPTION_INVALID", "Expected streams to reshape but received a unified cache");
  PoolParams wanted = params_;
  wanted.streams = streams;
  // A shape that was rounded up to a block may be asked for again.
  const bool rounded = cells_per_stream > facts.context_train && cells_per_stream - facts.context_train < kCellBlock;
  wanted.cells_per_stream = rounded ? facts.context_train : cells_per_stream;
  return resolve_params(wanted, facts);
}

void Streams::end() {
  if (batch_ != nullptr) batch_->end();
}

void Streams::remake(int streams, int cells_per_stream) {
  const PoolParams wanted = shaped(streams, cells_per_stream);
  batch_.reset();  // first: there may not be room for both
  memory_ = nullptr;
  logits_ = nullptr;
  states_ = nullptr;
  copies_pending_ = false;
  params_ = wanted;
  make();
}

void Streams::adapt(const AdapterSet& adapters) {
  batch_->adapt(adapters);
  adapters_ = adapters;
}

bool Streams::decode(int rows) {
  return batch_->compute(rows, "decode", [this](llama_context* context, const llama_batch& batch) {
    const int code = draws() ? decode_parts(context, batch) : llama_decode(context, batch);
    copies_pending_ = false;
    if (code == 0 && !draws()) {
      llama_synchronize(context);
      logits_ = llama_get_logits(context);
      states_ = params_.states ? llama_get_embeddings(context) : nullptr;
    }
    return code;
  });
}

// llama.cpp computes each run of streams without a gap by itself, and no more rows at once than a micro-batch has, in
// whichever call; of several only the last one's graph could be read. Part by part none is lost: what all but the last
// have is copied. Of rows without outputs nothing is read.
int Streams::decode_parts(llama_context* context, const llama_batch& batch) {
  const std::size_t width = static_cast<std::size_t>(model().facts().width);
  const bool read = batch.logits[0] != 0;
  const int most = read ? static_cast<int>(llama_n_ubatch(context)) : batch.n_tokens;
  const auto apart = [&](int row) { return !unified() && batch.seq_id[row][0] - batch.seq_id[row - 1][0] > 1; };
  gathered_.clear();
  logits_fetched_ = false;
  for (int first = 0, next = 0; first < batch.n_tokens; first = next) {
    while (++next < batch.n_tokens && next - first < most && !apart(next)) continue;
    const int rows = next - first;
    llama_batch part = batch;
    part.n_tokens = rows;
    part.token += first;
    part.pos += first;
    part.n_seq_id += first;
    part.seq_id += first;
    part.logits += first;
    sampler_->begin(first);
    const int code = llama_decode(context, part);
    if (code != 0) return code;
    llama_synchronize(context);
    sampler_->read();
    logits_ = llama_get_logits(context);
    states_ = params_.states ? llama_get_embeddings(context) : nullptr;
    if (rows == batch.n_tokens) return 0;
    sampler_->copy_logits(0, rows, logits_ + row_offset(first));
    if (states_ != nullptr)
      gathered_.insert(gathered_.end(), states_, states_ + static_cast<std::size_t>(rows) * width);
  }
  logits_fetched_ = true;
  if (states_ != nullptr) states_ = gathered_.data();
  return 0;
}

void Streams::fetch_logits(const std::vector<int>& rows) {
  if (!draws() || logits_fetched_) return;
  const AssertGuard guard;
  for (std::size_t i = 0, next = 0; i < rows.size(); i = next) {
    while (++next < rows.size() && rows[next] == rows[next - 1] + 1) continue;
    sampler_->copy_logits(rows[i], static_cast<int>(next - i), logits_ + row_offset(rows[i]));
  }
}

void Streams::require_usable() const {
  if (batch_ == nullptr || batch_->dead()) {
    throw EngineError("POOL_DEAD",
                      "Expected a usable pool but received one that failed "
                      "earlier; close it and open another");
  }
}

void Streams::keep_states(bool keep) {
  if (params_.states) llama_set_embeddings(batch_->context(), keep);
}

std::size_t Streams::row_offset(int row) const {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(model().facts().vocabulary);
}

const float* Streams::logits(int row) const { return logits_ + row_offset(row); }

const float* Streams::state(int row) const {
  if (states_ == nullptr) return nullptr;
  return states_ + static_cast<std::size_t>(row) * static_cast<std::size_t>(model().facts().width);
}

void Streams::clear() {
  const AssertGuard guard;
  llama_memory_clear(memory_, false);
  logits_ = nullptr;
  states_ = nullptr;
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
  copies_pending_ = !unified();
}

void Streams::share(int from, int to, int length) {
  const AssertGuard guard;
  llama_memory_seq_cp(memory_, from, to, 0, length);
}

void Streams::unshare(int stream, int length) {
  const AssertGuard guard;
  llama_memory_seq_rm(memory_, stream, 0, length);
}

int Streams::first(int stream) const {
  const AssertGuard guard;
  return llama_memory_seq_pos_min(memory_, stream);
}

int Streams::last(int stream) const {
  const AssertGuard guard;
  return llama_memory_seq_pos_max(memory_, stream);
}

bool Streams::movable() const { return has_plain_cells(*model_); }

std::vector<std::uint8_t> Streams::save(int stream) {
  const AssertGuard guard;
  llama_context* const context = batch_->context();
  const std::size_t size = llama_state_seq_get_size(context, stream);
  std::vector<std::uint8_t> bytes;
  try {
    bytes.resize(size);
  } catch (const std::bad_alloc&) {
    throw EngineError("OUT_OF_MEMORY",
                      "Expected " + std::to_string(size) + " bytes for a copy of a stream but received none");
  }
  const std::size_t written = llama_state_seq_get_data(context, bytes.data(), size, stream);
  const std::size_t before = unified() ? 0 : static_cast<std::size_t>(stream) * kCount;
  const std::size_t after = unified() ? 0 : static_cast<std::size_t>(count_ - 1 - stream) * kCount;
  if (written != size || size < kHeader + kCount + before + after + kCount) {
    throw EngineError("DECODE_FAILED", "Expected the cells of stream " + std::to_string(stream) + " but received " +
                                           std::to_string(written) + " bytes. " + last_log());
  }
  bytes.resize(size - after);
  const auto counts = bytes.begin() + static_cast<std::ptrdiff_t>(kHeader + kCount);
  bytes.erase(counts, counts + static_cast<std::ptrdiff_t>(before));
  return bytes;
}

void Streams::load(int stream, const std::vector<std::uint8_t>& cells) {
  const AssertGuard guard;
  const std::uint32_t count = unified() ? 1 : static_cast<std::uint32_t>(count_);
  std::vector<std::uint8_t> bytes(cells.size() + static_cast<std::size_t>(count - 1) * kCount);
  std::copy(cells.begin(), cells.end(), bytes.begin());
  std::memcpy(bytes.data() + kHeader, &count, kCount);
  if (llama_state_seq_set_data(batch_->context(), bytes.data(), bytes.size(), stream) == bytes.size()) return;
  batch_->end();
  throw EngineError("DECODE_FAILED", "Expected stream " + std::to_string(stream) +
                                         " to take the cells of another but received a refusal. " + last_log());
}

void Streams::settle_copies(int used) {
  if (!copies_pending_) return;
  // Into the first free stream; or behind the last one's end, where llama.cpp finds no place if that is full, and has
  // carried out the copies all the same.
  const bool free = used < count_;
  const int stream = free ? used : count_ - 1;
  const int position = free ? 0 : last(stream) + 1;
  keep_states(false);
  batch_->set_row(0, 0, position, stream, false);
  batch_->compute(1, "decode", [](llama_context* context, const llama_batch& batch) {
    const int code = llama_decode(context, batch);
    llama_synchronize(context);
    return code == 1 ? 0 : code;
  });
  keep_states(true);
  copies_pending_ = false;
  if (free) {
    free_cells(stream);
  } else {
    cut(stream, position);
  }
}

ContextSizes Streams::sizes() const { return sizes_of(model(), batch_->context(), outputs_max_, params_); }

}  // namespace winnow
