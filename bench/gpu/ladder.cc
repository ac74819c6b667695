// The time of a rung move: half of n branches, each with prompt and length tokens, into half as many streams of twice
// the cells.
//   --model FILE --n 256 --prompt 64 --length 447 --how engine|pinned|pageable|replay
// "engine" is the pool's own move (Pool::reshape), the others are rung.h's, on bare contexts. Afterwards one step is
// decoded from the same tokens, moved and not: `furthest` is the largest difference of a logit, or of a log-probability
// where the engine moved. A copy is exact, so where the kernels do not depend on the number of streams it is 0.
#include <cmath>
#include <memory>
#include <stdexcept>
#include <vector>

#include "one_race.h"
#include "rung.h"
#include "shape.h"
#include "target.h"

namespace {

std::vector<float> logits_of(BareContext& context, int rows) {
  std::vector<float> all;
  const int vocabulary = context.model()->facts().vocabulary;
  for (int row = 0; row < rows; ++row) {
    const float* logits = llama_get_logits_ith(context.raw(), row);
    all.insert(all.end(), logits, logits + vocabulary);
  }
  return all;
}

struct Work : Shape {
  using Shape::Shape;

  std::string model_name, how;
};

// Largest distance between two lists of one length; NaN is further than any.
double furthest_of(const std::vector<float>& left, const std::vector<float>& right) {
  if (left.size() != right.size()) throw std::runtime_error("Expected as many numbers after a move as before");
  double furthest = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const double gap = std::fabs(static_cast<double>(left[i]) - right[i]);
    if (!(gap <= furthest)) furthest = gap;
  }
  return furthest;
}

Row row_of(const Work& work) {
  Row row;
  row.add("model", work.model_name)
      .add("how", work.how)
      .add("n", work.n)
      .add("survivors", work.n / 2)
      .add("tokens_each", work.prompt + work.length);
  return row;
}

void add_target(Row& row, double seconds, double furthest) {
  row.add("seconds", seconds)
      .add("furthest", furthest)
      .add("target", "seconds < 0.5")
      .add("met", seconds < 0.5)
      .print();
}

struct PoolMove {
  double kill_seconds = 0, reshape_seconds = 0;
  std::vector<float> logprobs;  // of the step after it
};

// Every other branch is killed, and who is left moves, if they do.
PoolMove move_pool(const Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model, bool move) {
  const int vocabulary = model->facts().vocabulary;
  winnow::ForkParams fork;
  fork.count = work.n;
  fork.max_tokens = work.length + 2;
  for (int branch = 0; branch < work.n; ++branch)
    fork.given.push_back(made_up_tokens(work.length + 1, vocabulary, branch));
  const winnow::PoolParams params = target.pool_params(work.n, work.cells());
  OneRace race(model, params, made_up_tokens(work.prompt, vocabulary), fork);
  race.advance(work.length);
  std::vector<std::int32_t> odd;
  for (int branch = 1; branch < work.n; branch += 2) odd.push_back(branch);
  PoolMove cost;
  Clock::time_point start = Clock::now();
  race.kill(odd);
  cost.kill_seconds = seconds_since(start);
  start = Clock::now();
  if (move) race.pool().reshape(work.n / 2, 2 * race.pool().params().cells_per_stream);
  cost.reshape_seconds = seconds_since(start);
  cost.logprobs = race.advance(1).logprobs;
  return cost;
}

void measure_engine(const Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model) {
  const PoolMove stayed = move_pool(work, target, model, false);
  const PoolMove moved = move_pool(work, target, model, true);
  Row row = row_of(work);
  row.add("kill_seconds", moved.kill_seconds).add("reshape_seconds", moved.reshape_seconds);
  add_target(row, moved.kill_seconds + moved.reshape_seconds, furthest_of(stayed.logprobs, moved.logprobs));
}

void measure_bare(const Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model) {
  const int vocabulary = model->facts().vocabulary;
  BareParams params;
  params.streams = work.n;
  params.cells = work.cells();
  params.threads = target.threads;
  auto context = std::make_unique<BareContext>(model, params);
  const std::vector<winnow::Token> shared = made_up_tokens(work.prompt, vocabulary);
  context->start(shared, work.n);
  std::vector<std::vector<winnow::Token>> tokens(static_cast<std::size_t>(work.n), shared);
  for (int step = 0; step < work.length; ++step) {
    const std::vector<winnow::Token> column = made_up_tokens(work.n, vocabulary, step);
    context->step(column);
    for (std::size_t stream = 0; stream < column.size(); ++stream) tokens[stream].push_back(column[stream]);
  }
  // A pool leaves its live branches in streams 0..k-1 after a kill: the survivors are these.
  std::vector<int> survivors;
  for (int stream = 0; stream < work.n / 2; ++stream) survivors.push_back(stream);
  const std::vector<winnow::Token> probe = made_up_tokens(work.n / 2, vocabulary, work.length + 1);
  context->step(probe);
  const std::vector<float> before = logits_of(*context, work.n / 2);
  // The probe's cells go again: the move carries what the branches had.
  const int held = work.prompt + work.length;
  for (const int stream : survivors) llama_memory_seq_rm(llama_get_memory(context->raw()), stream, held, -1);
  context->set_position(held);

  BareParams next = params;
  next.streams = work.n / 2;
  next.cells = 2 * params.cells;
  RungCost cost;
  context = move_rung(std::move(context), survivors, tokens, next, work.how, cost);
  context->step(probe);
  Row row = row_of(work);
  row.add("bytes", static_cast<std::int64_t>(cost.bytes))
      .add("save_seconds", cost.save_seconds)
      .add("close_seconds", cost.close_seconds)
      .add("open_seconds", cost.open_seconds)
      .add("restore_seconds", cost.restore_seconds);
  add_target(row, cost.seconds(), furthest_of(before, logits_of(*context, work.n / 2)));
}

bool body(Arguments& arguments) {
  const Target target(arguments);
  Work work(arguments, 447);
  const std::string path = arguments.text("model");
  work.model_name = name_of(path);
  work.how = arguments.text("how", "engine");
  arguments.done();
  if (work.n < 2 || work.n % 2 != 0) throw std::invalid_argument("Expected an even --n");
  const std::shared_ptr<winnow::Model> model = target.open(path);
  if (work.how == "engine")
    measure_engine(work, target, model);
  else
    measure_bare(work, target, model);
  return true;
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, body); }
