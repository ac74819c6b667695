#include "bare.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "pool.h"

BareContext::BareContext(std::shared_ptr<winnow::Model> model, const BareParams& params)
    : model_(std::move(model)), samplers_(params.samplers), streams_(params.streams) {
  const int cells = (params.cells + winnow::kCellBlock - 1) / winnow::kCellBlock * winnow::kCellBlock;
  rows_ = std::max(512, params.streams);
  llama_context_params options = llama_context_default_params();
  options.n_ctx = static_cast<std::uint32_t>(params.streams) * static_cast<std::uint32_t>(cells);
  options.n_seq_max = static_cast<std::uint32_t>(params.streams);
  options.n_batch = options.n_ubatch = static_cast<std::uint32_t>(rows_);
  options.n_outputs_max = static_cast<std::uint32_t>(params.streams);
  options.n_outputs_max_per_seq = 1;
  options.n_threads = options.n_threads_batch = params.threads;
  if (!samplers_.empty()) {
    options.samplers = samplers_.data();
    options.n_samplers = samplers_.size();
  }
  context_ = llama_init_from_model(model_->raw(), options);
  if (context_ == nullptr) {
    throw std::runtime_error("Expected a llama.cpp context of " + std::to_string(params.streams) + " x " +
                             std::to_string(cells) + " cells but received none");
  }
  batch_ = llama_batch_init(rows_, 0, 1);
}

BareContext::~BareContext() {
  llama_batch_free(batch_);
  llama_free(context_);
}

void BareContext::add(winnow::Token token, int position, int stream, bool output) {
  const int row = batch_.n_tokens++;
  batch_.token[row] = token;
  batch_.pos[row] = position;
  batch_.n_seq_id[row] = 1;
  batch_.seq_id[row][0] = stream;
  batch_.logits[row] = output ? 1 : 0;
}

void BareContext::decode() {
  const int code = llama_decode(context_, batch_);
  if (code != 0) throw std::runtime_error("Expected llama_decode to succeed but received " + std::to_string(code));
  llama_synchronize(context_);
}

void BareContext::start(const std::vector<winnow::Token>& prompt, int branches) {
  llama_memory_t const memory = llama_get_memory(context_);
  llama_memory_clear(memory, false);
  replay(0, prompt);
  for (int stream = 1; stream < branches; ++stream) llama_memory_seq_cp(memory, 0, stream, -1, -1);
  position_ = static_cast<int>(prompt.size());
}

void BareContext::replay(int stream, const std::vector<winnow::Token>& tokens) {
  for (std::size_t at = 0; at < tokens.size();) {
    batch_.n_tokens = 0;
    for (; at < tokens.size() && batch_.n_tokens < rows_; ++at) add(tokens[at], static_cast<int>(at), stream, false);
    decode();
  }
}

void BareContext::step(const std::vector<winnow::Token>& tokens) {
  batch_.n_tokens = 0;
  for (std::size_t stream = 0; stream < tokens.size(); ++stream)
    add(tokens[stream], position_, static_cast<int>(stream), true);
  decode();
  ++position_;
}
