#include "convert.h"

#include <algorithm>

#include <cmath>
#include <cstring>
#include <limits>

#include "rank_head.h"

namespace winnow {
namespace {

constexpr std::int64_t kIntMax = std::numeric_limits<int>::max();

Napi::TypeError unexpected(const Napi::Value& value, const std::string& what, const char* name) {
  return Napi::TypeError::New(value.Env(),
                              "Expected " + what + " for " + name + " but received " + value.ToString().Utf8Value());
}

// The key of an options object; a missing one is `undefined` and refused by the conversion that follows.
int integer(const Napi::Object& from, const char* key, std::int64_t low = 0, std::int64_t high = kIntMax) {
  return static_cast<int>(to_integer(from.Get(key), key, low, high));
}
std::string text(const Napi::Object& from, const char* key) { return to_text(from.Get(key), key); }
bool flag(const Napi::Object& from, const char* key) { return to_bool(from.Get(key), key); }
float real(const Napi::Object& from, const char* key) { return static_cast<float>(to_number(from.Get(key), key)); }

Napi::Array array(const Napi::Object& from, const char* key) {
  const Napi::Value value = from.Get(key);
  if (!value.IsArray()) throw unexpected(value, "an array", key);
  return value.As<Napi::Array>();
}

// What a pool and a mirror have in common.
PoolParams streams_params(const Napi::Object& from) {
  PoolParams params;
  params.streams = integer(from, "streams");
  params.cells_per_stream = integer(from, "cellsPerStream");
  params.threads = integer(from, "threads");
  params.batch = integer(from, "batch");
  params.kv_type = text(from, "kvType");
  params.flash_attention = text(from, "flashAttention");
  return params;
}

template <typename Array, typename Element>
Array copy_out(Napi::Env env, const std::vector<Element>& values) {
  Array out = Array::New(env, values.size());
  if (!values.empty()) std::memcpy(out.Data(), values.data(), values.size() * sizeof(Element));
  return out;
}

void set_text_list(Napi::Object& to, const char* key, const std::vector<std::string>& values) {
  Napi::Array list = Napi::Array::New(to.Env(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) list[static_cast<std::uint32_t>(i)] = values[i];
  to[key] = list;
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

}  // namespace

Napi::Object to_object(const Napi::Value& value, const char* name) {
  if (!value.IsObject() || value.IsArray() || value.IsTypedArray()) throw unexpected(value, "an object", name);
  return value.As<Napi::Object>();
}

std::string to_text(const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw unexpected(value, "a string", name);
  return value.As<Napi::String>().Utf8Value();
}

bool to_bool(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) throw unexpected(value, "true or false", name);
  return value.As<Napi::Boolean>().Value();
}

double to_number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber() || !std::isfinite(value.As<Napi::Number>().DoubleValue()))
    throw unexpected(value, "a finite number", name);
  return value.As<Napi::Number>().DoubleValue();
}

std::int64_t to_integer(const Napi::Value& value, const char* name, std::int64_t low, std::int64_t high) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high)) || std::floor(number) != number)
    throw unexpected(value, "an integer from " + std::to_string(low) + " to " + std::to_string(high), name);
  return static_cast<std::int64_t>(number);
}

std::uint64_t to_unsigned(const Napi::Value& value, const char* name) {
  bool lossless = false;
  const std::uint64_t number = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) throw unexpected(value, "a BigInt from 0 to 2^64 - 1", name);
  return number;
}

