// The bytes a context takes, by device, as llama.cpp itself counts them.
//
// A model opened without weights (ModelParams::weights) answers for contexts that are never made: llama.cpp lays out
// cells and graphs and allocates neither. What it does allocate, for the moment, is 52 bytes of notes a cell and the
// output buffer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "adapter.h"

struct ggml_backend_buffer_type;
struct llama_context;

namespace winnow {

class Model;
struct PoolParams;

struct DeviceSizes {
  std::string device;         // as devices() names it; whatever lies in the host's memory belongs to the CPU
  std::uint64_t weights = 0;  // bytes, all of them
  std::uint64_t cells = 0;
  std::uint64_t compute = 0;
  std::uint64_t outputs = 0;  // logits and states of one decode
};

struct ContextSizes {
  int streams = 0;           // those for ghosts included; 1 for a unified cache
  int cells_per_stream = 0;  // rounded up to a block
  std::vector<DeviceSizes> devices;
};

// What a pool of these parameters would take that computes with these adapters; with `mirror`, a mirror. The adapters'
// own bytes are not in it (AdapterFacts has them). Cells are exact. Throws OPTION_INVALID (for a
// model with weights too: that one would allocate), MODEL_UNSUPPORTED for an encoder, CONTEXT_TOO_LONG, OUT_OF_MEMORY
// where the cells cannot be counted or not even the notes fit.
ContextSizes context_sizes(const Model& model, const PoolParams& params, bool mirror = false,
                           const AdapterSet& adapters = {});

// What a context of Streams has taken, `outputs` rows of outputs among it.
ContextSizes sizes_of(const Model& model, const llama_context* context, int outputs, const PoolParams& params);

// Whose memory such a buffer lies in. Pinned memory belongs to a GPU and lies in the host's.
std::string device_of(ggml_backend_buffer_type* type);

}  // namespace winnow
