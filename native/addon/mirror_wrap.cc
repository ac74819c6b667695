#include "mirror_wrap.h"

#include <utility>
#include <vector>

#include "convert.h"
#include "head_wrap.h"
#include "mirror_values.h"
#include "model_wrap.h"
#include "pool_values.h"

namespace winnow {

using Handle = KvHandle<Mirror>;

Napi::FunctionReference MirrorWrap::define(Napi::Env env) {
  return Napi::Persistent(
      DefineClass(env, "NativeMirror",
                  {InstanceMethod<&MirrorWrap::prefill>("prefill"), InstanceMethod<&MirrorWrap::fork>("fork"),
                   InstanceMethod<&MirrorWrap::score>("score"), InstanceMethod<&MirrorWrap::drop>("drop"),
                   InstanceMethod<&MirrorWrap::occupancy>("occupancy"), InstanceMethod<&MirrorWrap::abort>("abort"),
                   InstanceMethod<&MirrorWrap::close>("close")}));
}

Napi::Promise MirrorWrap::create(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Model> model = ModelWrap::unwrap(info[0]);
  const PoolParams params = to_mirror_params(info[1]);
  using Worker = PromiseWorker<std::shared_ptr<Handle>>;
  Worker::Steps steps;
  steps.work = [model, params] { return std::make_shared<Handle>("mirror", Mirror::create(model, params)); };
  steps.convert = [](Napi::Env env, const std::shared_ptr<Handle>& handle) -> Napi::Value {
    return construct(env, AddonData::of(env).mirror_class, handle);
  };
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

MirrorWrap::MirrorWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<MirrorWrap>(info), handle_(take_constructing<std::shared_ptr<Handle>>(info.Env())) {
  handle_->adopt(info.Env());
}

void MirrorWrap::Finalize(Napi::BasicEnv env) {
  if (handle_ != nullptr) handle_->disown(env);
}

Napi::Value MirrorWrap::prefill(const Napi::CallbackInfo& info) {
  const std::vector<Token> prefix = to_int32s(info[0], "prefix");
  const double deadline = to_number(info[1], "deadlineSeconds");
  return handle_->start<Prefill>(
      info.Env(), [=](Mirror& mirror) { return mirror.prefill(prefix, deadline); }, from_prefill);
}

Napi::Value MirrorWrap::fork(const Napi::CallbackInfo& info) {
  const int count = static_cast<int>(to_integer(info[0], "count", 0, 1 << 30));
  return handle_->start(info.Env(), [=](Mirror& mirror) { mirror.fork(count); });
}

Napi::Value MirrorWrap::score(const Napi::CallbackInfo& info) {
  const std::shared_ptr<const Head> head = HeadWrap::unwrap(info[0]);
  const MirrorRequest request = to_mirror_request(info[1]);
  const double deadline = to_number(info[2], "deadlineSeconds");
  return handle_->start<MirrorScores>(
      info.Env(), [=](Mirror& mirror) { return mirror.score(*head, request, deadline); }, from_mirror_scores);
}

Napi::Value MirrorWrap::drop(const Napi::CallbackInfo& info) {
  const std::vector<std::int32_t> ids = to_int32s(info[0], "ids");
  return handle_->start(info.Env(), [=](Mirror& mirror) { mirror.drop(ids); });
}

Napi::Value MirrorWrap::occupancy(const Napi::CallbackInfo& info) {
  return from_occupancy(info.Env(), handle_->occupancy());
}

void MirrorWrap::abort(const Napi::CallbackInfo&) { handle_->abort(); }

Napi::Value MirrorWrap::close(const Napi::CallbackInfo& info) { return handle_->close(info.Env()); }

}  // namespace winnow
