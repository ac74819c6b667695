// What must hold on the device before anything is measured, and how far it is from the CPU.
//   --model FILE (a small one) [--n 8] [--length 32]
// A row for each question. "required" ones fail the check. Which tokens come out does not depend on who else is alive
// where pools are `deterministic`: that is defined for the CPU alone (pool.h), so on a GPU those rows are reported and
// not required.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "one_race.h"
#include "target.h"

namespace {

// Both sides compute with f16 weights and cells; the GPU adds up in other orders and, in cuBLAS, in f16.
constexpr double kStateLimit = 0.02;   // ||device - cpu|| / ||cpu||
constexpr double kLogprobLimit = 0.1;  // nats

struct Run {
  winnow::Advance advance;
  std::vector<float> states;
};

struct Check {
  const Target& target;
  int n, length;
  bool held = true;

  void report(const char* question, bool holds, bool required, double value, double limit) {
    Row()
        .add("question", question)
        .add("holds", holds)
        .add("required", required)
        .add("value", value)
        .add("limit", limit)
        .print();
    if (required && !holds) held = false;
  }

  winnow::PoolParams params(bool deterministic) const {
    winnow::PoolParams params = target.pool_params(n, 512);
    params.states = true;
    params.deterministic = deterministic;
    return params;
  }
};

constexpr int kPrompt = 40;

winnow::ForkParams fork_of(const Check& check) {
  winnow::ForkParams fork;
  fork.count = check.n;
  fork.max_tokens = check.length + 1;
  fork.seed = 7;
  return fork;
}

std::vector<std::int32_t> all(int count) {
  std::vector<std::int32_t> ids;
  for (int id = 0; id < count; ++id) ids.push_back(id);
  return ids;
}

// Log-probabilities and last states of tokens that are given.
Run read_given(const std::shared_ptr<winnow::Model>& model, const Check& check) {
  const int vocabulary = model->facts().vocabulary;
  winnow::ForkParams fork = fork_of(check);
  for (int branch = 0; branch < check.n; ++branch)
    fork.given.push_back(made_up_tokens(check.length, vocabulary, branch + 1));
  OneRace race(model, check.params(false), made_up_tokens(kPrompt, vocabulary), fork);
  Run run;
  run.advance = race.advance(check.length);
  run.states = race.states(all(check.n));
  return run;
}

double distance(const std::vector<float>& left, const std::vector<float>& right) {
  if (left.size() != right.size() || left.empty()) return HUGE_VAL;
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    difference += std::pow(static_cast<double>(left[i]) - right[i], 2);
    norm += std::pow(static_cast<double>(right[i]), 2);
  }
  return std::sqrt(difference / norm);  // NaN passes no limit
}

double furthest(const std::vector<float>& left, const std::vector<float>& right) {
  if (left.size() != right.size() || left.empty()) return HUGE_VAL;
  double most = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const double gap = std::abs(static_cast<double>(left[i]) - right[i]);
    if (!(gap <= most)) most = gap;
  }
  return most;
}

void against_cpu(const std::shared_ptr<winnow::Model>& model, const std::shared_ptr<winnow::Model>& cpu, Check& check) {
  const Run device = read_given(model, check);
  const Run host = read_given(cpu, check);
  const double states = distance(device.states, host.states);
  const double logprobs = furthest(device.advance.logprobs, host.advance.logprobs);
  check.report("states as on the CPU (relative distance)", states <= kStateLimit, true, states, kStateLimit);
  check.report("log-probabilities as on the CPU (nats)", logprobs <= kLogprobLimit, true, logprobs, kLogprobLimit);
}

// Tokens of each branch, sampled; the branches of `killed` are killed half way.
std::vector<std::vector<winnow::Token>> sampled(const std::shared_ptr<winnow::Model>& model, const Check& check,
                                                const std::vector<std::int32_t>& killed) {
  OneRace race(model, check.params(true), made_up_tokens(kPrompt, model->facts().vocabulary), fork_of(check));
  std::vector<std::vector<winnow::Token>> tokens(static_cast<std::size_t>(check.n));
  for (const int steps : {check.length / 2, check.length - check.length / 2}) {
    const winnow::Advance advance = race.advance(steps);
    std::size_t at = 0;
    for (std::size_t i = 0; i < advance.branches.size(); ++i)
      for (int k = 0; k < advance.counts[i]; ++k)
        tokens[static_cast<std::size_t>(advance.branches[i])].push_back(advance.tokens[at++]);
    race.kill(killed);
  }
  return tokens;
}

