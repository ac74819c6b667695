// Sampling and the reward head inside the graph (leader_sampler.h) against logits copied to the host and sampled there.
//   --model FILE --n 256 --prompt 64 --length 128 --checks 8
// Row "same tokens": `checks` steps of both paths on the same tokens and draws. `furthest` is how far in probability a
// draw lies outside the token that the graph took, by the host's logits in double precision: sums in float round.
// Row "head": the largest difference of a score from the state's product on the host, relative to the largest score.
// Row "same tokens in the pool": branches that wrote the same `length` tokens whether Winnow's own pool drew them on
// the host or in the graph; who once took another token goes another way.
//
// Rows with step_ms: each path writes `length` tokens of its own; "host" and "graph" are Winnow's pool by where it
// draws (PoolParams::drawing), "bare" copies the logits and samples nothing.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "bare.h"
#include "leader_sampler.h"
#include "one_race.h"
#include "philox.h"
#include "sampler.h"
#include "shape.h"
#include "target.h"

namespace {

struct Work : Shape {
  using Shape::Shape;

  int checks = 0;
};

std::vector<float> draws_of(const Work& work, int step) {
  std::vector<float> draws;
  for (int stream = 0; stream < work.n; ++stream)
    draws.push_back(
        static_cast<float>(winnow::draw(3, 0, static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(step))));
  return draws;
}

BareParams params_of(const Work& work, const Target& target, int length) {
  BareParams params;
  params.streams = work.n;
  params.cells = work.prompt + length + 1;
  params.threads = target.threads;
  return params;
}

// How far outside the token's own interval of the distribution the draw lies; 0 inside.
double miss(const float* logits, int vocabulary, int token, double draw) {
  const double most = *std::max_element(logits, logits + vocabulary);
  double total = 0, below = 0, own = 0;
  for (int id = 0; id < vocabulary; ++id) {
    const double weight = std::exp(logits[id] - most);
    total += weight;
    if (id < token) below += weight;
    if (id == token) own = weight;
  }
  return std::max({0.0, below / total - draw, draw - (below + own) / total});
}

struct Agreement {
  int same = 0, all = 0;
  double furthest = 0, score_gap = 0, largest_score = 0;
};

void compare(const Work& work, BareContext& host, BareContext& graph, const LeaderSampler& leader,
             const std::vector<float>& draws, Agreement& agreement) {
  const int vocabulary = host.model()->facts().vocabulary;
  const std::vector<winnow::Token> tokens = leader.tokens(graph.raw(), work.n);
  winnow::SamplerScratch scratch;
  for (int row = 0; row < work.n; ++row) {
    const std::size_t at = static_cast<std::size_t>(row);
    const float* logits = llama_get_logits_ith(host.raw(), row);
    const winnow::Token expected =
        winnow::sample(logits, vocabulary, winnow::Sampling{}, static_cast<double>(draws[at]), scratch).token;
    agreement.same += expected == tokens[at];
    ++agreement.all;
    agreement.furthest = std::max(agreement.furthest, miss(logits, vocabulary, tokens[at], draws[at]));
  }
}

void compare_scores(const Work& work, BareContext& host, BareContext& graph, const LeaderSampler& leader,
                    const std::vector<float>& head, Agreement& agreement) {
  const std::vector<float> scores = leader.scores(graph.raw(), work.n);
  for (int row = 0; row < work.n; ++row) {
    const float* state = llama_get_embeddings_ith(host.raw(), row);
    double expected = 0;
    for (std::size_t i = 0; i < head.size(); ++i) expected += static_cast<double>(head[i]) * state[i];
    agreement.score_gap = std::max(agreement.score_gap, std::abs(expected - scores[static_cast<std::size_t>(row)]));
    agreement.largest_score = std::max(agreement.largest_score, std::abs(expected));
  }
}

Agreement agree(const Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model,
                const std::vector<float>& head) {
  LeaderSampler leader(*model, target.device, work.n, 1.0f, head);
  BareContext host(model, params_of(work, target, work.checks));
  BareParams params = params_of(work, target, work.checks);
  params.samplers = leader.configs();
  BareContext graph(model, params);
  const std::vector<winnow::Token> prompt = made_up_tokens(work.prompt, model->facts().vocabulary);
  host.start(prompt, work.n);
  graph.start(prompt, work.n);
  llama_set_embeddings(host.raw(), true);
  Agreement agreement;
  for (int step = 0; step < work.checks; ++step) {
    const std::vector<float> draws = draws_of(work, step);
    const std::vector<winnow::Token> tokens = made_up_tokens(work.n, model->facts().vocabulary, step);
    leader.set_draws(draws);
    host.step(tokens);
    graph.step(tokens);
    compare(work, host, graph, leader, draws, agreement);
    compare_scores(work, host, graph, leader, head, agreement);
  }
  return agreement;
}

double leader_step(const Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model,
                   const std::vector<float>& head) {
  LeaderSampler leader(*model, target.device, work.n, 1.0f, head);
  BareParams params = params_of(work, target, work.length + 2);
  params.samplers = leader.configs();
  BareContext graph(model, params);
  graph.start(made_up_tokens(work.prompt, model->facts().vocabulary), work.n);
  std::vector<winnow::Token> tokens = made_up_tokens(work.n, model->facts().vocabulary);
  Clock::time_point start = Clock::now();
  for (int step = -2; step < work.length; ++step) {
    if (step == 0) start = Clock::now();
    leader.set_draws(draws_of(work, step + 2));
    graph.step(tokens);
    tokens = leader.tokens(graph.raw(), work.n);
  }
  return seconds_since(start) / work.length;
}

double bare_step(const Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model) {
  const int vocabulary = model->facts().vocabulary;
  BareContext context(model, params_of(work, target, work.length + 2));
  context.start(made_up_tokens(work.prompt, vocabulary), work.n);
  Clock::time_point start = Clock::now();
  for (int step = -2; step < work.length; ++step) {
    if (step == 0) start = Clock::now();
    context.step(made_up_tokens(work.n, vocabulary, step + 2));
  }
  return seconds_since(start) / work.length;
}

struct PoolRun {
  double step = 0;  // seconds
  winnow::Advance written;
};

PoolRun pool_run(const Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model,
                 const char* drawing) {
  winnow::PoolParams params = target.pool_params(work.n, work.prompt + work.length + 3);
  params.states = true;
  params.drawing = drawing;
  winnow::ForkParams fork;
  fork.count = work.n;
  fork.max_tokens = work.length + 3;
  OneRace race(model, params, made_up_tokens(work.prompt, model->facts().vocabulary), fork);
  race.advance(2);
  const Clock::time_point start = Clock::now();
  PoolRun run;
  run.written = race.advance(work.length);
  run.step = seconds_since(start) / run.written.steps;
  return run;
}

std::vector<std::vector<winnow::Token>> by_branch(const winnow::Advance& written) {
  std::vector<std::vector<winnow::Token>> branches;
  auto from = written.tokens.begin();
  for (const std::int32_t count : written.counts) {
    branches.emplace_back(from, from + count);
    from += count;
  }
  return branches;
}

double share_alike(const winnow::Advance& one, const winnow::Advance& other) {
  const std::vector<std::vector<winnow::Token>> a = by_branch(one), b = by_branch(other);
  std::size_t alike = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) alike += a[i] == b[i];
  return static_cast<double>(alike) / static_cast<double>(std::max(a.size(), b.size()));
}

