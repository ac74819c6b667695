#include "fork_values.h"

#include <algorithm>

#include "convert.h"

namespace winnow {
namespace {

// { tokens, offsets }: list i is tokens[offsets[i]..offsets[i+1]).
std::vector<std::vector<Token>> to_lists(const Napi::Value& value, const char* name) {
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

// Rules and stop strings, as NativeSamplingRules has them.
void to_rules(const Napi::Value& value, ForkParams& params) {
  const Napi::Object from = to_object(value, "rules");
  const Napi::Object penalties = to_object(from.Get("penalties"), "penalties");
  params.rules.penalties.last_n = integer_of(penalties, "lastN");
  params.rules.penalties.repeat = real_of(penalties, "repeat");
  params.rules.penalties.frequency = real_of(penalties, "frequency");
  params.rules.penalties.presence = real_of(penalties, "presence");
  const Napi::Object dry = to_object(from.Get("dry"), "dry");
  params.rules.dry.multiplier = real_of(dry, "multiplier");
  params.rules.dry.base = real_of(dry, "base");
  params.rules.dry.allowed_length = integer_of(dry, "allowedLength");
  params.rules.dry.last_n = integer_of(dry, "lastN");
  params.rules.dry.breakers = texts_of(dry, "breakers");
  const Napi::Object biases = to_object(from.Get("biases"), "biases");
  const std::vector<std::int32_t> tokens = to_int32s(biases.Get("tokens"), "tokens");
  const Napi::Float32Array values = to_float32s(biases.Get("values"), "values");
  if (values.ElementLength() != tokens.size()) throw unexpected(value, "a value for each token", "biases");
  for (std::size_t i = 0; i < tokens.size(); ++i) params.rules.biases.emplace_back(tokens[i], values[i]);
  params.rules.grammar.text = text_of(from, "grammar");
  params.stop = texts_of(from, "stop");
}

}  // namespace

ForkParams to_fork_params(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the fork options");
  ForkParams params;
  params.count = integer_of(from, "count");
  params.seed = to_unsigned(from.Get("seed"), "seed");
  params.first_candidate = static_cast<std::uint32_t>(integer_of(from, "firstCandidate"));
  params.max_tokens = integer_of(from, "maxTokens");
  params.sampling.temperature = real_of(from, "temperature");
  params.sampling.top_k = integer_of(from, "topK");
  params.sampling.top_p = real_of(from, "topP");
  params.sampling.min_p = real_of(from, "minP");
  params.stop_tokens = to_int32s(from.Get("stopTokens"), "stopTokens");
  if (from.Has("certainties")) params.certainties = to_bool(from.Get("certainties"), "certainties");
  if (from.Has("rules")) to_rules(from.Get("rules"), params);
  if (from.Has("keepPrompt")) params.keep_prompt = to_bool(from.Get("keepPrompt"), "keepPrompt");
  if (from.Has("given")) params.given = to_lists(from.Get("given"), "given");
  return params;
}

}  // namespace winnow
