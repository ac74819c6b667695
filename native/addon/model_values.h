// What of a model, a head and a device crosses into JavaScript, and with what a model is opened or made.
#pragma once

#include <napi.h>

#include "backend.h"
#include "head.h"
#include "model.h"
#include "random_model.h"

namespace winnow {

ModelParams to_model_params(const Napi::Value& value);  // everything but `progress`
RandomModelParams to_random_model_params(const Napi::Value& value);

Napi::Value from_device(Napi::Env env, const Device& device);
Napi::Value from_facts(Napi::Env env, const ModelFacts& facts);
Napi::Value from_facts(Napi::Env env, const HeadFacts& facts);

}  // namespace winnow
