// What a pool is asked, and what it answers.
#pragma once

#include <napi.h>

#include <vector>

#include "pool.h"

namespace winnow {

PoolParams to_pool_params(const Napi::Value& value);
PoolParams to_mirror_params(const Napi::Value& value);
RaceId to_race(const Napi::Value& value);
std::vector<Turn> to_turns(const Napi::Value& value, const Napi::Value& least);

const char* reason_text(AdvanceReason reason);
Napi::Value from_prefill(Napi::Env env, const Prefill& prefill);
Napi::Value from_advances(Napi::Env env, const std::vector<Advance>& advances);  // null for one that runs still
Napi::Value from_occupancy(Napi::Env env, const Occupancy& occupancy);

}  // namespace winnow
