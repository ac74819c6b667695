// What a fork is asked: its branches, how they are sampled, and what ends them.
#pragma once

#include <napi.h>

#include "pool.h"

namespace winnow {

ForkParams to_fork_params(const Napi::Value& value);

}  // namespace winnow
