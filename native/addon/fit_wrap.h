// fitHead(): a reward head fitted on a job's thread.
#pragma once

#include <napi.h>

namespace winnow {

// (train, validation, params, onEpoch | null) -> { done: Promise<fit>, stop(): void }
Napi::Value fit_head_wrapped(const Napi::CallbackInfo& info);

}  // namespace winnow
