// What the tests share: the llama.cpp libraries, a folder that is deleted at exit, random models written once.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
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
