#include "jobs.h"

#include <algorithm>
#include <system_error>

namespace winnow {
namespace {

// False once Node tears the environment down. Reading the global object is not enough: only calls that may run
// JavaScript are refused.
bool can_run_javascript(napi_env env) {
  napi_value object, undefined;
  return napi_create_object(env, &object) == napi_ok && napi_get_undefined(env, &undefined) == napi_ok &&
         napi_set_named_property(env, object, "probe", undefined) == napi_ok;
}

struct Wait {
  std::shared_ptr<Jobs> jobs;
  napi_async_work work = nullptr;
};

}  // namespace

std::shared_ptr<Jobs> Jobs::create(Napi::Env env) {
  std::shared_ptr<Jobs> jobs(new Jobs(env));
  // The hook keeps it alive until it ran; instance data may be gone before.
  napi_add_env_cleanup_hook(
      env,
      [](void* data) {
        const std::unique_ptr<std::shared_ptr<Jobs>> held(static_cast<std::shared_ptr<Jobs>*>(data));
        (*held)->shutdown();
      },
      new std::shared_ptr<Jobs>(jobs));
  return jobs;
}

void Jobs::submit(std::unique_ptr<Job> job) {
  if (closed_) throw Napi::Error::New(env_, "Expected native work before the process exits but received it after");
  std::unique_lock lock(mutex_);
  Running& running = running_.emplace_back();
  running.job = std::move(job);
  try {
    running.thread = std::thread([this, &running] {
      running.job->execute();
      const std::lock_guard done(mutex_);
      running.done = true;
      ended_.notify_all();
    });
  } catch (const std::system_error&) {  // no more threads: late is better than never
    running.job->execute();
    running.done = true;
  }
  lock.unlock();
  if (!waiting_) queue_wait();
}

void Jobs::own(std::weak_ptr<Resource> resource) {
  std::erase_if(owned_, [](const std::weak_ptr<Resource>& other) { return other.expired(); });
  owned_.push_back(std::move(resource));
}

void Jobs::queue_wait() {
  Wait* wait = new Wait{shared_from_this()};
  const Napi::String name = Napi::String::New(env_, "winnow");
  const auto execute = [](napi_env, void* data) { static_cast<Wait*>(data)->jobs->wait(); };
  napi_status status = napi_create_async_work(env_, nullptr, name, execute, wait_complete, wait, &wait->work);
  if (status == napi_ok) status = napi_queue_async_work(env_, wait->work);
  if (status != napi_ok) {
    delete wait;
    throw Napi::Error::New(env_, "Node refused to queue native work");
  }
  waiting_ = true;
}

void Jobs::wait() noexcept {
  std::unique_lock lock(mutex_);
  ended_.wait_for(lock, kTick, [this] {
    return std::any_of(running_.begin(), running_.end(), [](const Running& running) { return running.done; });
  });
}

void Jobs::wait_complete(napi_env raw, napi_status, void* data) {
  const std::unique_ptr<Wait> wait(static_cast<Wait*>(data));
  Jobs& jobs = *wait->jobs;
  napi_delete_async_work(raw, wait->work);
  jobs.waiting_ = false;
  if (jobs.closed_ || !can_run_javascript(raw)) return;  // the cleanup hook is next
  const Napi::Env env(raw);
  try {
    jobs.settle_done();
    // A callback may end in shutdown(), by process.exit() in a worker thread for example: that empties running_.
    std::vector<std::shared_ptr<Job>> ticking;
    for (const Running& running : jobs.running_) ticking.push_back(running.job);
    for (const std::shared_ptr<Job>& job : ticking)
      if (!jobs.closed_) job->tick(env);
    if (jobs.drain_) jobs.drain_(env);
  } catch (const Napi::Error& error) {
    // A logger or progress callback threw: that is the program's uncaught exception, not the job's failure.
    napi_fatal_exception(raw, error.Value());
  }
  try {
    if (!jobs.running_.empty() && !jobs.waiting_) jobs.queue_wait();
  } catch (const Napi::Error&) {  // only where the environment is closing: the cleanup hook is next
  }
}

void Jobs::settle_done() {
  std::list<Running> done;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = running_.begin(); at != running_.end();) {
      const auto next = std::next(at);
      if (at->done) done.splice(done.end(), running_, at);
      at = next;
    }
  }
  for (Running& running : done)
    if (running.thread.joinable()) running.thread.join();
  for (Running& running : done) running.job->settle(env_);
}

void Jobs::shutdown() noexcept {
  if (closed_) return;
  closed_ = true;
  for (Running& running : running_) running.job->request_abort();
  for (Running& running : running_)
    if (running.thread.joinable()) running.thread.join();
  std::list<Running> ended;
  {
    const std::lock_guard lock(mutex_);  // wait() may be looking at it, on its libuv thread
    ended.swap(running_);
  }
  ended.clear();
  for (auto resource = owned_.rbegin(); resource != owned_.rend(); ++resource)
    if (const std::shared_ptr<Resource> alive = resource->lock()) alive->release();
  owned_.clear();
}

}  // namespace winnow
