// PoolWrap: a Pool in JavaScript. One job in flight: a second one is rejected with POOL_BUSY.
//
// Lifetime: OpenPool is shared by the JavaScript object and the job in flight, so either may go first. close() during
// a job asks it to stop, and frees the pool once it has settled.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <vector>

#include "jobs.h"
#include "pool.h"

namespace winnow {

struct OpenPool : Resource {
  std::unique_ptr<Pool> pool;                    // used by the job's thread while busy; null once closed
  Occupancy occupancy;                           // as of the end of the last job
  bool busy = false;                             // a job is in flight, be it the one that frees the pool
  bool closing = false;                          // close() was called
  bool closed = false;                           // the pool is gone, after close() or shutdown
  std::vector<Napi::Promise::Deferred> closers;  // of close(), waiting

  void release() noexcept override {
    closed = true;
    pool.reset();
  }
};

class PoolWrap : public Napi::ObjectWrap<PoolWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Promise create(const Napi::CallbackInfo& info);  // (model, params)

  explicit PoolWrap(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value prefill(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  Napi::Value advance(const Napi::CallbackInfo& info);
  Napi::Value kill(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value states(const Napi::CallbackInfo& info);
  Napi::Value confidence(const Napi::CallbackInfo& info);
  Napi::Value occupancy(const Napi::CallbackInfo& info);
  void abort(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  // Starts a job unless one is in flight or the pool is closed.
  template <typename Result>
  Napi::Value start(Napi::Env env, std::function<Result(Pool&)> work,
                    std::function<Napi::Value(Napi::Env, const Result&)> convert);

  std::shared_ptr<OpenPool> open_;
};

}  // namespace winnow