void print(const Work& work, const char* path, double step) {
  Row()
      .add("path", path)
      .add("n", work.n)
      .add("prompt", work.prompt)
      .add("length", work.length)
      .add("step_ms", step * 1e3)
      .add("tokens_per_second", work.n / step)
      .print();
}

bool body(Arguments& arguments) {
  const Target target(arguments);
  Work work(arguments, 128);
  work.checks = arguments.integer("checks", 8);
  const std::string path = arguments.text("model");
  arguments.done();
  const std::shared_ptr<winnow::Model> model = target.open(path);
  const std::vector<float> head = made_up_head(model->facts().width);
  const Agreement agreement = agree(work, target, model, head);
  Row()
      .add("question", "same tokens from the same draws")
      .add("share", static_cast<double>(agreement.same) / agreement.all)
      .add("tokens", agreement.all)
      .add("furthest", agreement.furthest)
      .print();
  Row()
      .add("question", "head inside the graph")
      .add("largest_gap", agreement.score_gap)
      .add("largest_score", agreement.largest_score)
      .print();
  const PoolRun host = pool_run(work, target, model, "host");
  const PoolRun graph = pool_run(work, target, model, "graph");
  Row()
      .add("question", "same tokens in the pool")
      .add("share", share_alike(host.written, graph.written))
      .add("branches", work.n)
      .add("tokens_each", work.length)
      .print();
  print(work, "leader", leader_step(work, target, model, head));
  print(work, "host", host.step);
  print(work, "graph", graph.step);
  print(work, "bare", bare_step(work, target, model));
  // A draw that is off by more than rounding is a wrong token.
  return agreement.furthest < 1e-3 && agreement.score_gap <= 1e-2 * std::max(1.0, agreement.largest_score);
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, body); }
