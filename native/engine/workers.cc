#include "workers.h"

#include <algorithm>
#include <system_error>

namespace winnow {

Workers::Workers(int threads) : threads_(std::max(threads, 1)) {}

Workers::~Workers() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  begun_.notify_all();
  for (std::thread& thread : started_) thread.join();
}

void Workers::start() {
  started_.reserve(static_cast<std::size_t>(threads_ - 1));
  while (static_cast<int>(started_.size()) < threads_ - 1) {
    const int worker = static_cast<int>(started_.size()) + 1;
    try {
      started_.emplace_back([this, worker, seen = round_] { serve(worker, seen); });  // round_: only run() changes it
    } catch (const std::system_error&) {
      return;  // no thread to be had: the calling one does the work
    }
  }
}

void Workers::run(int count, const std::function<void(int, int)>& job) {
  if (threads_ == 1 || count < 2) {
    for (int index = 0; index < count; ++index) job(index, 0);
    return;
  }
  start();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    job_ = &job;
    count_ = count;
    busy_ = static_cast<int>(started_.size());
    failure_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    ++round_;
  }
  begun_.notify_all();
  drain(0);
  std::unique_lock<std::mutex> lock(mutex_);
  ended_.wait(lock, [this] { return busy_ == 0; });
  job_ = nullptr;
  if (failure_) std::rethrow_exception(failure_);
}

void Workers::serve(int worker, std::uint64_t seen) {
  for (;;) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      begun_.wait(lock, [&] { return stopping_ || round_ != seen; });
      if (stopping_) return;
      seen = round_;
    }
    drain(worker);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--busy_ == 0) ended_.notify_one();
  }
}

// job_ and count_ were written under the mutex before the round began, and change only when all have left.
void Workers::drain(int worker) {
  try {
    for (int index = next_.fetch_add(1); index < count_; index = next_.fetch_add(1)) (*job_)(index, worker);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

}  // namespace winnow
