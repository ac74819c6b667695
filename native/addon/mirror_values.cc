#include "mirror_values.h"

#include "convert.h"
#include "pool_values.h"

namespace winnow {

MirrorRequest to_mirror_request(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the request");
  MirrorRequest request;
  request.ids = to_int32s(from.Get("ids"), "ids");
  request.keep = to_int32s(from.Get("keep"), "keep");
  request.tokens = to_int32s(from.Get("tokens"), "tokens");
  request.offsets = to_int32s(from.Get("offsets"), "offsets");
  request.marks = to_bytes(from.Get("marks"), "marks");
  request.suffix = to_int32s(from.Get("suffix"), "suffix");
  return request;
}

Napi::Value from_mirror_scores(Napi::Env env, const MirrorScores& scores) {
  Napi::Object to = Napi::Object::New(env);
  to["reason"] = reason_text(scores.reason);
  to["scores"] = from_floats(env, scores.scores);
  to["marked"] = from_floats(env, scores.marked);
  to["decoded"] = static_cast<double>(scores.cost.decoded);
  to["suffixDecoded"] = static_cast<double>(scores.cost.suffix_decoded);
  to["seconds"] = scores.seconds;
  return to;
}

}  // namespace winnow
