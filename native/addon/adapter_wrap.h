// AdapterWrap: a LoRA adapter in JavaScript. Holds one reference; pools and jobs that use it hold their own.
#pragma once

#include <napi.h>

#include <memory>

#include "adapter.h"
#include "jobs.h"

namespace winnow {

// Null after close(), and once the environment is shut down.
struct OpenAdapter : Resource {
  std::shared_ptr<const Adapter> adapter;
  void release() noexcept override { adapter.reset(); }
};

class AdapterWrap : public Napi::ObjectWrap<AdapterWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Promise load(const Napi::CallbackInfo& info);  // (model, path)
  // Out of an array of { adapter, scale }. Throws a TypeError for anything else, and CLOSED after close() of one.
  static AdapterSet unwrap_all(const Napi::Value& value);

  explicit AdapterWrap(const Napi::CallbackInfo& info);

 private:
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<OpenAdapter> open_;
};

}  // namespace winnow
