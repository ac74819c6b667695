#include "pool_wrap.h"

#include <string>
#include <utility>
#include <variant>

#include "addon_data.h"
#include "convert.h"
#include "head_wrap.h"
#include "model_wrap.h"
#include "promise_worker.h"

namespace winnow {
namespace {

constexpr const char* kClosed = "Expected an open pool but received a closed one";
using Nothing = std::monostate;

Napi::Value from_nothing(Napi::Env env, const Nothing&) { return env.Undefined(); }

// Freeing a context takes a while, so it is a job too. Only ever called while no other job is in flight.
void free_pool(const std::shared_ptr<OpenPool>& open, Napi::Env env) {
  using Worker = PromiseWorker<Nothing>;
  Worker::Steps steps;
  open->busy = true;
  steps.work = [open] {
    open->pool.reset();
    return Nothing{};
  };
  steps.convert = from_nothing;
  steps.ended = [open] {
    open->busy = false;
    open->closed = true;
  };
  steps.settled = [open](Napi::Env on) {
    Napi::MemoryManagement::AdjustExternalMemory(on, -static_cast<std::int64_t>(open->occupancy.kv_bytes));
    for (const Napi::Promise::Deferred& closer : open->closers) closer.Resolve(on.Undefined());
    open->closers.clear();
  };
  Worker::run(*AddonData::of(env).jobs, env, std::move(steps));
}

}  // namespace

Napi::FunctionReference PoolWrap::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "NativePool",
      {InstanceMethod<&PoolWrap::prefill>("prefill"), InstanceMethod<&PoolWrap::fork>("fork"),
       InstanceMethod<&PoolWrap::advance>("advance"), InstanceMethod<&PoolWrap::kill>("kill"),
       InstanceMethod<&PoolWrap::score>("score"), InstanceMethod<&PoolWrap::states>("states"),
       InstanceMethod<&PoolWrap::confidence>("confidence"), InstanceMethod<&PoolWrap::occupancy>("occupancy"),
       InstanceMethod<&PoolWrap::abort>("abort"), InstanceMethod<&PoolWrap::close>("close")}));
}

Napi::Promise PoolWrap::create(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Model> model = ModelWrap::unwrap(info[0]);
  const PoolParams params = to_pool_params(info[1]);
  using Worker = PromiseWorker<std::shared_ptr<OpenPool>>;
  Worker::Steps steps;
  steps.work = [model, params] {
    const std::shared_ptr<OpenPool> open = std::make_shared<OpenPool>();
    open->pool = Pool::create(model, params);
    open->occupancy = open->pool->occupancy();
    return open;
  };
  steps.convert = [](Napi::Env env, const std::shared_ptr<OpenPool>& open) -> Napi::Value {
    return construct(env, AddonData::of(env).pool_class, open);
  };
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

PoolWrap::PoolWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<PoolWrap>(info), open_(take_constructing<std::shared_ptr<OpenPool>>(info.Env())) {
  AddonData::of(info.Env()).jobs->own(open_);
  // So that the garbage collector knows what a small object holds.
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), static_cast<std::int64_t>(open_->occupancy.kv_bytes));
}

void PoolWrap::Finalize(Napi::BasicEnv env) {
  if (open_ != nullptr && !open_->closing && !open_->closed)
    Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<std::int64_t>(open_->occupancy.kv_bytes));
}

