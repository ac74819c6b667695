// KvHandle: what JavaScript holds of KV memory (a Memory: one of the engine's classes with request_abort(),
// clear_abort() and occupancy()). One job in flight: a second one is rejected with POOL_BUSY.
//
// Lifetime: shared by the JavaScript object and the job in flight, so either may go first. close() during a job asks it
// to stop, and frees the memory once it has settled. Everything is called on the JavaScript thread.
#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "addon_data.h"
#include "jobs.h"
#include "pool.h"
#include "promise_worker.h"

namespace winnow {

template <typename Memory>
class KvHandle final : public Resource, public std::enable_shared_from_this<KvHandle<Memory>> {
 public:
  using Nothing = std::monostate;

  // `noun` names the memory in messages and outlives the handle. May be made on a job's thread.
  KvHandle(const char* noun, std::unique_ptr<Memory> memory)
      : noun_(noun), memory_(std::move(memory)), occupancy_(memory_->occupancy()) {}

  // Called by the JavaScript object that holds it, when it is made and when it is collected. The bytes tell the garbage
  // collector what a small object stands for.
  void adopt(Napi::Env env) {
    AddonData::of(env).jobs->own(this->weak_from_this());
    adopted_ = bytes();
    Napi::MemoryManagement::AdjustExternalMemory(env, adopted_);
  }
  void disown(Napi::BasicEnv env) const {
    if (!closing_ && !closed_) Napi::MemoryManagement::AdjustExternalMemory(env, -adopted_);
  }

  // Starts a job unless one is in flight or the memory is closed.
  template <typename Result>
  Napi::Value start(Napi::Env env, std::function<Result(Memory&)> work,
                    std::function<Napi::Value(Napi::Env, const Result&)> convert) {
    if (closing_ || closed_)
      return rejected(env, "CLOSED", std::string("Expected an open ") + noun_ + " but received a closed one");
    if (busy_)
      return rejected(
          env, "POOL_BUSY",
          std::string("Expected a ") + noun_ + " without a job in flight but received one that is still busy");
    const std::shared_ptr<KvHandle> self = this->shared_from_this();
    const std::shared_ptr<Occupancy> after = std::make_shared<Occupancy>(occupancy_);
    using Worker = PromiseWorker<Result>;
    typename Worker::Steps steps;
    steps.work = [self, after, work] {
      try {
        Result result = work(*self->memory_);
        *after = self->memory_->occupancy();
        return result;
      } catch (...) {
        *after = self->memory_->occupancy();
        throw;
      }
    };
    steps.convert = std::move(convert);
    steps.abort = [self] { self->memory_->request_abort(); };
    steps.ended = [self, after] {
      self->busy_ = false;
      self->occupancy_ = *after;
    };
    steps.settled = [self](Napi::Env on) {
      // close() may have been called while the promise was settled, and then the job that frees is in flight already.
      if (self->closing_ && !self->busy_ && !self->closed_) self->free(on);
    };
    memory_->clear_abort();
    busy_ = true;  // first: should queueing fail half way, the job's thread may be running
    return Worker::run(*AddonData::of(env).jobs, env, std::move(steps));
  }

  // A job without a result.
  Napi::Value start(Napi::Env env, std::function<void(Memory&)> work) {
    const auto run = [work](Memory& memory) {
      work(memory);
      return Nothing{};
    };
    return start<Nothing>(env, run, from_nothing);
  }

  const Occupancy& occupancy() const { return occupancy_; }  // as of the end of the last job

  void abort() {
    // Not while the job in flight is the one that frees the memory.
    if (busy_ && !closing_ && !closed_) memory_->request_abort();
  }

  Napi::Value close(Napi::Env env) {
    const Napi::Promise::Deferred closer = Napi::Promise::Deferred::New(env);
    if (closed_) {
      closer.Resolve(env.Undefined());
      return closer.Promise();
    }
    closers_.push_back(closer);
    if (std::exchange(closing_, true)) return closer.Promise();
    if (busy_) {
      memory_->request_abort();
    } else {
      free(env);
    }
    return closer.Promise();
  }

  void release() noexcept override {
    closed_ = true;
    memory_.reset();
  }

 private:
  static Napi::Value from_nothing(Napi::Env env, const Nothing&) { return env.Undefined(); }

  std::int64_t bytes() const { return static_cast<std::int64_t>(occupancy_.kv_bytes); }

  // Freeing a context takes a while, so it is a job too. Only ever called while no other job is in flight.
  void free(Napi::Env env) {
    const std::shared_ptr<KvHandle> self = this->shared_from_this();
    using Worker = PromiseWorker<Nothing>;
    Worker::Steps steps;
    busy_ = true;
    steps.work = [self] {
      self->memory_.reset();
      return Nothing{};
    };
    steps.convert = from_nothing;
    steps.ended = [self] {
      self->busy_ = false;
      self->closed_ = true;
    };
    steps.settled = [self](Napi::Env on) {
      Napi::MemoryManagement::AdjustExternalMemory(on, -self->adopted_);
      for (const Napi::Promise::Deferred& closer : self->closers_) closer.Resolve(on.Undefined());
      self->closers_.clear();
    };
    Worker::run(*AddonData::of(env).jobs, env, std::move(steps));
  }

  const char* noun_;
  std::unique_ptr<Memory> memory_;  // used by the job's thread while busy; null once closed
  Occupancy occupancy_;
  std::int64_t adopted_ = 0;  // bytes that the garbage collector was told of; a pool may take another shape meanwhile
  bool busy_ = false;         // a job is in flight, be it the one that frees the memory
  bool closing_ = false;      // close() was called
  bool closed_ = false;       // the memory is gone, after close() or shutdown
  std::vector<Napi::Promise::Deferred> closers_;  // of close(), waiting
};

}  // namespace winnow
