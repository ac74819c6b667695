// What one JavaScript environment has: its jobs, the constructors of its classes, its logger. Never static, because
// every worker thread loads the addon anew.
#pragma once

#include <napi.h>

#include <memory>

#include "jobs.h"
#include "log_ring.h"

namespace winnow {

struct AddonData {
  std::shared_ptr<Jobs> jobs;
  std::shared_ptr<LogRing> log;
  Napi::FunctionReference logger;
  Napi::FunctionReference model_class, adapter_class, head_class, pool_class, mirror_class, ranker_class;
  // Only the addon makes instances: set around a constructor call, taken by it. JavaScript can reach the
  // constructors through `instance.constructor`, and finds nothing here.
  void* constructing = nullptr;

  static AddonData& of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }
};

// Hands `value` to the constructor of `type` and returns the instance.
template <typename Value>
Napi::Object construct(Napi::Env env, const Napi::FunctionReference& type, Value value) {
  AddonData& data = AddonData::of(env);
  data.constructing = &value;
  const Napi::Object instance = type.New({});
  data.constructing = nullptr;
  return instance;
}

// The other side of construct(). Throws where JavaScript called `new`.
template <typename Value>
Value take_constructing(Napi::Env env) {
  void* const value = std::exchange(AddonData::of(env).constructing, nullptr);
  if (value == nullptr)
    throw Napi::TypeError::New(env, "Expected winnow to make this object but received a call of its constructor");
  return std::move(*static_cast<Value*>(value));
}

}  // namespace winnow
