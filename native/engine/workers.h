// Workers: a few threads that share the rows of one sampling step. They sleep between steps; they are started
// on first use, so a pool that never has enough rows never starts any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace winnow {

class Workers {
 public:
  explicit Workers(int threads);  // the calling thread included; at least 1
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  int threads() const { return threads_; }

  // Calls job(index, worker) for every index below `count`, each once, in any order, on any of the threads;
  // worker is 0..threads-1. Returns when all are done; rethrows the first exception. One call at a time.
  void run(int count, const std::function<void(int index, int worker)>& job);

 private:
  void start();
  void serve(int worker, std::uint64_t seen);  // seen: the last round before it was started
  void drain(int worker);

  const int threads_;
  std::vector<std::thread> started_;
  std::mutex mutex_;  // guards everything below but next_
  std::condition_variable begun_, ended_;
  const std::function<void(int, int)>* job_ = nullptr;
  int count_ = 0;
  int busy_ = 0;  // workers that have not finished the current round
  std::uint64_t round_ = 0;
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::atomic<int> next_{0};
};

}  // namespace winnow
