// Batch: the rows that are computed at once, the context that computes them, and what a failure in there leaves.
// Decoders (Streams) and encoders (Ranker) differ in what they call and what they read afterwards, in nothing else.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapter.h"
#include "compute_threads.h"
#include "model.h"

struct llama_batch;
struct llama_context_params;

namespace winnow {

struct FreeContext {
  void operator()(llama_context* context) const;
};
using OwnedContext = std::unique_ptr<llama_context, FreeContext>;

class Batch {
 public:
  using Clock = std::chrono::steady_clock;

  // Makes the context, which computes with `threads` threads; `abort` outlives the batch. Throws what make_context
  // says.
  Batch(std::shared_ptr<Model> model, const llama_context_params& params, int threads, const std::atomic<bool>& abort);
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  const std::shared_ptr<Model>& model() const { return model_; }
  llama_context* context() const { return context_.get(); }  // nullptr after some of the failures
  // Computes with these from now on. Throws what set_adapters does, and ends this batch where that leaves it useless.
  void adapt(const AdapterSet& adapters);
  void resize(int rows);  // once, before the first row is set
  int rows() const { return static_cast<int>(tokens_.size()); }
  void set_row(int row, Token token, int position, int sequence, bool output);

  // Computes the first `rows` rows: `call` hands them to llama.cpp, reads what it made of them, and returns its code.
  // False when the interrupt cut it short, which only happens between arm() and disarm(). Any failure throws, and ends
  // this batch. `verb` is what llama.cpp was asked to do, for the message.
  bool compute(int rows, const char* verb, const std::function<int(llama_context*, const llama_batch&)>& call);
  bool dead() const { return dead_; }
  void end() { dead_ = true; }

  // While armed, a computation on the CPU stops between two nodes of its graph once the abort flag is set or the
  // deadline has passed.
  void arm(Clock::time_point deadline);
  void disarm() { armed_ = false; }
  bool due() const { return abort_.load(std::memory_order_relaxed) || Clock::now() >= deadline_; }

 private:
  static bool on_interrupt(void* data);

  std::shared_ptr<Model> model_;  // outlives the context
  AdapterSet adapters_;           // likewise
  const std::atomic<bool>& abort_;
  const int thread_count_;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool armed_ = false;
  bool dead_ = false;

  std::vector<Token> tokens_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> sequence_counts_;  // always 1: a row belongs to one sequence
  std::vector<std::int32_t> sequences_;
  std::vector<std::int32_t*> sequence_lists_;  // -> sequences_
  std::vector<std::int8_t> outputs_;

  std::unique_ptr<ComputeThreads> threads_;  // outlives the context that computes with them
  OwnedContext context_;
};

}  // namespace winnow
