#include "pool_values.h"

#include "convert.h"

namespace winnow {
namespace {

// What a pool and a mirror have in common.
PoolParams streams_params(const Napi::Object& from) {
  PoolParams params;
  params.streams = integer_of(from, "streams");
  params.cells_per_stream = integer_of(from, "cellsPerStream");
  params.threads = integer_of(from, "threads");
  params.batch = integer_of(from, "batch");
  params.kv_type = text_of(from, "kvType");
  params.flash_attention = text_of(from, "flashAttention");
  return params;
}

}  // namespace

PoolParams to_mirror_params(const Napi::Value& value) { return streams_params(to_object(value, "the mirror options")); }

PoolParams to_pool_params(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the pool options");
  PoolParams params = streams_params(from);
  params.states = flag_of(from, "states");
  params.deterministic = flag_of(from, "deterministic");
  if (from.Has("drawing") && !from.Get("drawing").IsUndefined()) params.drawing = text_of(from, "drawing");
  if (from.Has("unifiedCells") && !from.Get("unifiedCells").IsUndefined())
    params.unified_cells = integer_of(from, "unifiedCells");
  return params;
}

RaceId to_race(const Napi::Value& value) { return static_cast<RaceId>(to_integer(value, "race", 0, kIntMax)); }

// Pairs of a race and how far it goes.
std::vector<Turn> to_turns(const Napi::Value& value, const Napi::Value& least) {
  const std::vector<std::int32_t> flat = to_int32s(value, "turns");
  if (flat.size() % 2 != 0) throw unexpected(value, "pairs of a race and its tokens", "turns");
  std::vector<Turn> turns;
  for (std::size_t i = 0; i < flat.size(); i += 2) turns.push_back({flat[i], flat[i + 1]});
  if (least.IsUndefined()) return turns;
  const std::vector<std::int32_t> counts = to_int32s(least, "least");
  if (counts.size() != turns.size()) throw unexpected(least, "a number for each turn", "least");
  for (std::size_t i = 0; i < turns.size(); ++i) turns[i].least = counts[i];
  return turns;
}

const char* reason_text(AdvanceReason reason) {
  switch (reason) {
    case AdvanceReason::reached: return "reached";
    case AdvanceReason::settled: return "settled";
    case AdvanceReason::full: return "full";
    case AdvanceReason::deadline: return "deadline";
    case AdvanceReason::aborted: return "aborted";
    case AdvanceReason::room: return "room";
    case AdvanceReason::running: break;  // of it nothing is told
  }
  return "aborted";
}

Napi::Value from_prefill(Napi::Env env, const Prefill& prefill) {
  Napi::Object to = Napi::Object::New(env);
  to["reason"] = reason_text(prefill.reason);
  to["race"] = prefill.race;
  to["tokens"] = prefill.tokens;
  to["decoded"] = prefill.decoded;
  to["seconds"] = prefill.seconds;
  return to;
}

static Napi::Value from_advance(Napi::Env env, const Advance& advance) {
  Napi::Object to = Napi::Object::New(env);
  to["reason"] = reason_text(advance.reason);
  to["steps"] = advance.steps;
  to["branches"] = from_int32s(env, advance.branches);
  to["counts"] = from_int32s(env, advance.counts);
  to["status"] = from_bytes(env, advance.status);
  to["cuts"] = from_int32s(env, advance.cuts);
  to["cutTokens"] = from_int32s(env, advance.cut_tokens);
  to["tokens"] = from_int32s(env, advance.tokens);
  to["logprobs"] = from_floats(env, advance.logprobs);
  to["entropies"] = from_floats(env, advance.entropies);
  to["certainties"] = from_floats(env, advance.certainties);
  to["topConfidences"] = from_floats(env, advance.top_confidences);
  to["decoded"] = static_cast<double>(advance.decoded);
  to["decodeSeconds"] = advance.decode_seconds;
  to["sampleSeconds"] = advance.sample_seconds;
  to["cellsPeak"] = static_cast<double>(advance.cells_peak);
  return to;
}

Napi::Value from_advances(Napi::Env env, const std::vector<Advance>& advances) {
  Napi::Array to = Napi::Array::New(env, advances.size());
  for (std::size_t i = 0; i < advances.size(); ++i)
    to[static_cast<std::uint32_t>(i)] =
        advances[i].reason == AdvanceReason::running ? env.Null() : from_advance(env, advances[i]);
  return to;
}

Napi::Value from_occupancy(Napi::Env env, const Occupancy& occupancy) {
  Napi::Object to = Napi::Object::New(env);
  to["streams"] = occupancy.streams;
  to["streamsUsed"] = occupancy.streams_used;
  to["streamsFree"] = occupancy.streams_free;
  to["cellsPerStream"] = occupancy.cells_per_stream;
  to["cells"] = static_cast<double>(occupancy.cells);
  to["cellsUsed"] = static_cast<double>(occupancy.cells_used);
  to["cellsFree"] = static_cast<double>(occupancy.cells_free);
  to["cellsPeak"] = static_cast<double>(occupancy.cells_peak);
  to["live"] = occupancy.live;
  to["kvBytes"] = static_cast<double>(occupancy.kv_bytes);
  to["parkedBytes"] = static_cast<double>(occupancy.parked_bytes);
  return to;
}

}  // namespace winnow
