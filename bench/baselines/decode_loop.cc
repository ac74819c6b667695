// The bare loop: the prompt decoded once and copied, then llama_decode on all streams and nothing else. No sampling
// (each stream is fed a fixed pseudo-random token), no states, no accounts, no text; the logits are there after each
// step and are not read.
#include <ggml-backend.h>
#include <llama.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

#include "workload.h"

namespace {

using Clock = std::chrono::steady_clock;

struct FreeModel {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
struct FreeContext {
  void operator()(llama_context* context) const { llama_free(context); }
};
struct Batch {
  explicit Batch(int rows) : raw(llama_batch_init(rows, 0, 1)) {}
  ~Batch() { llama_batch_free(raw); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  void add(std::int32_t token, int position, int stream, bool output) {
    const int row = raw.n_tokens++;
    raw.token[row] = token;
    raw.pos[row] = position;
    raw.n_seq_id[row] = 1;
    raw.seq_id[row][0] = stream;
    raw.logits[row] = output ? 1 : 0;
  }
  llama_batch raw;
};

void decode(llama_context* context, const Batch& batch) {
  if (llama_decode(context, batch.raw) != 0) {
    std::fprintf(stderr, "Expected llama_decode to succeed but it failed\n");
    std::exit(1);
  }
  llama_synchronize(context);
}

}  // namespace

int main(int argc, char** argv) {
  const Workload workload = read_workload(argc, argv);
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  ggml_backend_load_all_from_path(workload.libs.c_str());
  llama_backend_init();
  llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  const std::unique_ptr<llama_model, FreeModel> model(llama_model_load_from_file(workload.model.c_str(), model_params));
  if (!model) {
    std::fprintf(stderr, "Expected a model llama.cpp can load but received %s\n", workload.model.c_str());
    return 1;
  }
  const llama_vocab* vocab = llama_model_get_vocab(model.get());
  const int vocabulary = llama_vocab_n_tokens(vocab);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(workload.streams * workload.cells);
  params.n_seq_max = static_cast<std::uint32_t>(workload.streams);
  params.n_batch = params.n_ubatch = 512;
  params.n_threads = params.n_threads_batch = workload.threads;
  const std::unique_ptr<llama_context, FreeContext> context(llama_init_from_model(model.get(), params));
  if (!context) {
    std::fprintf(stderr, "Expected a llama.cpp context of %d streams but received none\n", workload.streams);
    return 1;
  }
  const llama_memory_t memory = llama_get_memory(context.get());
  Batch batch(512);

  Round round;
  while (next_round(round)) {
    Taken taken;
    const Clock::time_point start = Clock::now();
    for (std::size_t next = 0; next < round.prompts.size();) {
      llama_memory_clear(memory, false);
      std::vector<int> positions;  // of each stream's next token
      for (int race = 0; race < workload.races_at_once() && next < round.prompts.size(); ++race, ++next) {
        const int first = static_cast<int>(positions.size());
        const std::vector<std::int32_t> prompt = prompt_tokens(workload, round, next, vocab);
        for (std::size_t at = 0; at < prompt.size();) {
          batch.raw.n_tokens = 0;
          for (; at < prompt.size() && batch.raw.n_tokens < 512; ++at) {
            batch.add(prompt[at], static_cast<int>(at), first, at + 1 == prompt.size());
          }
          decode(context.get(), batch);
        }
        for (int i = 1; i < workload.n; ++i) llama_memory_seq_cp(memory, first, first + i, -1, -1);
        positions.insert(positions.end(), static_cast<std::size_t>(workload.n), static_cast<int>(prompt.size()));
        taken.prompt_tokens += static_cast<std::int64_t>(prompt.size());
      }
      for (int step = 0; step < round.length; ++step) {
        batch.raw.n_tokens = 0;
        for (int stream = 0; stream < static_cast<int>(positions.size()); ++stream) {
          const int token = (stream * 131 + step * 7919 + 17) % vocabulary;
          batch.add(token, positions[static_cast<std::size_t>(stream)] + step, stream, true);
        }
        decode(context.get(), batch);
        taken.tokens += static_cast<std::int64_t>(positions.size());
      }
    }
    taken.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    print_taken(taken);
  }
  return 0;
}