std::vector<std::int32_t> to_int32s(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
    throw unexpected(value, "an Int32Array", name);
  const Napi::Int32Array array = value.As<Napi::Int32Array>();
  if (array.ElementLength() == 0) return {};
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<std::uint8_t> to_bytes(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    throw unexpected(value, "a Uint8Array", name);
  const Napi::Uint8Array array = value.As<Napi::Uint8Array>();
  if (array.ElementLength() == 0) return {};
  return {array.Data(), array.Data() + array.ElementLength()};
}

Napi::Float32Array to_float32s(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
    throw unexpected(value, "a Float32Array", name);
  return value.As<Napi::Float32Array>();
}

ModelParams to_model_params(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the model options");
  ModelParams params;
  params.path = text(from, "path");
  params.gpu_layers = integer(from, "gpuLayers", -1);
  const Napi::Array devices = array(from, "devices");
  for (std::uint32_t i = 0; i < devices.Length(); ++i) params.devices.push_back(to_text(devices[i], "devices"));
  params.split = text(from, "split");
  params.main_gpu = integer(from, "mainGpu");
  const Napi::Array shares = array(from, "tensorSplit");
  for (std::uint32_t i = 0; i < shares.Length(); ++i)
    params.tensor_split.push_back(static_cast<float>(to_number(shares[i], "tensorSplit")));
  params.mmap = flag(from, "mmap");
  params.mlock = flag(from, "mlock");
  params.check_tensors = flag(from, "checkTensors");
  params.ranker = !from.Get("ranker").IsUndefined() && flag(from, "ranker");
  params.weights = from.Get("weights").IsUndefined() || flag(from, "weights");
  return params;
}

PoolParams to_mirror_params(const Napi::Value& value) { return streams_params(to_object(value, "the mirror options")); }

PoolParams to_pool_params(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the pool options");
  PoolParams params = streams_params(from);
  params.states = flag(from, "states");
  params.deterministic = flag(from, "deterministic");
  return params;
}

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

// { tokens, offsets }: list i is tokens[offsets[i]..offsets[i+1]).
static std::vector<std::vector<Token>> to_lists(const Napi::Value& value, const char* name) {
  const Napi::Object from = to_object(value, name);
  const std::vector<std::int32_t> tokens = to_int32s(from.Get("tokens"), "tokens");
  const std::vector<std::int32_t> offsets = to_int32s(from.Get("offsets"), "offsets");
  const bool rise = !offsets.empty() && offsets.front() == 0 && std::is_sorted(offsets.begin(), offsets.end()) &&
                    static_cast<std::size_t>(offsets.back()) == tokens.size();
  if (!rise) {
    throw Napi::TypeError::New(
        value.Env(),
        std::string("Expected offsets that rise from 0 to the number of tokens for ") + name + " but received others");
  }
  std::vector<std::vector<Token>> lists;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    lists.emplace_back(tokens.begin() + offsets[i], tokens.begin() + offsets[i + 1]);
  return lists;
}

static std::vector<std::string> to_texts(const Napi::Object& from, const char* key) {
  const Napi::Array values = array(from, key);
  std::vector<std::string> texts;
  for (std::uint32_t i = 0; i < values.Length(); ++i) texts.push_back(to_text(values[i], key));
  return texts;
}

// Rules and stop strings, as NativeSamplingRules has them.
static void to_rules(const Napi::Value& value, ForkParams& params) {
  const Napi::Object from = to_object(value, "rules");
  const Napi::Object penalties = to_object(from.Get("penalties"), "penalties");
  params.rules.penalties.last_n = integer(penalties, "lastN");
  params.rules.penalties.repeat = real(penalties, "repeat");
  params.rules.penalties.frequency = real(penalties, "frequency");
  params.rules.penalties.presence = real(penalties, "presence");
  const Napi::Object dry = to_object(from.Get("dry"), "dry");
  params.rules.dry.multiplier = real(dry, "multiplier");
  params.rules.dry.base = real(dry, "base");
  params.rules.dry.allowed_length = integer(dry, "allowedLength");
  params.rules.dry.last_n = integer(dry, "lastN");
  params.rules.dry.breakers = to_texts(dry, "breakers");
  const Napi::Object biases = to_object(from.Get("biases"), "biases");
  const std::vector<std::int32_t> tokens = to_int32s(biases.Get("tokens"), "tokens");
  const Napi::Float32Array values = to_float32s(biases.Get("values"), "values");
  if (values.ElementLength() != tokens.size()) throw unexpected(value, "a value for each token", "biases");
  for (std::size_t i = 0; i < tokens.size(); ++i) params.rules.biases.emplace_back(tokens[i], values[i]);
  params.rules.grammar.text = text(from, "grammar");
  params.stop = to_texts(from, "stop");
}

ForkParams to_fork_params(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the fork options");
  ForkParams params;
  params.count = integer(from, "count");
  params.seed = to_unsigned(from.Get("seed"), "seed");
  params.first_candidate = static_cast<std::uint32_t>(integer(from, "firstCandidate"));
  params.max_tokens = integer(from, "maxTokens");
  params.sampling.temperature = real(from, "temperature");
  params.sampling.top_k = integer(from, "topK");
  params.sampling.top_p = real(from, "topP");
  params.sampling.min_p = real(from, "minP");
  params.stop_tokens = to_int32s(from.Get("stopTokens"), "stopTokens");
  if (from.Has("certainties")) params.certainties = to_bool(from.Get("certainties"), "certainties");
  if (from.Has("rules")) to_rules(from.Get("rules"), params);
  if (from.Has("keepPrompt")) params.keep_prompt = to_bool(from.Get("keepPrompt"), "keepPrompt");
  if (from.Has("given")) params.given = to_lists(from.Get("given"), "given");
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

RandomModelParams to_random_model_params(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the random model's options");
  RandomModelParams params;
  params.path = text(from, "path");
  params.architecture = text(from, "architecture");
  params.weights = text(from, "weights");
  params.tokenizer = text(from, "tokenizer");
  params.vocabulary = integer(from, "vocabulary");
  params.width = integer(from, "width");
  params.layers = integer(from, "layers");
  params.heads = integer(from, "heads");
  params.heads_kv = integer(from, "headsKv");
  params.feed_forward = integer(from, "feedForward");
  params.context = integer(from, "context");
  params.spread = real(from, "spread");
  params.seed = to_unsigned(from.Get("seed"), "seed");
  params.chat_template = text(from, "chatTemplate");
  return params;
}

Napi::Value from_int32s(Napi::Env env, const std::vector<std::int32_t>& values) {
  return copy_out<Napi::Int32Array>(env, values);
}

Napi::Value from_floats(Napi::Env env, const std::vector<float>& values) {
  return copy_out<Napi::Float32Array>(env, values);
}

Napi::Value from_device(Napi::Env env, const Device& device) {
  Napi::Object to = Napi::Object::New(env);
  to["name"] = device.name;
  to["description"] = device.description;
  to["type"] = device.type;
  to["memoryFree"] = static_cast<double>(device.memory_free);
  to["memoryTotal"] = static_cast<double>(device.memory_total);
  return to;
}

Napi::Value from_facts(Napi::Env env, const ModelFacts& facts) {
  Napi::Object to = Napi::Object::New(env);
  to["path"] = facts.path;
  to["architecture"] = facts.architecture;
  to["description"] = facts.description;
  to["parameters"] = static_cast<double>(facts.parameters);
  to["bytes"] = static_cast<double>(facts.bytes);
  to["contextTrain"] = facts.context_train;
  to["width"] = facts.width;
  to["layers"] = facts.layers;
  to["heads"] = facts.heads;
  to["headsKv"] = facts.heads_kv;
  to["vocabulary"] = facts.vocabulary;
  to["bos"] = facts.bos;
  to["eos"] = facts.eos;
  to["eot"] = facts.eot;
  to["addBos"] = facts.add_bos;
  to["hasTokenizer"] = facts.has_tokenizer;
  to["chatTemplate"] = facts.chat_template ? Napi::Value(Napi::String::New(env, *facts.chat_template)) : env.Null();
  if (facts.rank != nullptr) {
    Napi::Object rank = Napi::Object::New(env);
    rank["encoder"] = facts.rank->encoder;
    set_text_list(rank, "labels", facts.rank->labels);
    rank["template"] = facts.rank->rerank_template;
    rank.Freeze();
    to["rank"] = rank;
  }
  to.Freeze();
  return to;
}

Napi::Value from_facts(Napi::Env env, const HeadFacts& facts) {
  Napi::Object to = Napi::Object::New(env);
  to["path"] = facts.path;
  to["kind"] = facts.kind;
  to["activation"] = facts.activation;
  to["width"] = facts.width;
  to["hidden"] = facts.hidden;
  set_text_list(to, "features", facts.features);
  to["trainedOn"] = facts.trained_on;
  to["modelSha256"] = facts.model_sha256;
  to.Freeze();
  return to;
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
  to["status"] = copy_out<Napi::Uint8Array>(env, advance.status);
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
