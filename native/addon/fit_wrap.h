// fitHead(): a reward head fitted on a job's thread.
#pragma once

#include <napi.h>

namespace winnow {

// (train, validation, params, onEpoch | null) -> { done: Promise<fit>, stop(): void }. Rows are named in a table that
// stays JavaScript's; the job owns a copy of those rows and columns until it ends, for arrays can be changed or moved
// meanwhile.
Napi::Value fit_head_wrapped(const Napi::CallbackInfo& info);

}  // namespace winnow
