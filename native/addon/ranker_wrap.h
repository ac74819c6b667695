// RankerWrap: a Ranker in JavaScript, and the head of a decoder that is read on a mirror. Jobs, close() and lifetime
// are those of every KvHandle.
#pragma once

#include <napi.h>

#include <memory>

#include "kv_handle.h"
#include "ranker.h"

namespace winnow {

class RankerWrap : public Napi::ObjectWrap<RankerWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Promise create(const Napi::CallbackInfo& info);  // (model, params)
  static Napi::Value head(const Napi::CallbackInfo& info);      // (model): of a decoder opened as a ranker

  explicit RankerWrap(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value score(const Napi::CallbackInfo& info);
  void abort(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<KvHandle<Ranker>> handle_;
};

}  // namespace winnow
