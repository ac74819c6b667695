// The same work through Pool::advance: sampling at temperature 1, hidden states kept, exact accounts.
#include <chrono>
#include <cstdio>

#include "backend.h"
#include "error.h"
#include "pool.h"
#include "workload.h"

using Clock = std::chrono::steady_clock;

int main(int argc, char** argv) {
  Workload workload = read_workload(argc, argv);
  try {
    winnow::load_backends(workload.libs);
    winnow::ModelParams model_params;
    model_params.path = workload.model;
    model_params.devices = {"CPU"};
    const std::shared_ptr<winnow::Model> model = winnow::Model::load(model_params);
    const std::vector<std::int32_t> prompt = workload_prompt(workload, model->vocab());
    winnow::PoolParams params;
    params.streams = workload.n;
    params.cells_per_stream = workload.prompt_tokens + workload.round + 1;
    params.threads = workload.threads;
    const std::unique_ptr<winnow::Pool> pool = winnow::Pool::create(model, params);

    std::int64_t rows = 0;
    double seconds = 0, decode_seconds = 0, sample_seconds = 0;
    // The first round warms up and is not counted.
    for (int done = -workload.round; done < workload.steps; done += workload.round) {
      pool->prefill(prompt);
      winnow::ForkParams fork;
      fork.count = workload.n;
      fork.max_tokens = workload.round;
      fork.seed = static_cast<std::uint64_t>(done + workload.round);
      pool->fork(fork);
      const Clock::time_point start = Clock::now();
      const winnow::Advance advance = pool->advance(workload.round);
      if (done < 0) continue;
      seconds += std::chrono::duration<double>(Clock::now() - start).count();
      decode_seconds += advance.decode_seconds;
      sample_seconds += advance.sample_seconds;
      rows += advance.decoded;
    }
    print_result("advance-loop", workload, rows, seconds, decode_seconds, sample_seconds);
    return 0;
  } catch (const winnow::EngineError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
