// PoolWrap: a Pool in JavaScript. Its jobs, close() and lifetime are those of every KvHandle.
#pragma once

#include <napi.h>

#include <memory>

#include "kv_handle.h"
#include "pool.h"

namespace winnow {

class PoolWrap : public Napi::ObjectWrap<PoolWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Promise create(const Napi::CallbackInfo& info);  // (model, params)

  explicit PoolWrap(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value adapt(const Napi::CallbackInfo& info);
  Napi::Value prefill(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  Napi::Value advance(const Napi::CallbackInfo& info);
  Napi::Value kill(const Napi::CallbackInfo& info);
  Napi::Value park(const Napi::CallbackInfo& info);
  Napi::Value resume(const Napi::CallbackInfo& info);
  Napi::Value reshape(const Napi::CallbackInfo& info);
  Napi::Value end(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value states(const Napi::CallbackInfo& info);
  Napi::Value confidence(const Napi::CallbackInfo& info);
  Napi::Value occupancy(const Napi::CallbackInfo& info);
  Napi::Value sizes(const Napi::CallbackInfo& info);
  void abort(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<KvHandle<Pool>> handle_;
};

}  // namespace winnow
