// HeadWrap: a reward head in JavaScript. Immutable; pools and jobs that use it hold their own reference.
#pragma once

#include <napi.h>

#include <memory>

#include "head.h"

namespace winnow {

class HeadWrap : public Napi::ObjectWrap<HeadWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Promise load(const Napi::CallbackInfo& info);  // (path)
  // Throws a TypeError for anything but a head, and CLOSED after close().
  static std::shared_ptr<const Head> unwrap(const Napi::Value& value);

  explicit HeadWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value apply(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<const Head> head_;  // null after close()
};

}  // namespace winnow
