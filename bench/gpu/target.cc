#include "target.h"

#include <algorithm>
#include <stdexcept>
#include <thread>

Target::Target(Arguments& arguments) {
  winnow::load_backends(arguments.text("libs"));
  const std::string wanted = arguments.text("device", "gpu");
  threads = arguments.integer("threads", 0);
  if (threads == 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (const winnow::Device& found : winnow::devices()) {
    if (found.type != wanted) continue;
    device = found;
    return;
  }
  throw std::runtime_error("Expected a device of type " + wanted + " but llama.cpp found none");
}

std::shared_ptr<winnow::Model> Target::open(const std::string& path) const {
  winnow::ModelParams params;
  params.path = path;
  params.devices = {device.name};
  return winnow::Model::load(params);
}

winnow::PoolParams Target::pool_params(int streams, int cells) const {
  winnow::PoolParams params;
  params.streams = streams;
  params.cells_per_stream = cells;
  params.threads = threads;
  params.states = false;
  return params;
}

std::string name_of(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

std::vector<winnow::Token> made_up_tokens(int count, int vocabulary, int at) {
  const std::int64_t first = std::min(300, vocabulary / 2);
  std::vector<winnow::Token> tokens;
  for (std::int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<winnow::Token>(first + (i + at * std::int64_t{131}) * 7919 % (vocabulary - first)));
  return tokens;
}

std::vector<float> made_up_head(int width) {
  std::vector<float> weight(static_cast<std::size_t>(width));
  for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = (i % 2 == 0 ? 0.01f : -0.01f);
  return weight;
}
