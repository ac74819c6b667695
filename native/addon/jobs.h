// Jobs: the native work of one JavaScript environment (the main thread, or one worker thread).
//
// Each job runs on a thread of its own. One libuv work item waits for the next job to end, at most kTick at a time,
// and settles promises on the JavaScript thread. Why not simply Napi::AsyncWorker: when an environment is torn down,
// Node first waits for work items to end and only then calls cleanup hooks, so a worker that is terminated during a
// long decode would hang until that decode ends, and AsyncWorker's completion then throws in an environment where no
// JavaScript can run, which ends the process (both measured on Node 20). Why not a thread-safe function: one in flight
// at worker exit aborts (nodejs/node#65100). Here the wait is short, so the cleanup hook comes soon, and it aborts.
//
// Everything is called on the JavaScript thread unless said otherwise.
#pragma once

#include <napi.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace winnow {

class Job {
 public:
  virtual ~Job() = default;
  virtual void execute() noexcept = 0;              // on the job's thread
  virtual void settle(Napi::Env env) noexcept = 0;  // after execute()
  virtual void tick(Napi::Env env) = 0;             // now and then while it runs
  virtual void request_abort() noexcept = 0;        // ask execute() to return soon
};

// Native memory that must be gone before llama.cpp's own static objects are.
class Resource {
 public:
  virtual ~Resource() = default;
  virtual void release() noexcept = 0;
};

class Jobs : public std::enable_shared_from_this<Jobs> {
 public:
  static constexpr std::chrono::milliseconds kTick{50};

  static std::shared_ptr<Jobs> create(Napi::Env env);

  void submit(std::unique_ptr<Job> job);
  // Called after settling; hands log lines to JavaScript.
  void on_tick(std::function<void(Napi::Env)> drain) { drain_ = std::move(drain); }
  // Released by shutdown() in reverse order of this call, unless gone by then.
  void own(std::weak_ptr<Resource> resource);

  // Aborts every job, waits for their threads, releases what is owned. No JavaScript is run and no promise settled.
  // From the environment's cleanup hook or its 'exit' event, whichever comes first; later jobs are refused.
  void shutdown() noexcept;

 private:
  struct Running {
    std::shared_ptr<Job> job;  // shared with a tick, which may end in shutdown()
    std::thread thread;
    bool done = false;  // guarded by mutex_
  };

  explicit Jobs(Napi::Env env) : env_(env) {}
  void wait() noexcept;  // on a libuv thread
  void queue_wait();
  void settle_done();
  static void wait_complete(napi_env env, napi_status status, void* data);

  Napi::Env env_;
  std::function<void(Napi::Env)> drain_;
  std::list<Running> running_;  // changed on the JavaScript thread only, under mutex_; references stay valid
  std::vector<std::weak_ptr<Resource>> owned_;
  bool waiting_ = false;
  bool closed_ = false;
  std::mutex mutex_;
  std::condition_variable ended_;
};

}  // namespace winnow
