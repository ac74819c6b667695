// What a mirror is asked to score, and what it answers.
#pragma once

#include <napi.h>

#include "mirror.h"

namespace winnow {

MirrorRequest to_mirror_request(const Napi::Value& value);
Napi::Value from_mirror_scores(Napi::Env env, const MirrorScores& scores);

}  // namespace winnow