template <typename Result>
Napi::Value PoolWrap::start(Napi::Env env, std::function<Result(Pool&)> work,
                            std::function<Napi::Value(Napi::Env, const Result&)> convert) {
  const std::shared_ptr<OpenPool> open = open_;
  if (open->closing || open->closed) return rejected(env, "CLOSED", kClosed);
  if (open->busy)
    return rejected(env, "POOL_BUSY", "Expected a pool without a job in flight but received one that is still busy");
  using Worker = PromiseWorker<Result>;
  typename Worker::Steps steps;
  const std::shared_ptr<Occupancy> after = std::make_shared<Occupancy>(open->occupancy);
  steps.work = [open, after, work] {
    Result result = work(*open->pool);
    *after = open->pool->occupancy();
    return result;
  };
  steps.convert = std::move(convert);
  steps.abort = [open] { open->pool->request_abort(); };
  steps.ended = [open, after] {
    open->busy = false;
    open->occupancy = *after;
  };
  steps.settled = [open](Napi::Env on) {
    // close() may have been called while the promise was settled, and then the job that frees is in flight already.
    if (open->closing && !open->busy && !open->closed) free_pool(open, on);
  };
  open->pool->clear_abort();
  open->busy = true;  // first: should queueing fail half way, the job's thread may be running
  return Worker::run(*AddonData::of(env).jobs, env, std::move(steps));
}

Napi::Value PoolWrap::prefill(const Napi::CallbackInfo& info) {
  const std::vector<Token> prompt = to_int32s(info[0], "prompt");
  const double deadline = to_number(info[1], "deadlineSeconds");
  return start<Prefill>(
      info.Env(), [=](Pool& pool) { return pool.prefill(prompt, deadline); }, from_prefill);
}

Napi::Value PoolWrap::fork(const Napi::CallbackInfo& info) {
  const ForkParams params = to_fork_params(info[0]);
  const auto work = [=](Pool& pool) {
    pool.fork(params);
    return Nothing{};
  };
  return start<Nothing>(info.Env(), work, from_nothing);
}

Napi::Value PoolWrap::advance(const Napi::CallbackInfo& info) {
  const int steps = static_cast<int>(to_integer(info[0], "steps", 1, 1 << 30));
  const double deadline = to_number(info[1], "deadlineSeconds");
  return start<Advance>(
      info.Env(), [=](Pool& pool) { return pool.advance(steps, deadline); }, from_advance);
}

Napi::Value PoolWrap::kill(const Napi::CallbackInfo& info) {
  const std::vector<std::int32_t> ids = to_int32s(info[0], "ids");
  const auto work = [=](Pool& pool) {
    pool.kill(ids);
    return Nothing{};
  };
  return start<Nothing>(info.Env(), work, from_nothing);
}

Napi::Value PoolWrap::score(const Napi::CallbackInfo& info) {
  const std::shared_ptr<const Head> head = HeadWrap::unwrap(info[0]);
  const std::vector<std::int32_t> ids = to_int32s(info[1], "ids");
  return start<std::vector<float>>(
      info.Env(), [=](Pool& pool) { return pool.score(*head, ids); }, from_floats);
}

Napi::Value PoolWrap::states(const Napi::CallbackInfo& info) {
  const std::vector<std::int32_t> ids = to_int32s(info[0], "ids");
  return start<std::vector<float>>(
      info.Env(), [=](Pool& pool) { return pool.states(ids); }, from_floats);
}

Napi::Value PoolWrap::confidence(const Napi::CallbackInfo& info) {
  const std::vector<std::int32_t> ids = to_int32s(info[0], "ids");
  return start<std::vector<float>>(
      info.Env(), [=](Pool& pool) { return pool.confidence(ids); }, from_floats);
}

Napi::Value PoolWrap::occupancy(const Napi::CallbackInfo& info) { return from_occupancy(info.Env(), open_->occupancy); }

void PoolWrap::abort(const Napi::CallbackInfo&) {
  // Not while the job in flight is the one that frees the pool.
  if (open_->busy && !open_->closing && !open_->closed) open_->pool->request_abort();
}

Napi::Value PoolWrap::close(const Napi::CallbackInfo& info) {
  const Napi::Promise::Deferred closer = Napi::Promise::Deferred::New(info.Env());
  if (open_->closed) {
    closer.Resolve(info.Env().Undefined());
    return closer.Promise();
  }
  open_->closers.push_back(closer);
  if (std::exchange(open_->closing, true)) return closer.Promise();
  if (open_->busy) {
    open_->pool->request_abort();
  } else {
    free_pool(open_, info.Env());
  }
  return closer.Promise();
}

}  // namespace winnow