double share_equal(const std::vector<std::vector<winnow::Token>>& left,
                   const std::vector<std::vector<winnow::Token>>& right, const std::vector<std::int32_t>& ids) {
  int equal = 0;
  for (const std::int32_t id : ids) equal += left[static_cast<std::size_t>(id)] == right[static_cast<std::size_t>(id)];
  return static_cast<double>(equal) / static_cast<double>(ids.size());
}

void tokens_repeat(const std::shared_ptr<winnow::Model>& model, Check& check) {
  const bool defined = check.target.device.type == "cpu";
  std::vector<std::int32_t> odd, even;
  for (const std::int32_t id : all(check.n)) (id % 2 == 1 ? odd : even).push_back(id);
  const auto once = sampled(model, check, {});
  const double again = share_equal(sampled(model, check, {}), once, all(check.n));
  const double alone = share_equal(sampled(model, check, odd), once, even);
  check.report("same tokens when run again (share of branches)", again == 1, defined, again, 1);
  check.report("same tokens when others are killed (share of branches)", alone == 1, defined, alone, 1);
}

// Kills until none is left; the pool's own accounts are checked against llama.cpp's after every operation.
void cells_return(const std::shared_ptr<winnow::Model>& model, Check& check) {
  OneRace race(model, check.params(false), made_up_tokens(kPrompt, model->facts().vocabulary), fork_of(check));
  for (int branch = 0; branch < check.n; ++branch) {
    race.advance(1);
    race.pool().check_integrity();
    race.kill({(branch * 5 + 3) % check.n});
    race.kill({branch});
    race.pool().check_integrity();
  }
  const winnow::Occupancy left = race.pool().occupancy();
  check.report("killing every branch returns every cell (cells left)", left.cells_used == 0 && left.streams_used == 0,
               true, static_cast<double>(left.cells_used), 0);
}

void full_streams_wait(const std::shared_ptr<winnow::Model>& model, Check& check) {
  winnow::PoolParams params = check.params(false);
  params.cells_per_stream = 256;
  const int room = 5;
  winnow::ForkParams fork = fork_of(check);
  fork.max_tokens = 100;
  OneRace race(model, params, made_up_tokens(256 - room, model->facts().vocabulary), fork);
  const winnow::Advance advance = race.advance(100);
  const bool waits = advance.reason == winnow::AdvanceReason::full && advance.steps == room;
  check.report("full streams are a reason, and nothing is lost (steps)", waits, true, advance.steps, room);
}

void abort_stops(const std::shared_ptr<winnow::Model>& model, Check& check) {
  OneRace race(model, check.params(false), made_up_tokens(kPrompt, model->facts().vocabulary), fork_of(check));
  race.pool().request_abort();
  const bool stopped = race.advance(check.length).reason == winnow::AdvanceReason::aborted;
  race.pool().clear_abort();
  const winnow::Advance after = race.advance(4);
  race.pool().check_integrity();
  check.report("an abort stops, and the pool goes on after it (steps)", stopped && after.steps == 4, true, after.steps,
               4);
}

bool body(Arguments& arguments) {
  const Target target(arguments);
  Check check{target, arguments.integer("n", 8), arguments.integer("length", 32)};
  const std::string path = arguments.text("model");
  arguments.done();
  const std::shared_ptr<winnow::Model> model = target.open(path);
  winnow::ModelParams on_cpu;
  on_cpu.path = path;
  on_cpu.devices = {"CPU"};
  against_cpu(model, winnow::Model::load(on_cpu), check);
  tokens_repeat(model, check);
  cells_return(model, check);
  full_streams_wait(model, check);
  abort_stops(model, check);
  return check.held;
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, body); }
