#include "head_wrap.h"

#include <string>
#include <utility>
#include <vector>

#include "addon_data.h"
#include "confidence.h"
#include "convert.h"
#include "model_values.h"
#include "promise_worker.h"

namespace winnow {
namespace {

constexpr napi_type_tag kHeadTag = {0x77696e6e6f774865, 0x6164000000000001};

}  // namespace

Napi::FunctionReference HeadWrap::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "NativeHead", {InstanceMethod<&HeadWrap::apply>("apply"), InstanceMethod<&HeadWrap::close>("close")}));
}

Napi::Promise HeadWrap::load(const Napi::CallbackInfo& info) {
  const std::string path = to_text(info[0], "path");
  using Worker = PromiseWorker<std::shared_ptr<const Head>>;
  Worker::Steps steps;
  steps.work = [path] { return Head::load(path); };
  steps.convert = [](Napi::Env env, const std::shared_ptr<const Head>& head) -> Napi::Value {
    return construct(env, AddonData::of(env).head_class, head);
  };
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

std::shared_ptr<const Head> HeadWrap::unwrap(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kHeadTag))
    throw Napi::TypeError::New(value.Env(), "Expected a native head but received something else");
  const std::shared_ptr<const Head> head = Unwrap(value.As<Napi::Object>())->head_;
  if (head == nullptr) throw Failure{"CLOSED", "Expected an open head but received a closed one"}.to_error(value.Env());
  return head;
}

HeadWrap::HeadWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<HeadWrap>(info), head_(take_constructing<std::shared_ptr<const Head>>(info.Env())) {
  Napi::Object self = Value();
  self.TypeTag(&kHeadTag);
  self.DefineProperty(
      Napi::PropertyDescriptor::Value("facts", from_facts(info.Env(), head_->facts()), napi_enumerable));
}

Napi::Value HeadWrap::apply(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<const Head> head = unwrap(info.This());
  const Napi::Float32Array states = to_float32s(info[0], "states");
  const Napi::Float32Array features = to_float32s(info[1], "features");
  const std::size_t width = static_cast<std::size_t>(head->facts().width);
  const std::size_t rows = features.ElementLength() / kFeatures;
  if (features.ElementLength() != rows * kFeatures || states.ElementLength() != rows * width)
    throw Failure{"HEAD_WIDTH", "Expected rows of " + std::to_string(width) + " states and " +
                                    std::to_string(kFeatures) + " features but received " +
                                    std::to_string(states.ElementLength()) + " and " +
                                    std::to_string(features.ElementLength()) + " numbers"}
        .to_error(env);
  return from_floats(env, call<std::vector<float>>(env, [&] {
                       std::vector<float> scores(rows);
                       if (rows > 0) head->apply(states.Data(), features.Data(), rows, scores.data());
                       return scores;
                     }));
}

void HeadWrap::close(const Napi::CallbackInfo&) { head_.reset(); }

}  // namespace winnow
