#include "sizes.h"

#include <ggml-backend.h>
#include <llama.h>

#include <limits>
#include <map>
#include <memory>
#include <optional>

#include "backend.h"
#include "context.h"
#include "error.h"
#include "graph_sampler.h"
#include "host_memory.h"
#include "mirror.h"
#include "rank_head.h"

// Of llama.cpp's src/llama-ext.h, which is no part of its public headers. The libraries of the pinned release export
// both; linking with `-z now` makes their absence an error when the addon is loaded.
struct llama_memory_breakdown_data {
  std::size_t model = 0;
  std::size_t context = 0;
  std::size_t compute = 0;
};
std::map<ggml_backend_buffer_type_t, llama_memory_breakdown_data> llama_get_memory_breakdown(const llama_context*);

namespace winnow {
namespace {

constexpr std::uint64_t kNoteBytes = 52;  // llama.cpp's, for each cell: positions, shifts and sequences

std::string host_name() {
  ggml_backend_dev_t const cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  return cpu == nullptr ? "CPU" : ggml_backend_dev_name(cpu);
}

// Of a row of outputs: its logits and its state. For samplers in the graph llama.cpp keeps room for what they might
// leave of it besides, whether or not they do: logits, shares and tokens of the whole vocabulary, and one token.
std::uint64_t row_bytes(const ModelFacts& facts, const PoolParams& params) {
  const std::uint64_t vocabulary = static_cast<std::uint64_t>(facts.vocabulary);
  const std::uint64_t state = static_cast<std::uint64_t>(params.states ? facts.width : 0);
  const std::uint64_t left = params.drawing == "graph" ? 3 * vocabulary + 1 : 0;
  return (vocabulary + state + left) * sizeof(float);
}

}  // namespace

std::string device_of(ggml_backend_buffer_type* type) {
  ggml_backend_dev_t const device = ggml_backend_buft_get_device(type);
  return device == nullptr || ggml_backend_buft_is_host(type) ? host_name() : ggml_backend_dev_name(device);
}

ContextSizes sizes_of(const Model& model, const llama_context* context, int outputs, const PoolParams& params) {
  const std::string host = host_name();
  std::map<std::string, DeviceSizes> by_device;
  {
    const AssertGuard guard;
    for (const auto& [type, part] : llama_get_memory_breakdown(context)) {
      DeviceSizes& sizes = by_device[device_of(type)];
      sizes.weights += part.model;
      sizes.cells += part.context;
      sizes.compute += part.compute;
    }
  }
  by_device[host].outputs += static_cast<std::uint64_t>(outputs) * row_bytes(model.facts(), params);
  ContextSizes all;
  all.streams = params.unified_cells > 0 ? 1 : static_cast<int>(llama_n_seq_max(context));
  all.cells_per_stream = static_cast<int>(llama_n_ctx_seq(context));
  for (auto& [name, sizes] : by_device) {
    sizes.device = name;
    all.devices.push_back(sizes);
  }
  return all;
}

ContextSizes context_sizes(const Model& model, const PoolParams& requested, bool mirror, const AdapterSet& adapters) {
  if (model.has_weights()) {
    throw EngineError("OPTION_INVALID", "Expected a model opened without weights for the sizes but received '" +
                                            model.facts().path + "', which has them");
  }
  if (model.facts().rank != nullptr && model.facts().rank->encoder) {
    throw EngineError("MODEL_UNSUPPORTED", "Expected a model with KV cells for the sizes but received '" +
                                               model.facts().path + "', an encoder");
  }
  PoolParams params = resolve_params(requested, model.facts());
  if (mirror) {
    params.states = true;
    params.deterministic = false;
    params.drawing = "host";
  }
  check_layout(model, params);
  llama_context_params options = context_params(params, mirror ? kMarkRows : 0);
  const std::uint64_t cells = params.unified_cells > 0 ? static_cast<std::uint64_t>(params.unified_cells)
                                                       : static_cast<std::uint64_t>(options.n_seq_max) *
                                                             static_cast<std::uint64_t>(params.cells_per_stream);
  if (cells > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) {
    throw EngineError("OUT_OF_MEMORY", "Expected fewer than 2^31 cells but received " +
                                           std::to_string(options.n_seq_max) + " streams of " +
                                           std::to_string(params.cells_per_stream));
  }
  // What is laid out is not free of cost: notes on each cell, and room for the outputs.
  const std::uint64_t bytes = cells * kNoteBytes + options.n_outputs_max * row_bytes(model.facts(), params);
  const std::uint64_t available = host_memory_available();
  if (available > 0 && bytes > available) {
    throw EngineError("OUT_OF_MEMORY", "Expected a context whose notes fit in the free memory but received one of " +
                                           std::to_string(cells) + " cells, " + std::to_string(bytes) + " bytes");
  }
  std::optional<GraphSampler> sampler;
  if (params.drawing == "graph")
    sampler.emplace(static_cast<int>(options.n_seq_max), model.facts().vocabulary).attach(options);
  const OwnedContext context = make_context(model, options);
  if (!adapters.empty()) set_adapters(context.get(), model, adapters);
  return sizes_of(model, context.get(), static_cast<int>(options.n_outputs_max), params);
}

}  // namespace winnow
