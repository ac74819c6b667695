#include "model_wrap.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "addon_data.h"
#include "convert.h"
#include "model_values.h"
#include "promise_worker.h"

namespace winnow {
namespace {

constexpr napi_type_tag kModelTag = {0x77696e6e6f774d6f, 0x64656c0000000001};
constexpr const char* kClosed = "Expected an open model but received a closed one";

struct Progress {
  std::atomic<float> share{0};
  std::atomic<bool> cancelled{false};
  float told = -1;  // JavaScript thread
  Napi::FunctionReference listener;

  void tell(Napi::Env env) {
    const float now = share.load(std::memory_order_relaxed);
    if (listener.IsEmpty() || now == told) return;
    told = now;
    listener.Call({Napi::Number::New(env, static_cast<double>(now))});
  }
};

void check_token(const Model& model, Token token) {
  if (token < 0 || token >= model.facts().vocabulary)
    throw EngineError("TOKEN_INVALID", "Expected a token from 0 to " + std::to_string(model.facts().vocabulary - 1) +
                                           " but received " + std::to_string(token));
}

}  // namespace

Napi::FunctionReference ModelWrap::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "NativeModel",
      {InstanceMethod<&ModelWrap::tokenize>("tokenize"), InstanceMethod<&ModelWrap::detokenize>("detokenize"),
       InstanceMethod<&ModelWrap::token_text>("tokenText"), InstanceMethod<&ModelWrap::close>("close")}));
}

Napi::Promise ModelWrap::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  ModelParams params = to_model_params(info[0]);
  const std::shared_ptr<Progress> progress = std::make_shared<Progress>();
  if (info[1].IsFunction()) {
    progress->listener = Napi::Persistent(info[1].As<Napi::Function>());
  } else if (!info[1].IsUndefined()) {
    throw Napi::TypeError::New(env, "Expected a function for onProgress");
  }
  params.progress = [progress](float share) {
    progress->share.store(share, std::memory_order_relaxed);
    return !progress->cancelled.load(std::memory_order_relaxed);
  };
  using Worker = PromiseWorker<std::shared_ptr<Model>>;
  Worker::Steps steps;
  steps.work = [params] { return Model::load(params); };
  steps.convert = [](Napi::Env on, const std::shared_ptr<Model>& model) -> Napi::Value {
    return construct(on, AddonData::of(on).model_class, model);
  };
  steps.abort = [progress] { progress->cancelled.store(true, std::memory_order_relaxed); };
  steps.tick = [progress](Napi::Env on) { progress->tell(on); };
  steps.settled = [progress](Napi::Env on) { progress->tell(on); };
  return Worker::run(*AddonData::of(env).jobs, env, std::move(steps));
}

std::shared_ptr<Model> ModelWrap::unwrap(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kModelTag))
    throw Napi::TypeError::New(value.Env(), "Expected a native model but received something else");
  const std::shared_ptr<Model> model = Unwrap(value.As<Napi::Object>())->open_->model;
  if (model == nullptr) throw Failure{"CLOSED", kClosed}.to_error(value.Env());
  return model;
}

ModelWrap::ModelWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ModelWrap>(info), open_(std::make_shared<OpenModel>()) {
  open_->model = take_constructing<std::shared_ptr<Model>>(info.Env());
  AddonData::of(info.Env()).jobs->own(open_);
  Napi::Object self = Value();
  self.TypeTag(&kModelTag);
  self.DefineProperty(
      Napi::PropertyDescriptor::Value("facts", from_facts(info.Env(), open_->model->facts()), napi_enumerable));
}

Napi::Value ModelWrap::tokenize(const Napi::CallbackInfo& info) {
  const std::string text = to_text(info[0], "text");
  const bool add_special = to_bool(info[1], "addSpecial"), parse_special = to_bool(info[2], "parseSpecial");
  const std::shared_ptr<Model> model = open_->model;
  if (model == nullptr) return rejected(info.Env(), "CLOSED", kClosed);
  using Worker = PromiseWorker<std::vector<Token>>;
  Worker::Steps steps;
  steps.work = [=] { return model->tokenize(text, add_special, parse_special); };
  steps.convert = from_int32s;
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

Napi::Value ModelWrap::detokenize(const Napi::CallbackInfo& info) {
  const std::vector<Token> tokens = to_int32s(info[0], "tokens");
  const std::vector<std::int32_t> offsets = to_int32s(info[1], "offsets");
  const bool render_special = to_bool(info[2], "renderSpecial");
  const std::vector<std::int32_t> cuts =
      info[3].IsUndefined() ? std::vector<std::int32_t>{} : to_int32s(info[3], "cuts");
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    const std::int32_t low = i == 0 ? 0 : offsets[i - 1];
    to_integer(Napi::Number::New(info.Env(), offsets[i]), "an offset", low, static_cast<std::int64_t>(tokens.size()));
  }
  const std::shared_ptr<Model> model = open_->model;
  if (model == nullptr) return rejected(info.Env(), "CLOSED", kClosed);
  using Worker = PromiseWorker<std::vector<std::string>>;
  Worker::Steps steps;
  steps.work = [=] {
    for (const Token token : tokens) check_token(*model, token);
    std::vector<std::string> texts;
    for (std::size_t i = 1; i < offsets.size(); ++i) {
      std::string text = model->detokenize(tokens.data() + offsets[i - 1],
                                           static_cast<std::size_t>(offsets[i] - offsets[i - 1]), render_special);
      // Of bytes, which a string of JavaScript's no longer has.
      const std::int32_t cut = i <= cuts.size() ? cuts[i - 1] : 0;
      text.resize(text.size() - std::min(text.size(), static_cast<std::size_t>(std::max(cut, 0))));
      texts.push_back(std::move(text));
    }
    return texts;
  };
  steps.convert = from_texts;
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

Napi::Value ModelWrap::token_text(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Model> model = unwrap(info.This());
  const Token token = static_cast<Token>(to_integer(info[0], "token", 0, model->facts().vocabulary - 1));
  return Napi::String::New(info.Env(), call<std::string>(info.Env(), [&] { return model->token_text(token); }));
}

void ModelWrap::close(const Napi::CallbackInfo&) { open_->model.reset(); }

}  // namespace winnow
