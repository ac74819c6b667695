// LeaderSampler: a token for every stream and a linear head's score, computed inside llama.cpp's graph, so that of a
// step only two numbers a stream reach the host.
//
// llama.cpp gives every sequence a chain of samplers of its own. Here the chain of stream 0 does the work for all rows
// (softmax, running sum, first token whose sum exceeds the draw: inverse CDF in index order, as Winnow's own sampler),
// and those of the others do nothing; with every row sampled, llama.cpp leaves the logits on the device.
//
// Needs: stream 0 in every batch, one row for each stream in order, one ubatch. llama.cpp marks this interface as
// experimental. The graph holds pointers into the sampler: it outlives the context.
#pragma once

#include <llama.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "backend.h"
#include "model.h"

class LeaderSampler {
 public:
  // `head`: one weight for each column of the state, kept on `device`.
  LeaderSampler(const winnow::Model& model, const winnow::Device& device, int streams, float temperature,
                const std::vector<float>& head);
  ~LeaderSampler();
  LeaderSampler(const LeaderSampler&) = delete;
  LeaderSampler& operator=(const LeaderSampler&) = delete;

  std::vector<llama_sampler_seq_config> configs() const;
  // Of the next decode, one in [0, 1) for each row.
  void set_draws(std::vector<float> draws);
  // Of the last decode of `rows` rows. Throws where llama.cpp has not run the sampler.
  std::vector<winnow::Token> tokens(llama_context* context, int rows) const;
  std::vector<float> scores(llama_context* context, int rows) const;

 private:
  struct Leader;
  const float* read(llama_context* context, int rows) const;

  std::unique_ptr<Leader> leader_;
  std::vector<llama_sampler*> chains_;
};
