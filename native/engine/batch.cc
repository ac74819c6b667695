#include "batch.h"

#include <llama.h>

#include <utility>

#include "backend.h"
#include "context.h"
#include "error.h"
#include "remains.h"

namespace winnow {

void FreeContext::operator()(llama_context* context) const { llama_free(context); }

Batch::Batch(std::shared_ptr<Model> model, const llama_context_params& params, int threads,
             const std::atomic<bool>& abort)
    : model_(std::move(model)), abort_(abort), thread_count_(threads) {
  llama_context_params options = params;
  options.abort_callback = on_interrupt;
  options.abort_callback_data = this;
  context_ = make_context(*model_, options);
  threads_ = std::make_unique<ComputeThreads>(threads);
  threads_->attach(context_.get());
}

void Batch::adapt(const AdapterSet& adapters) {
  try {
    set_adapters(context_.get(), *model_, adapters);
  } catch (const EngineError& error) {
    dead_ = dead_ || error.code() != "OPTION_INVALID";
    throw;
  }
  adapters_ = adapters;
}

void Batch::resize(int rows) {
  const std::size_t count = static_cast<std::size_t>(rows);
  tokens_.resize(count);
  positions_.resize(count);
  sequence_counts_.assign(count, 1);
  sequences_.resize(count);
  outputs_.resize(count);
  sequence_lists_.clear();
  for (std::int32_t& each : sequences_) sequence_lists_.push_back(&each);
}

void Batch::set_row(int row, Token token, int position, int sequence, bool output) {
  const std::size_t at = static_cast<std::size_t>(row);
  tokens_[at] = token;
  positions_[at] = position;
  sequences_[at] = sequence;
  outputs_[at] = output ? 1 : 0;
}

bool Batch::compute(int rows, const char* verb, const std::function<int(llama_context*, const llama_batch&)>& call) {
  const AssertGuard guard;
  clear_last_log();
  llama_batch batch{};
  batch.n_tokens = rows;
  batch.token = tokens_.data();
  batch.pos = positions_.data();
  batch.n_seq_id = sequence_counts_.data();
  batch.seq_id = sequence_lists_.data();
  batch.logits = outputs_.data();
  std::string reason;
  try {
    const int code = call(context_.get(), batch);
    if (code == 0) return true;
    if (code == 2 && armed_) return false;
    reason = "code " + std::to_string(code) + ". " + last_log();
  } catch (const EngineError&) {
    dead_ = true;
    if (thread_count_ > 1) {
      keep_forever({model_, std::make_shared<AdapterSet>(adapters_), std::shared_ptr<void>(std::move(threads_)),
                    std::shared_ptr<void>(std::move(context_))});
    }
    throw;
  } catch (const std::exception& error) {
    reason = error.what();
  }
  dead_ = true;
  throw EngineError("DECODE_FAILED", std::string("Expected llama.cpp to ") + verb + " " + std::to_string(rows) +
                                         " rows but received " + reason);
}

void Batch::arm(Clock::time_point deadline) {
  deadline_ = deadline;
  armed_ = true;
}

bool Batch::on_interrupt(void* data) {
  const Batch* batch = static_cast<const Batch*>(data);
  return batch->armed_ && batch->due();
}

}  // namespace winnow
