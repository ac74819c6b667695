#include "context.h"

#include <ggml.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>

#include "backend.h"
#include "checks.h"
#include "error.h"
#include "tensor_type.h"

namespace winnow {
namespace {

constexpr int kMaxThreads = 512;  // ggml's GGML_MAX_N_THREADS

llama_flash_attn_type flash_type(const std::string& name) {
  if (name == "auto") return LLAMA_FLASH_ATTN_TYPE_AUTO;
  if (name == "on") return LLAMA_FLASH_ATTN_TYPE_ENABLED;
  if (name == "off") return LLAMA_FLASH_ATTN_TYPE_DISABLED;
  throw EngineError("OPTION_INVALID", "Expected auto, on or off for flash attention but received '" + name + "'");
}

}  // namespace

PoolParams resolve_params(const PoolParams& requested, const ModelFacts& facts) {
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
      ggml_is_quantized(tensor_type(requested.kv_type, "KV type"))) {
    throw EngineError("OPTION_INVALID",
                      "Expected flash attention for KV type " + requested.kv_type + " but received off");
  }
  PoolParams params = requested;
  // Rounding up may leave 32 bits where a model claims such a context.
  const std::int64_t cells =
      (static_cast<std::int64_t>(requested.cells_per_stream) + kCellBlock - 1) / kCellBlock * kCellBlock;
  params.cells_per_stream =
      static_cast<int>(std::min<std::int64_t>(cells, std::numeric_limits<int>::max() / kCellBlock * kCellBlock));
  if (params.threads == 0) {
    params.threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
  }
  return params;
}

llama_context_params context_params(const PoolParams& params, int outputs) {
  const int count = std::max(params.streams, params.deterministic ? 2 : 1);
  llama_context_params options = llama_context_default_params();
  options.n_ctx = static_cast<std::uint32_t>(count) * static_cast<std::uint32_t>(params.cells_per_stream);
  options.n_seq_max = static_cast<std::uint32_t>(count);
  // One ubatch as large as the batch, so that a decode step is never split and every weight is read once.
  options.n_batch = static_cast<std::uint32_t>(std::max(count, params.batch));
  options.n_ubatch = options.n_batch;
  options.n_outputs_max = static_cast<std::uint32_t>(std::clamp(outputs, count, static_cast<int>(options.n_batch)));
  options.n_threads = options.n_threads_batch = params.threads;
  options.pooling_type = LLAMA_POOLING_TYPE_NONE;
  options.flash_attn_type = flash_type(params.flash_attention);
  options.type_k = options.type_v = tensor_type(params.kv_type, "KV type");
  options.kv_unified = false;
  // Of a sliding window's cells llama.cpp would else keep only the last; a mirror that cuts a branch needs the others.
  options.swa_full = true;
  options.embeddings = params.states;
  return options;
}

OwnedContext make_context(const Model& model, const llama_context_params& params) {
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
                    "Expected a llama.cpp context of " + std::to_string(params.n_seq_max) + " x " +
                        std::to_string(params.n_ctx / params.n_seq_max) + " cells but received none: " + words);
}

}  // namespace winnow
