// JavaScript values <-> plain structs, checked at the door: a value of the wrong type is a TypeError that names it.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "backend.h"
#include "head.h"
#include "mirror.h"
#include "model.h"
#include "pool.h"
#include "random_model.h"

namespace winnow {

// Of an argument (`name` is for the message).
Napi::Object to_object(const Napi::Value& value, const char* name);
std::string to_text(const Napi::Value& value, const char* name);
bool to_bool(const Napi::Value& value, const char* name);
double to_number(const Napi::Value& value, const char* name);  // finite
std::int64_t to_integer(const Napi::Value& value, const char* name, std::int64_t low, std::int64_t high);
std::uint64_t to_unsigned(const Napi::Value& value, const char* name);            // BigInt of 64 bits
std::vector<std::int32_t> to_int32s(const Napi::Value& value, const char* name);  // copies an Int32Array
std::vector<std::uint8_t> to_bytes(const Napi::Value& value, const char* name);   // copies a Uint8Array
Napi::Float32Array to_float32s(const Napi::Value& value, const char* name);       // a view, not a copy

// Everything but `progress`.
ModelParams to_model_params(const Napi::Value& value);
PoolParams to_pool_params(const Napi::Value& value);
PoolParams to_mirror_params(const Napi::Value& value);
MirrorRequest to_mirror_request(const Napi::Value& value);
ForkParams to_fork_params(const Napi::Value& value);
RaceId to_race(const Napi::Value& value);
std::vector<Turn> to_turns(const Napi::Value& value, const Napi::Value& least);
RandomModelParams to_random_model_params(const Napi::Value& value);

Napi::Value from_int32s(Napi::Env env, const std::vector<std::int32_t>& values);
Napi::Value from_floats(Napi::Env env, const std::vector<float>& values);
Napi::Value from_device(Napi::Env env, const Device& device);
Napi::Value from_facts(Napi::Env env, const ModelFacts& facts);
Napi::Value from_facts(Napi::Env env, const HeadFacts& facts);
Napi::Value from_prefill(Napi::Env env, const Prefill& prefill);
Napi::Value from_advances(Napi::Env env, const std::vector<Advance>& advances);  // null for one that runs still
Napi::Value from_mirror_scores(Napi::Env env, const MirrorScores& scores);
Napi::Value from_occupancy(Napi::Env env, const Occupancy& occupancy);

}  // namespace winnow
