// The same work through Pool::advance: sampling at temperature 1, hidden states kept, exact accounts; no JavaScript, no
// text. What lies between this and the bare loop is the engine's, what lies between Winnow and this is the library's.
#include <chrono>
#include <cstdio>
#include <limits>

#include "backend.h"
#include "error.h"
#include "pool.h"
#include "workload.h"

using Clock = std::chrono::steady_clock;

namespace {

// Until no branch of these races is live.
std::int64_t advance_all(winnow::Pool& pool, std::vector<winnow::Turn> turns) {
  std::int64_t tokens = 0;
  while (!turns.empty()) {
    const std::vector<winnow::Advance> advanced = pool.advance(turns);
    std::vector<winnow::Turn> going;
    for (std::size_t i = 0; i < turns.size(); ++i) {
      tokens += static_cast<std::int64_t>(advanced[i].tokens.size());
      if (advanced[i].reason == winnow::AdvanceReason::running) {
        going.push_back(turns[i]);
      } else {
        pool.end(turns[i].race);
      }
    }
    turns = going;
  }
  return tokens;
}

}  // namespace

int main(int argc, char** argv) {
  const Workload workload = read_workload(argc, argv);
  try {
    winnow::load_backends(workload.libs);
    winnow::ModelParams model_params;
    model_params.path = workload.model;
    model_params.devices = {"CPU"};
    const std::shared_ptr<winnow::Model> model = winnow::Model::load(model_params);
    winnow::PoolParams params;
    params.streams = workload.streams;
    params.cells_per_stream = workload.cells;
    params.threads = workload.threads;
    const std::unique_ptr<winnow::Pool> pool = winnow::Pool::create(model, params);

    Round round;
    std::uint64_t seed = 0;
    while (next_round(round)) {
      Taken taken;
      const Clock::time_point start = Clock::now();
      for (std::size_t next = 0; next < round.prompts.size();) {
        std::vector<winnow::Turn> turns;
        for (int i = 0; i < workload.races_at_once() && next < round.prompts.size(); ++i, ++next) {
          const std::vector<std::int32_t> prompt = prompt_tokens(workload, round, next, model->vocab());
          const winnow::RaceId race = pool->prefill(prompt).race;
          winnow::ForkParams fork;
          fork.count = workload.n;
          fork.max_tokens = round.length;
          fork.seed = ++seed;
          for (winnow::Token token = 0; token < model->facts().vocabulary; ++token) {
            if (model->is_end(token)) fork.rules.biases.emplace_back(token, -std::numeric_limits<float>::infinity());
          }
          pool->fork(race, fork);
          turns.push_back({race, round.length});
          taken.prompt_tokens += static_cast<std::int64_t>(prompt.size());
        }
        taken.tokens += advance_all(*pool, turns);
      }
      taken.seconds = std::chrono::duration<double>(Clock::now() - start).count();
      print_taken(taken);
    }
    return 0;
  } catch (const winnow::EngineError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
