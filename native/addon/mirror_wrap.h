// MirrorWrap: a Mirror in JavaScript. Its jobs, close() and lifetime are those of every KvHandle.
#pragma once

#include <napi.h>

#include <memory>

#include "kv_handle.h"
#include "mirror.h"

namespace winnow {

class MirrorWrap : public Napi::ObjectWrap<MirrorWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Promise create(const Napi::CallbackInfo& info);  // (model, params)

  explicit MirrorWrap(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value prefill(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value drop(const Napi::CallbackInfo& info);
  Napi::Value occupancy(const Napi::CallbackInfo& info);
  void abort(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<KvHandle<Mirror>> handle_;
};

}  // namespace winnow
