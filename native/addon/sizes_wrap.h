// poolSizes() and mirrorSizes(): what llama.cpp would take, computed on a job's thread.
#pragma once

#include <napi.h>

#include "sizes.h"

namespace winnow {

Napi::Value pool_sizes(const Napi::CallbackInfo& info);    // (model, params) -> Promise
Napi::Value mirror_sizes(const Napi::CallbackInfo& info);  // (model, params) -> Promise

Napi::Value from_sizes(Napi::Env env, const ContextSizes& sizes);

}  // namespace winnow
