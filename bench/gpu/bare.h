// BareContext: llama.cpp alone, with the streams and batch that a pool of the same size has, and nothing of Winnow.
#pragma once

#include <llama.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model.h"

struct BareParams {
  int streams = 1;
  int cells = 256;  // of a stream; rounded up to 256
  int threads = 1;
  std::vector<llama_sampler_seq_config> samplers;  // run inside the graph; empty: logits go to the host
};

class BareContext {
 public:
  // Throws where llama.cpp makes none.
  BareContext(std::shared_ptr<winnow::Model> model, const BareParams& params);
  ~BareContext();
  BareContext(const BareContext&) = delete;
  BareContext& operator=(const BareContext&) = delete;

  // Empties the cells, decodes the prompt into stream 0 and copies it into streams 1..branches-1.
  void start(const std::vector<winnow::Token>& prompt, int branches);
  // One token for each of streams 0..tokens-1, all at the next position, as one batch; returns when it is computed.
  void step(const std::vector<winnow::Token>& tokens);
  // Decodes `tokens` into `stream`, from its first cell on, in chunks and without outputs.
  void replay(int stream, const std::vector<winnow::Token>& tokens);
  // The next position, where cells were filled from elsewhere.
  void set_position(int position) { position_ = position; }

  llama_context* raw() const { return context_; }
  const std::shared_ptr<winnow::Model>& model() const { return model_; }
  int streams() const { return streams_; }
  int position() const { return position_; }

 private:
  void add(winnow::Token token, int position, int stream, bool output);
  void decode();

  std::shared_ptr<winnow::Model> model_;
  std::vector<llama_sampler_seq_config> samplers_;
  llama_context* context_ = nullptr;
  llama_batch batch_{};
  int rows_ = 0;
  int streams_ = 0;
  int position_ = 0;
};
