// The bare loop: llama_decode on n streams and nothing else. No sampling (each stream is fed a fixed pseudo-random
// token), no states, no accounts; the logits are there after each step and are not read.
#include <ggml-backend.h>
#include <llama.h>

#include <chrono>
#include <cstdio>
#include <memory>

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
  Workload workload = read_workload(argc, argv);
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
  const std::vector<std::int32_t> prompt = workload_prompt(workload, vocab);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(workload.n * workload.cells());
  params.n_seq_max = static_cast<std::uint32_t>(workload.n);
  params.n_batch = params.n_ubatch = 512;
  params.n_threads = params.n_threads_batch = workload.threads;
  const std::unique_ptr<llama_context, FreeContext> context(llama_init_from_model(model.get(), params));
  if (!context) {
    std::fprintf(stderr, "Expected a llama.cpp context of %d streams but received none\n", workload.n);
    return 1;
  }
  const llama_memory_t memory = llama_get_memory(context.get());
  Batch batch(512);

  std::int64_t rows = 0;
  double seconds = 0;
  // The first round warms up and is not counted.
  for (int done = -workload.round; done < workload.steps; done += workload.round) {
    llama_memory_clear(memory, false);
    for (std::size_t at = 0; at < prompt.size();) {
      batch.raw.n_tokens = 0;
      for (; at < prompt.size() && batch.raw.n_tokens < 512; ++at) {
        batch.add(prompt[at], static_cast<int>(at), 0, at + 1 == prompt.size());
      }
      decode(context.get(), batch);
    }
    for (int stream = 1; stream < workload.n; ++stream) llama_memory_seq_cp(memory, 0, stream, -1, -1);
    const Clock::time_point start = Clock::now();
    std::int64_t round_rows = 0;
    for (int step = 0; step < workload.round; ++step) {
      batch.raw.n_tokens = 0;
      for (int stream = 0; stream < workload.n; ++stream) {
        batch.add((stream * 131 + step * 7919 + 17) % vocabulary, workload.prompt_tokens + step, stream, true);
      }
      decode(context.get(), batch);
      round_rows += workload.n;
    }
    if (done < 0) continue;
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
    rows += round_rows;
  }
  print_result("decode-loop", workload, rows, seconds, seconds, 0);
  return 0;
}
