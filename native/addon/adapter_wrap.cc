#include "adapter_wrap.h"

#include <string>
#include <utility>

#include "addon_data.h"
#include "convert.h"
#include "model_wrap.h"
#include "promise_worker.h"

namespace winnow {
namespace {

constexpr napi_type_tag kAdapterTag = {0x77696e6e6f774164, 0x6170746572000001};

Napi::Object from_facts(Napi::Env env, const AdapterFacts& facts) {
  Napi::Array devices = Napi::Array::New(env, facts.devices.size());
  for (std::size_t i = 0; i < facts.devices.size(); ++i) {
    Napi::Object device = Napi::Object::New(env);
    device["device"] = facts.devices[i].device;
    device["bytes"] = static_cast<double>(facts.devices[i].bytes);
    devices[static_cast<std::uint32_t>(i)] = device;
  }
  Napi::Object to = Napi::Object::New(env);
  to["path"] = facts.path;
  to["name"] = facts.name;
  to["task"] = facts.task;
  to["alpha"] = static_cast<double>(facts.alpha);
  to["tensors"] = facts.tensors;
  to["ignored"] = facts.ignored;
  to["devices"] = devices;
  return to;
}

}  // namespace

Napi::FunctionReference AdapterWrap::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "NativeAdapter", {InstanceMethod<&AdapterWrap::close>("close")}));
}

Napi::Promise AdapterWrap::load(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Model> model = ModelWrap::unwrap(info[0]);
  const std::string path = to_text(info[1], "path");
  using Worker = PromiseWorker<std::shared_ptr<const Adapter>>;
  Worker::Steps steps;
  steps.work = [model, path] { return Adapter::load(model, path); };
  steps.convert = [](Napi::Env env, const std::shared_ptr<const Adapter>& adapter) -> Napi::Value {
    return construct(env, AddonData::of(env).adapter_class, adapter);
  };
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

AdapterSet AdapterWrap::unwrap_all(const Napi::Value& value) {
  const Napi::Env env = value.Env();
  if (!value.IsArray()) throw Napi::TypeError::New(env, "Expected an array of adapters but received something else");
  const Napi::Array list = value.As<Napi::Array>();
  AdapterSet set;
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Object each = to_object(list.Get(i), "an adapter");
    const Napi::Value held = each.Get("adapter");
    if (!held.IsObject() || !held.As<Napi::Object>().CheckTypeTag(&kAdapterTag))
      throw Napi::TypeError::New(env, "Expected a native adapter but received something else");
    const std::shared_ptr<const Adapter> adapter = Unwrap(held.As<Napi::Object>())->open_->adapter;
    if (adapter == nullptr) throw Failure{"CLOSED", "Expected an open adapter but received a closed one"}.to_error(env);
    set.push_back({adapter, static_cast<float>(to_number(each.Get("scale"), "scale"))});
  }
  return set;
}

AdapterWrap::AdapterWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<AdapterWrap>(info), open_(std::make_shared<OpenAdapter>()) {
  open_->adapter = take_constructing<std::shared_ptr<const Adapter>>(info.Env());
  AddonData::of(info.Env()).jobs->own(open_);
  Napi::Object self = Value();
  self.TypeTag(&kAdapterTag);
  self.DefineProperty(
      Napi::PropertyDescriptor::Value("facts", from_facts(info.Env(), open_->adapter->facts()), napi_enumerable));
}

void AdapterWrap::close(const Napi::CallbackInfo&) { open_->adapter.reset(); }

}  // namespace winnow
