// ModelWrap: a Model in JavaScript. Holds one reference to the weights; pools and jobs hold their own.
#pragma once

#include <napi.h>

#include <memory>

#include "jobs.h"
#include "model.h"

namespace winnow {

// Null after close(), and once the environment is shut down.
struct OpenModel : Resource {
  std::shared_ptr<Model> model;
  void release() noexcept override { model.reset(); }
};

class ModelWrap : public Napi::ObjectWrap<ModelWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Promise load(const Napi::CallbackInfo& info);  // (params, onProgress?)
  // The model behind an argument. Throws a TypeError for anything else, and CLOSED after close().
  static std::shared_ptr<Model> unwrap(const Napi::Value& value);

  explicit ModelWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value tokenize(const Napi::CallbackInfo& info);
  Napi::Value detokenize(const Napi::CallbackInfo& info);
  Napi::Value token_text(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<OpenModel> open_;
};

}  // namespace winnow
