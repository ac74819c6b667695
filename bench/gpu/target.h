// Target: the device that is measured, and a model on it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "model.h"
#include "pool.h"
#include "program.h"

// Options of every program: --libs FOLDER (llama.cpp's libraries) [--device gpu|cpu] [--threads 0 (one a core)].
// Loads the backends. Throws where no GPU is found and one was asked for.
struct Target {
  explicit Target(Arguments& arguments);

  std::shared_ptr<winnow::Model> open(const std::string& path) const;
  // Of `streams` times `cells`, without states.
  winnow::PoolParams pool_params(int streams, int cells) const;

  winnow::Device device;
  int threads = 0;
};

// A model's name in rows: that of its file.
std::string name_of(const std::string& path);

// Ordinary tokens spread over the vocabulary, none of the special ones that tokenizers put first: the ids of
// bench/baselines. `at` tells one list from the next.
std::vector<winnow::Token> made_up_tokens(int count, int vocabulary, int at = 0);

// A linear head's weights, one for each column of the state.
std::vector<float> made_up_head(int width);
