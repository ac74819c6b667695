// What a llama.cpp context of equal streams is made with. Streams makes contexts to decode in, sizes.h asks what they
// would take: both get their values here, so that what was planned is what is made.
#pragma once

#include <llama.h>

#include "batch.h"
#include "model.h"
#include "pool.h"

namespace winnow {

constexpr int kMaxBatch = 1 << 16;  // rows of one decode

// Defaults filled in; every value one that llama.cpp takes without an assert. Throws OPTION_INVALID, CONTEXT_TOO_LONG.
PoolParams resolve_params(const PoolParams& requested, const ModelFacts& facts);

// Whether the model keeps plain cells, one for each token: not recurrent models, sliding windows and caches of two
// parts.
bool has_plain_cells(const Model& model);

// Throws MODEL_UNSUPPORTED for a unified cache of cells that are not plain.
void check_layout(const Model& model, const PoolParams& params);

// Of resolved parameters. `outputs`: most rows of one decode that may come with states, if more than one for each
// stream.
llama_context_params context_params(const PoolParams& params, int outputs);

// Throws OUT_OF_MEMORY, OPTION_INVALID, NATIVE_ASSERT.
OwnedContext make_context(const Model& model, const llama_context_params& params);

}  // namespace winnow
