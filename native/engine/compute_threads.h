// The threads a context computes with on the CPU, kept between calls. Without them llama.cpp starts new ones for every
// graph; beside a caller whose own thread is new as well, as every job's is, the kernel then often puts two that wait
// for each other by spinning on one core, and a step takes tens of milliseconds instead of one.
#pragma once

struct ggml_threadpool;
struct llama_context;

namespace winnow {

class ComputeThreads {
 public:
  // `count` threads, the caller's among them. No effect where the CPU backend offers none. Throws OUT_OF_MEMORY where
  // the system has no more threads to give.
  explicit ComputeThreads(int count);
  ~ComputeThreads();
  ComputeThreads(const ComputeThreads&) = delete;
  ComputeThreads& operator=(const ComputeThreads&) = delete;

  // The context must be freed before this is.
  void attach(llama_context* context) const;

 private:
  ggml_threadpool* pool_ = nullptr;
};

}  // namespace winnow
