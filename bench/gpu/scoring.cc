// What scores cost while branches are being written: a linear head on the pool's own states, and a reward model whose
// cells follow the branches (mirror).
//   --model FILE --reward FILE --n 256 --prompt 64 --length 512 --every 64
// Each checkpoint scores every live branch. Shares are of the time of the whole race: steps, scores by the head, and in
// the row of the reward model its scores as well. `states_ms` is what keeping the states adds to a step.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "head.h"
#include "mirror.h"
#include "one_race.h"
#include "shape.h"
#include "target.h"

namespace {

struct Work : Shape {
  using Shape::Shape;

  int every = 0;
};

std::shared_ptr<const winnow::Head> head_of(const winnow::Model& model) {
  return winnow::Head::linear("made up", made_up_head(model.facts().width));
}

OneRace race_of(const Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model, bool states) {
  winnow::PoolParams params = target.pool_params(work.n, work.cells());
  params.states = states;
  winnow::ForkParams fork;
  fork.count = work.n;
  fork.max_tokens = work.length + 1;
  return OneRace(model, params, made_up_tokens(work.prompt, model->facts().vocabulary), fork);
}

// Seconds of a step without states and without scores.
double plain_step(const Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model) {
  OneRace race = race_of(work, target, model, false);
  race.advance(1);  // the process's first step is not like the others
  const Clock::time_point start = Clock::now();
  const winnow::Advance advance = race.advance(work.length - 1);
  return seconds_since(start) / advance.steps;
}

// The branches that took tokens, with these tokens, as a mirror wants them; `held` is what it has of each.
winnow::MirrorRequest request_of(const winnow::Advance& advance, std::vector<int>& held) {
  winnow::MirrorRequest request;
  request.offsets.push_back(0);
  std::size_t token = 0;
  for (std::size_t i = 0; i < advance.branches.size(); ++i) {
    const std::int32_t id = advance.branches[i];
    const std::size_t count = static_cast<std::size_t>(advance.counts[i]);
    if (count > 0) {
      request.ids.push_back(id);
      request.keep.push_back(held[static_cast<std::size_t>(id)]);
      for (std::size_t k = 0; k < count; ++k) request.tokens.push_back(advance.tokens[token + k]);
      request.offsets.push_back(static_cast<std::int32_t>(request.tokens.size()));
      held[static_cast<std::size_t>(id)] += static_cast<int>(count);
    }
    token += count;
  }
  return request;
}

Row row_of(const char* scorer, const Work& work, int checkpoints, std::int64_t scores) {
  Row row;
  row.add("scorer", scorer)
      .add("n", work.n)
      .add("length", work.length)
      .add("every", work.every)
      .add("checkpoints", checkpoints)
      .add("scores", scores);
  return row;
}

bool body(Arguments& arguments) {
  const Target target(arguments);
  Work work(arguments, 512);
  work.every = arguments.integer("every", 64);
  const std::string model_path = arguments.text("model");
  const std::string reward_path = arguments.text("reward");
  arguments.done();
  if (work.length < 2 || work.every < 1) throw std::invalid_argument("Expected --length from 2 and --every from 1");
  const std::shared_ptr<winnow::Model> model = target.open(model_path);
  const double plain = plain_step(work, target, model);

  const std::shared_ptr<winnow::Model> reward = target.open(reward_path);
  const std::shared_ptr<const winnow::Head> head = head_of(*model);
  const std::shared_ptr<const winnow::Head> reward_head = head_of(*reward);
  const std::unique_ptr<winnow::Mirror> mirror =
      winnow::Mirror::create(reward, target.pool_params(work.n, work.cells()));
  mirror->prefill(made_up_tokens(work.prompt, reward->facts().vocabulary));
  mirror->fork(work.n);
  std::vector<int> held(static_cast<std::size_t>(work.n), work.prompt);
  OneRace race = race_of(work, target, model, true);

  double step_seconds = 0, head_seconds = 0, mirror_seconds = 0, first_mirror = 0;
  std::int64_t scores = 0, mirrored = 0;
  int steps = 0, checkpoints = 0;
  while (steps < work.length) {
    const Clock::time_point start = Clock::now();
    const winnow::Advance advance = race.advance(std::min(work.every, work.length - steps));
    step_seconds += seconds_since(start);
    steps += advance.steps;
    if (advance.steps == 0) break;
    const Clock::time_point scoring = Clock::now();
    race.score(*head, advance.branches);
    head_seconds += seconds_since(scoring);
    const Clock::time_point mirroring = Clock::now();
    const winnow::MirrorRequest request = request_of(advance, held);
    mirrored += mirror->score(*reward_head, request).cost.decoded;
    const double took = seconds_since(mirroring);
    // The first sees buffers being made; it stays out of the rate and in the share.
    if (checkpoints == 0) first_mirror = took;
    mirror_seconds += took;
    scores += static_cast<std::int64_t>(advance.branches.size());
    ++checkpoints;
  }
  const double share = head_seconds / (step_seconds + head_seconds);
  row_of("head", work, checkpoints, scores)
      .add("seconds", head_seconds)
      .add("ms_per_checkpoint", head_seconds / checkpoints * 1e3)
      .add("states_ms", (step_seconds / steps - plain) * 1e3)
      .add("share_of_wall", share)
      .add("target", "share_of_wall < 0.01")
      .add("met", share < 0.01)
      .print();
  row_of("reward model", work, checkpoints, scores)
      .add("rows", mirrored)
      .add("seconds", mirror_seconds)
      .add("first_ms", first_mirror * 1e3)
      .add("ms_per_checkpoint", mirror_seconds / checkpoints * 1e3)
      .add("rows_per_second", static_cast<double>(mirrored) / mirror_seconds)
      .add("share_of_wall", mirror_seconds / (step_seconds + head_seconds + mirror_seconds))
      .print();
  return true;
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, body); }
