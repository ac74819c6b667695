#include "pool_wrap.h"

#include <utility>
#include <vector>

#include "adapter_wrap.h"
#include "convert.h"
#include "fork_values.h"
#include "head_wrap.h"
#include "model_wrap.h"
#include "pool_values.h"
#include "sizes_wrap.h"

namespace winnow {

using Handle = KvHandle<Pool>;

Napi::FunctionReference PoolWrap::define(Napi::Env env) {
  return Napi::Persistent(
      DefineClass(env, "NativePool",
                  {InstanceMethod<&PoolWrap::adapt>("adapt"), InstanceMethod<&PoolWrap::prefill>("prefill"),
                   InstanceMethod<&PoolWrap::fork>("fork"), InstanceMethod<&PoolWrap::advance>("advance"),
                   InstanceMethod<&PoolWrap::kill>("kill"), InstanceMethod<&PoolWrap::park>("park"),
                   InstanceMethod<&PoolWrap::resume>("resume"), InstanceMethod<&PoolWrap::reshape>("reshape"),
                   InstanceMethod<&PoolWrap::end>("end"), InstanceMethod<&PoolWrap::score>("score"),
                   InstanceMethod<&PoolWrap::states>("states"), InstanceMethod<&PoolWrap::confidence>("confidence"),
                   InstanceMethod<&PoolWrap::occupancy>("occupancy"), InstanceMethod<&PoolWrap::sizes>("sizes"),
                   InstanceMethod<&PoolWrap::abort>("abort"), InstanceMethod<&PoolWrap::close>("close")}));
}

Napi::Promise PoolWrap::create(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Model> model = ModelWrap::unwrap(info[0]);
  const PoolParams params = to_pool_params(info[1]);
  using Worker = PromiseWorker<std::shared_ptr<Handle>>;
  Worker::Steps steps;
  steps.work = [model, params] { return std::make_shared<Handle>("pool", Pool::create(model, params)); };
  steps.convert = [](Napi::Env env, const std::shared_ptr<Handle>& handle) -> Napi::Value {
    return construct(env, AddonData::of(env).pool_class, handle);
  };
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

PoolWrap::PoolWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<PoolWrap>(info), handle_(take_constructing<std::shared_ptr<Handle>>(info.Env())) {
  handle_->adopt(info.Env());
}

void PoolWrap::Finalize(Napi::BasicEnv env) {
  if (handle_ != nullptr) handle_->disown(env);
}

Napi::Value PoolWrap::adapt(const Napi::CallbackInfo& info) {
  const AdapterSet adapters = AdapterWrap::unwrap_all(info[0]);
  return handle_->start(info.Env(), [=](Pool& pool) { pool.adapt(adapters); });
}

Napi::Value PoolWrap::prefill(const Napi::CallbackInfo& info) {
  const std::vector<Token> prompt = to_int32s(info[0], "prompt");
  const double deadline = to_number(info[1], "deadlineSeconds");
  return handle_->start<Prefill>(
      info.Env(), [=](Pool& pool) { return pool.prefill(prompt, deadline); }, from_prefill);
}

Napi::Value PoolWrap::fork(const Napi::CallbackInfo& info) {
  const RaceId race = to_race(info[0]);
  const ForkParams params = to_fork_params(info[1]);
  return handle_->start(info.Env(), [=](Pool& pool) { pool.fork(race, params); });
}

Napi::Value PoolWrap::advance(const Napi::CallbackInfo& info) {
  const std::vector<Turn> turns = to_turns(info[0], info[2]);
  const double deadline = to_number(info[1], "deadlineSeconds");
  return handle_->start<std::vector<Advance>>(
      info.Env(), [=](Pool& pool) { return pool.advance(turns, deadline); }, from_advances);
}

Napi::Value PoolWrap::kill(const Napi::CallbackInfo& info) {
  const RaceId race = to_race(info[0]);
  const std::vector<std::int32_t> ids = to_int32s(info[1], "ids");
  return handle_->start(info.Env(), [=](Pool& pool) { pool.kill(race, ids); });
}

Napi::Value PoolWrap::park(const Napi::CallbackInfo& info) {
  const RaceId race = to_race(info[0]);
  const std::vector<std::int32_t> ids = to_int32s(info[1], "ids");
  const bool copy = to_bool(info[2], "copy");
  return handle_->start(info.Env(), [=](Pool& pool) { pool.park(race, ids, copy); });
}

Napi::Value PoolWrap::resume(const Napi::CallbackInfo& info) {
  const RaceId race = to_race(info[0]);
  const std::vector<std::int32_t> ids = to_int32s(info[1], "ids");
  return handle_->start<std::int64_t>(
      info.Env(), [=](Pool& pool) { return pool.resume(race, ids); },
      [](Napi::Env env, std::int64_t decoded) -> Napi::Value {
        return Napi::Number::New(env, static_cast<double>(decoded));
      });
}

Napi::Value PoolWrap::reshape(const Napi::CallbackInfo& info) {
  const int streams = static_cast<int>(to_integer(info[0], "streams", 1, kMaxStreams));
  const int cells = static_cast<int>(to_integer(info[1], "cellsPerStream", 1, 1 << 30));
  return handle_->start(info.Env(), [=](Pool& pool) { pool.reshape(streams, cells); });
}

Napi::Value PoolWrap::end(const Napi::CallbackInfo& info) {
  const RaceId race = to_race(info[0]);
  return handle_->start(info.Env(), [=](Pool& pool) { pool.end(race); });
}

Napi::Value PoolWrap::score(const Napi::CallbackInfo& info) {
  const std::shared_ptr<const Head> head = HeadWrap::unwrap(info[0]);
  const RaceId race = to_race(info[1]);
  const std::vector<std::int32_t> ids = to_int32s(info[2], "ids");
  return handle_->start<std::vector<float>>(
      info.Env(), [=](Pool& pool) { return pool.score(*head, race, ids); }, from_floats);
}

Napi::Value PoolWrap::states(const Napi::CallbackInfo& info) {
  const RaceId race = to_race(info[0]);
  const std::vector<std::int32_t> ids = to_int32s(info[1], "ids");
  return handle_->start<std::vector<float>>(
      info.Env(), [=](Pool& pool) { return pool.states(race, ids); }, from_floats);
}

Napi::Value PoolWrap::confidence(const Napi::CallbackInfo& info) {
  const RaceId race = to_race(info[0]);
  const std::vector<std::int32_t> ids = to_int32s(info[1], "ids");
  return handle_->start<std::vector<float>>(
      info.Env(), [=](Pool& pool) { return pool.confidence(race, ids); }, from_floats);
}

Napi::Value PoolWrap::occupancy(const Napi::CallbackInfo& info) {
  return from_occupancy(info.Env(), handle_->occupancy());
}

Napi::Value PoolWrap::sizes(const Napi::CallbackInfo& info) {
  return handle_->start<ContextSizes>(
      info.Env(), [](Pool& pool) { return pool.sizes(); }, from_sizes);
}

void PoolWrap::abort(const Napi::CallbackInfo&) { handle_->abort(); }

Napi::Value PoolWrap::close(const Napi::CallbackInfo& info) { return handle_->close(info.Env()); }

}  // namespace winnow
