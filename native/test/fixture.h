// What the tests share: the llama.cpp libraries, a folder that is deleted at exit, random models written once.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "error.h"
#include "model.h"
#include "pool.h"
#include "random_model.h"

namespace winnow::test {

std::string library_folder();
std::string temp_path(const std::string& name);  // inside the run's own folder
void write_file(const std::string& path, const std::string& bytes);
std::string read_file(const std::string& path);

// Two layers, 512 tokens, 128 wide: small enough for thousands of steps a second.
RandomModelParams small_model(const std::string& architecture = "llama", const std::string& weights = "f16");
// Written on first use; the same parameters give the same file.
std::string model_file(RandomModelParams params);
std::shared_ptr<Model> load(const std::string& path);
// small_model() without a tokenizer, hence without an end token: branches live as long as a test wants. Shared
// by the whole run.
std::shared_ptr<Model> small();

// One thread: ggml's threads wait for each other by spinning, which a busy machine turns into seconds.
PoolParams pool_of(int streams, int cells = 256);
ForkParams fork_of(int count, int max_tokens = 1000, std::uint64_t seed = 7);
std::vector<std::int32_t> ids(int first, int count);

// A pool with one race at a time, which each prefill begins anew.
class Solo {
 public:
  static std::unique_ptr<Solo> create(const std::shared_ptr<Model>& model, const PoolParams& params);

  Prefill prefill(const std::vector<Token>& prompt, double deadline_seconds = 0);
  void fork(const ForkParams& params) { pool_->fork(race_, params); }
  Advance advance(int steps, double deadline_seconds = 0);  // so many steps more
  void kill(const std::vector<std::int32_t>& ids) { pool_->kill(race_, ids); }
  std::vector<float> score(const Head& head, const std::vector<std::int32_t>& ids) const;
  std::vector<float> states(const std::vector<std::int32_t>& ids) const { return pool_->states(race_, ids); }
  std::vector<float> confidence(const std::vector<std::int32_t>& ids) const { return pool_->confidence(race_, ids); }

  Occupancy occupancy() const { return pool_->occupancy(); }
  ContextSizes sizes() const { return pool_->sizes(); }
  void check_integrity() const { pool_->check_integrity(); }
  void request_abort() { pool_->request_abort(); }
  void clear_abort() { pool_->clear_abort(); }
  const PoolParams& params() const { return pool_->params(); }
  Pool& pool() { return *pool_; }
  RaceId race() const { return race_; }

 private:
  explicit Solo(std::unique_ptr<Pool> pool) : pool_(std::move(pool)) {}

  std::unique_ptr<Pool> pool_;
  RaceId race_ = 0;
  int steps_ = 0;  // of the race
};

// Branches' tokens, gathered over calls.
using Written = std::map<std::int32_t, std::vector<Token>>;
void gather(const Advance& advance, Written& into);

// The code of the EngineError that `action` throws, "" when it throws none.
template <typename Action>
std::string code_of(Action action) {
  try {
    action();
  } catch (const EngineError& error) {
    return error.code();
  }
  return "";
}

template <typename Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const EngineError& error) {
    return error.what();
  }
  return "";
}

}  // namespace winnow::test
