// Tokens a second of n branches: llama.cpp's bare decode loop against a pool, on the same model and lengths.
//   --model FILE --n 256 --prompt 64 --length 1024 --repeats 2 [--bandwidth B --flops F, of floor.h]
// The bare loop feeds each stream a made-up token and leaves the logits unread; the pool samples at temperature 1 and
// keeps its accounts. Both copy the logits to the host. The prompt is outside the clock. Either half of the length is
// a row of its own; the drivers take turns, and the first goes second in every other repeat. A last row for each half
// has the means over the repeats: the pool's share of the floor, and of the bare loop's speed.
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

#include "bare.h"
#include "floor.h"
#include "one_race.h"
#include "shape.h"
#include "target.h"

namespace {

constexpr double kShareOfFloor = 0.8;

// Sums over the repeats, of one half.
struct Sums {
  double share_of_floor = 0, bare_rate = 0, pool_rate = 0;
  int to = 0;
};

struct Work : Shape {
  using Shape::Shape;

  std::string model_name;
  int repeat = 0;
  Peaks peaks;
  std::map<int, Sums> sums;  // by `from`
};

struct Span {
  int from = 0, to = 0;
  double seconds = 0, decode_seconds = 0, sample_seconds = 0;
  std::int64_t rows = 0;  // decoded
};

void print(Work& work, const winnow::ModelFacts& facts, const std::string& driver, const Span& span) {
  const int steps = span.to - span.from;
  const double cells = work.prompt + (span.from + span.to) / 2.0;
  const double branches = static_cast<double>(span.rows) / steps;
  const double kv_bytes = kv_bytes_per_token(facts);
  const StepFloor floor = step_floor(facts, kv_bytes, branches, cells, work.peaks);
  const double step = span.seconds / steps;
  Row()
      .add("model", work.model_name)
      .add("driver", driver)
      .add("n", work.n)
      .add("prompt", work.prompt)
      .add("from", span.from)
      .add("to", span.to)
      .add("repeat", work.repeat)
      .add("tokens_per_second", static_cast<double>(span.rows) / span.seconds)
      .add("step_ms", step * 1e3)
      .add("decode_ms", span.decode_seconds / steps * 1e3)
      .add("sample_ms", span.sample_seconds / steps * 1e3)
      .add("mean_branches", branches)
      .add("mean_cells", cells)
      .add("weight_bytes", floor.weight_bytes)
      .add("cell_bytes", floor.cell_bytes)
      .add("flops", floor.flops)
      .add("floor_ms", floor.seconds * 1e3)
      .add("share_of_floor", floor.seconds / step)
      .print();
  Sums& sums = work.sums[span.from];
  sums.to = span.to;
  (driver == "pool" ? sums.pool_rate : sums.bare_rate) += static_cast<double>(span.rows) / span.seconds;
  if (driver == "pool") sums.share_of_floor += floor.seconds / step;
}

void print_means(const Work& work, int repeats) {
  for (const auto& [from, sums] : work.sums) {
    const double share = sums.share_of_floor / repeats;
    Row()
        .add("model", work.model_name)
        .add("summary", "pool")
        .add("n", work.n)
        .add("prompt", work.prompt)
        .add("from", from)
        .add("to", sums.to)
        .add("tokens_per_second", sums.pool_rate / repeats)
        .add("of_bare", sums.pool_rate / sums.bare_rate)
        .add("share_of_floor", share)
        .add("target", "share_of_floor >= 0.8")
        .add("met", share >= kShareOfFloor)
        .print();
  }
}

void run_bare(Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model) {
  BareParams params;
  params.streams = work.n;
  params.cells = work.cells();
  params.threads = target.threads;
  BareContext context(model, params);
  const int vocabulary = model->facts().vocabulary;
  context.start(made_up_tokens(work.prompt, vocabulary), work.n);
  for (const int from : {0, work.length / 2}) {
    Span span;
    span.from = from;
    span.to = from == 0 ? work.length / 2 : work.length;
    const Clock::time_point start = Clock::now();
    for (int step = span.from; step < span.to; ++step) context.step(made_up_tokens(work.n, vocabulary, step));
    span.seconds = span.decode_seconds = seconds_since(start);
    span.rows = static_cast<std::int64_t>(work.n) * (span.to - span.from);
    print(work, model->facts(), "bare", span);
  }
}

void run_pool(Work& work, const Target& target, const std::shared_ptr<winnow::Model>& model) {
  winnow::ForkParams fork;
  fork.count = work.n;
  fork.max_tokens = work.length + 1;
  fork.seed = 1 + static_cast<std::uint64_t>(work.repeat);
  OneRace race(model, target.pool_params(work.n, work.cells()), made_up_tokens(work.prompt, model->facts().vocabulary),
               fork);
  for (const int from : {0, work.length / 2}) {
    Span span;
    span.from = from;
    const int steps = (from == 0 ? work.length / 2 : work.length) - from;
    const Clock::time_point start = Clock::now();
    const winnow::Advance advance = race.advance(steps);
    span.seconds = seconds_since(start);
    span.decode_seconds = advance.decode_seconds;
    span.sample_seconds = advance.sample_seconds;
    span.rows = advance.decoded;
    // A random model may end a branch by chance; all of them at once it does not.
    span.to = from + advance.steps;
    if (advance.steps > 0) print(work, model->facts(), "pool", span);
  }
}

bool body(Arguments& arguments) {
  const Target target(arguments);
  Work work(arguments, 1024);
  const std::string path = arguments.text("model");
  work.model_name = name_of(path);
  const int repeats = arguments.integer("repeats", 2);
  work.peaks = read_peaks(arguments);
  arguments.done();
  if (repeats < 1 || work.length < 2) throw std::invalid_argument("Expected --repeats from 1 and --length from 2");
  const std::shared_ptr<winnow::Model> model = target.open(path);
  for (work.repeat = 0; work.repeat < repeats; ++work.repeat) {
    if (work.repeat % 2 == 1) run_pool(work, target, model);
    run_bare(work, target, model);
    if (work.repeat % 2 == 0) run_pool(work, target, model);
  }
  print_means(work, repeats);
  return true;
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, body); }
