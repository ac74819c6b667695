// The one async primitive: work on a job's thread, its result as a promise; and its synchronous sibling. Every
// exception of the engine becomes a JavaScript error here and nowhere else.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "error.h"
#include "jobs.h"

namespace winnow {

struct Failure {
  std::string code;
  std::string message;

  Napi::Error to_error(Napi::Env env) const {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    return error;
  }
};

// Runs `work`; its result, or the failure it threw. Napi errors pass: they only occur on the JavaScript thread.
template <typename Result>
std::pair<std::optional<Result>, Failure> attempt(const std::function<Result()>& work) {
  try {
    return {work(), {}};
  } catch (const EngineError& error) {
    return {std::nullopt, {error.code(), error.what()}};
  } catch (const std::bad_alloc&) {
    return {std::nullopt, {"OUT_OF_MEMORY", "Expected memory for a native operation but the system gave none"}};
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    return {std::nullopt, {"NATIVE", error.what()}};
  }
}

// On the JavaScript thread, at once: throws the failure as a JavaScript error.
template <typename Result>
Result call(Napi::Env env, const std::function<Result()>& work) {
  std::pair<std::optional<Result>, Failure> outcome = attempt(work);
  if (!outcome.first) throw outcome.second.to_error(env);
  return std::move(*outcome.first);
}

template <typename Result>
class PromiseWorker final : public Job {
 public:
  struct Steps {
    std::function<Result()> work;                                  // any thread; touches no JavaScript
    std::function<Napi::Value(Napi::Env, const Result&)> convert;  // JavaScript thread
    std::function<void()> abort = [] {};                           // JavaScript thread, while work runs
    std::function<void(Napi::Env)> tick = [](Napi::Env) {};        // JavaScript thread, while work runs
    std::function<void()> ended = [] {};                           // JavaScript thread, before the promise settles
    std::function<void(Napi::Env)> settled = [](Napi::Env) {};     // JavaScript thread, after it did
  };

  static Napi::Promise run(Jobs& jobs, Napi::Env env, Steps steps) {
    napi_deferred deferred = nullptr;
    napi_value promise = nullptr;
    if (napi_create_promise(env, &deferred, &promise) != napi_ok) throw Napi::Error::New(env);
    jobs.submit(std::unique_ptr<PromiseWorker>(new PromiseWorker(deferred, std::move(steps))));
    return Napi::Promise(env, promise);
  }

  void execute() noexcept override { std::tie(result_, failure_) = attempt(steps_.work); }

  // A worker thread may be told to stop at any moment, and from then on every call into JavaScript fails: hence no
  // throwing call outside the two blocks, and no interest in whether the promise was still there to be settled.
  void settle(Napi::Env env) noexcept override {
    steps_.ended();
    try {
      if (result_) {
        napi_resolve_deferred(env, deferred_, steps_.convert(env, *result_));
      } else {
        napi_reject_deferred(env, deferred_, failure_.to_error(env).Value());
      }
    } catch (const Napi::Error& error) {  // no memory for the result, for example
      napi_reject_deferred(env, deferred_, error.Value());
    }
    try {
      steps_.settled(env);
    } catch (const Napi::Error& error) {
      napi_fatal_exception(env, error.Value());
    }
  }

  void tick(Napi::Env env) override { steps_.tick(env); }
  void request_abort() noexcept override { steps_.abort(); }

 private:
  PromiseWorker(napi_deferred deferred, Steps steps) : steps_(std::move(steps)), deferred_(deferred) {}

  Steps steps_;
  napi_deferred deferred_;
  std::optional<Result> result_;
  Failure failure_;
};

// A promise that is rejected already.
inline Napi::Promise rejected(Napi::Env env, const char* code, const std::string& message) {
  const Napi::Promise::Deferred deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(Failure{code, message}.to_error(env).Value());
  return deferred.Promise();
}

}  // namespace winnow
