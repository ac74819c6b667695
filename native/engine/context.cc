#include "context.h"

#include <ggml-backend.h>
#include <ggml.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <mutex>
#include <string>
#include <thread>

#include "backend.h"
#include "checks.h"
#include "error.h"
#include "tensor_type.h"

namespace winnow {
namespace {

constexpr int kMaxThreads = 512;  // ggml's GGML_MAX_N_THREADS

// llama.cpp's flash attention on the CPU takes tiles of 64 rows and 64 cells from so many rows on, and leaves out a
// tile only where no row of it reads any of its cells; below, it leaves out each cell that a row does not read.
constexpr std::uint32_t kTiledRows = 64;
// Cells in all for each that a branch reads, below which tiles are faster all the same (bench/results, layouts).
constexpr int kTiledCells = 6;

llama_flash_attn_type flash_type(const std::string& name) {
  if (name == "auto") return LLAMA_FLASH_ATTN_TYPE_AUTO;
  if (name == "on") return LLAMA_FLASH_ATTN_TYPE_ENABLED;
  if (name == "off") return LLAMA_FLASH_ATTN_TYPE_DISABLED;
  throw EngineError("OPTION_INVALID", "Expected auto, on or off for flash attention but received '" + name + "'");
}

std::int64_t to_blocks(int cells) {
  return (static_cast<std::int64_t>(cells) + kCellBlock - 1) / kCellBlock * kCellBlock;
}

// Whether rows are computed on the CPU alone.
bool only_cpu() {
  return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) == nullptr &&
         ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU) == nullptr;
}

bool in_graph(const std::string& name) {
  if (name == "host" || name == "auto") return false;
  if (name == "graph") return true;
  throw EngineError("OPTION_INVALID", "Expected auto, host or graph for drawing but received '" + name + "'");
}

}  // namespace

PoolParams resolve_params(const PoolParams& requested, const ModelFacts& facts) {
  check_range("streams", requested.streams, 1, kMaxStreams);
  check_range("threads", requested.threads, 0, kMaxThreads);
  check_range("batch", requested.batch, 1, kMaxBatch);
  check_range("unified cells", requested.unified_cells, 0, std::numeric_limits<int>::max());
  if (requested.unified_cells > 0 && requested.deterministic) {
    throw EngineError("OPTION_INVALID", "Expected streams for deterministic decoding but received a unified cache");
  }
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
      ggml_is_quantized(tensor_type(requested.kv_type, "KV type"))) {
    throw EngineError("OPTION_INVALID",
                      "Expected flash attention for KV type " + requested.kv_type + " but received off");
  }
  PoolParams params = requested;
  // Rounding up may leave 32 bits where a model claims such a context.
  const std::int64_t most = std::numeric_limits<int>::max() / kCellBlock * kCellBlock;
  params.cells_per_stream = static_cast<int>(std::min(to_blocks(requested.cells_per_stream), most));
  params.unified_cells = static_cast<int>(std::min(to_blocks(requested.unified_cells), most));
  if (params.threads == 0) {
    params.threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
  }
  // Of a unified cache rows may be computed part by part, whose states come back wrong there.
  params.drawing = in_graph(requested.drawing) && requested.unified_cells == 0 ? "graph" : "host";
  return params;
}

bool has_plain_cells(const Model& model) {
  const llama_model* const raw = model.raw();
  // These keep a second cache beside the first, which the saved form has behind it.
  constexpr const char* kTwofold[] = {"deepseek32", "glm-dsa", "hy_v4", "minimax-m3"};
  const std::string& architecture = model.facts().architecture;
  return !llama_model_is_recurrent(raw) && !llama_model_is_hybrid(raw) && llama_model_n_swa(raw) == 0 &&
         std::find(std::begin(kTwofold), std::end(kTwofold), architecture) == std::end(kTwofold);
}

void check_layout(const Model& model, const PoolParams& params) {
  if (params.unified_cells == 0 || has_plain_cells(model)) return;
  throw EngineError("MODEL_UNSUPPORTED", "Expected a model with plain cells for a unified cache but received one of '" +
                                             model.facts().architecture + "'");
}

llama_context_params context_params(const PoolParams& params, int outputs) {
  const int count = std::max(params.streams, params.deterministic ? 2 : 1);
  llama_context_params options = llama_context_default_params();
  const bool unified = params.unified_cells > 0;
  options.n_ctx = unified ? static_cast<std::uint32_t>(params.unified_cells)
                          : static_cast<std::uint32_t>(count) * static_cast<std::uint32_t>(params.cells_per_stream);
  options.n_seq_max = static_cast<std::uint32_t>(count);
  // One ubatch as large as the batch, so that a decode step is never split and every weight is read once.
  options.n_batch = static_cast<std::uint32_t>(std::max(count, params.batch));
  options.n_ubatch = options.n_batch;
  // Where most cells are of single branches, tiles hold each row against the cells of all, and reading the weights
  // again costs less. A unified cache takes any of llama.cpp's sequences, whatever the number said, by which it sizes
  // its buffers for rows computed at once.
  const bool own = unified && params.unified_cells / kTiledCells >= params.cells_per_stream;
  if (own && options.n_seq_max >= kTiledRows && only_cpu()) options.n_seq_max = options.n_ubatch = kTiledRows - 1;
  options.n_outputs_max = static_cast<std::uint32_t>(std::clamp(outputs, count, static_cast<int>(options.n_batch)));
  options.n_threads = options.n_threads_batch = params.threads;
  options.pooling_type = LLAMA_POOLING_TYPE_NONE;
  options.flash_attn_type = flash_type(params.flash_attention);
  options.type_k = options.type_v = tensor_type(params.kv_type, "KV type");
  options.kv_unified = unified;
  // Of a sliding window's cells llama.cpp would else keep only the last; a mirror that cuts a branch needs the others.
  options.swa_full = true;
  options.embeddings = params.states;
  return options;
}

OwnedContext make_context(const Model& model, const llama_context_params& params) {
  const std::lock_guard lock(model.layout_mutex());
  const AssertGuard guard;
  clear_last_log();
  try {
    OwnedContext context(llama_init_from_model(model.raw(), params));
    if (context != nullptr) return context;
  } catch (const EngineError&) {
    throw;
  } catch (const std::exception& error) {
    throw EngineError("OUT_OF_MEMORY", std::string("Expected a llama.cpp context but received: ") + error.what());
  }
  const std::string words = last_log();
  const bool memory = words.find("alloc") != std::string::npos || words.find("memory") != std::string::npos;
  throw EngineError(memory ? "OUT_OF_MEMORY" : "OPTION_INVALID",
                    "Expected a llama.cpp context of " + std::to_string(params.n_ctx) + " cells for " +
                        std::to_string(params.n_seq_max) + " sequences but received none: " + words);
}

}  // namespace winnow
