#include "model_values.h"

#include "convert.h"
#include "rank_head.h"

namespace winnow {

ModelParams to_model_params(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the model options");
  ModelParams params;
  params.path = text_of(from, "path");
  params.gpu_layers = integer_of(from, "gpuLayers", -1);
  const Napi::Array devices = array_of(from, "devices");
  for (std::uint32_t i = 0; i < devices.Length(); ++i) params.devices.push_back(to_text(devices[i], "devices"));
  params.split = text_of(from, "split");
  params.main_gpu = integer_of(from, "mainGpu");
  const Napi::Array shares = array_of(from, "tensorSplit");
  for (std::uint32_t i = 0; i < shares.Length(); ++i)
    params.tensor_split.push_back(static_cast<float>(to_number(shares[i], "tensorSplit")));
  params.mmap = flag_of(from, "mmap");
  params.mlock = flag_of(from, "mlock");
  params.check_tensors = flag_of(from, "checkTensors");
  params.ranker = !from.Get("ranker").IsUndefined() && flag_of(from, "ranker");
  params.weights = from.Get("weights").IsUndefined() || flag_of(from, "weights");
  return params;
}

RandomModelParams to_random_model_params(const Napi::Value& value) {
  const Napi::Object from = to_object(value, "the random model's options");
  RandomModelParams params;
  params.path = text_of(from, "path");
  params.architecture = text_of(from, "architecture");
  params.weights = text_of(from, "weights");
  params.tokenizer = text_of(from, "tokenizer");
  params.vocabulary = integer_of(from, "vocabulary");
  params.width = integer_of(from, "width");
  params.layers = integer_of(from, "layers");
  params.heads = integer_of(from, "heads");
  params.heads_kv = integer_of(from, "headsKv");
  params.feed_forward = integer_of(from, "feedForward");
  params.context = integer_of(from, "context");
  params.spread = real_of(from, "spread");
  params.seed = to_unsigned(from.Get("seed"), "seed");
  params.chat_template = text_of(from, "chatTemplate");
  return params;
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
    rank["labels"] = from_texts(env, facts.rank->labels);
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
  to["features"] = from_texts(env, facts.features);
  to["trainedOn"] = facts.trained_on;
  to["modelSha256"] = facts.model_sha256;
  to.Freeze();
  return to;
}

}  // namespace winnow
