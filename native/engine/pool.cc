#include "pool.h"

#include <chrono>

#include "advance.h"
#include "branch_table.h"
#include "deadline.h"
#include "error.h"
#include "prompt.h"
#include "request.h"
#include "step.h"
#include "streams.h"

#if !defined(NDEBUG) || defined(WINNOW_CHECKS)
#define WINNOW_CHECK_INTEGRITY() check_integrity()
#else
#define WINNOW_CHECK_INTEGRITY() static_cast<void>(0)
#endif

namespace winnow {
namespace {

using Clock = Streams::Clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

struct Pool::State {
  explicit State(std::unique_ptr<Streams> opened)
      : streams(std::move(opened)), branches(*streams), step(*streams, branches) {}

  std::unique_ptr<Streams> streams;
  BranchTable branches;
  Step step;
  std::uint64_t prompt_hash = 0;

  int vocabulary() const { return streams->model().facts().vocabulary; }
  int width() const { return streams->model().facts().width; }
};

Pool::Pool() = default;
Pool::~Pool() { state_.reset(); }  // before abort_, which the streams read

std::unique_ptr<Pool> Pool::create(std::shared_ptr<Model> model, const PoolParams& requested) {
  if (!model) throw EngineError("OPTION_INVALID", "Expected a model for the pool but received none");
  std::unique_ptr<Pool> pool(new Pool());
  pool->state_ = std::make_unique<State>(Streams::open(std::move(model), requested, pool->abort_));
  return pool;
}

Prefill Pool::prefill(const std::vector<Token>& prompt, double deadline_seconds) {
  Streams& streams = *state_->streams;
  BranchTable& branches = state_->branches;
  streams.require_usable();
  const Clock::time_point start = Clock::now();
  const Clock::time_point deadline = deadline_in(deadline_seconds);
  check_prompt(prompt, streams.limit(), state_->vocabulary());
  branches.clear();
  Prefill result;
  const bool whole = decode_prompt(streams, prompt, deadline);
  result.seconds = seconds_since(start);
  if (whole) {
    state_->prompt_hash = hash_prompt(prompt);
    result.tokens = static_cast<int>(prompt.size());
    branches.hold_prompt(result.tokens);
  } else {
    // A prompt that is half there is of no use, and what a cut decode left behind need not be known.
    branches.clear();
    result.reason = abort_.load(std::memory_order_relaxed) ? AdvanceReason::aborted : AdvanceReason::deadline;
  }
  WINNOW_CHECK_INTEGRITY();
  return result;
}

void Pool::fork(const ForkParams& fork) {
  BranchTable& branches = state_->branches;
  state_->streams->require_usable();
  if (!branches.holds_prompt() || branches.forked()) {
    throw EngineError("NOT_PREFILLED", std::string("Expected a prefill before each fork but received ") +
                                           (branches.forked() ? "a second fork" : "none"));
  }
  check_fork(fork, params().streams, state_->vocabulary());
  state_->step.prepare(fork, state_->prompt_hash);
  branches.fork(static_cast<std::int32_t>(fork.first_candidate), fork.count);
  WINNOW_CHECK_INTEGRITY();
}

Advance Pool::advance(int steps, double deadline_seconds) {
  BranchTable& branches = state_->branches;
  Step& step = state_->step;
  state_->streams->require_usable();
  const Clock::time_point deadline = deadline_in(deadline_seconds);
  check_steps(steps);
  if (!branches.forked())
    throw EngineError("NOT_PREFILLED", "Expected a prefill and a fork before advance but received none");
  forget_taken(branches.all());
  Advance result;
  while (result.steps < steps && branches.live() > 0) {
    if (abort_.load(std::memory_order_relaxed)) {
      result.reason = AdvanceReason::aborted;
      break;
    }
    if (Clock::now() >= deadline) {
      result.reason = AdvanceReason::deadline;
      break;
    }
    const Clock::time_point sampling = Clock::now();
    step.sample();  // an end token needs no cell, so branches can end even when the streams are full
    const Clock::time_point decoding = Clock::now();
    result.sample_seconds += std::chrono::duration<double>(decoding - sampling).count();
    if (branches.live() == 0) break;
    if (branches.full()) {
      result.reason = AdvanceReason::full;
      break;
    }
    result.decoded += step.decode();
    result.decode_seconds += seconds_since(decoding);
    ++result.steps;
  }
  if (branches.live() == 0) result.reason = AdvanceReason::settled;
  report_taken(branches.all(), result);
  WINNOW_CHECK_INTEGRITY();
  return result;
}

void Pool::kill(const std::vector<std::int32_t>& ids) {
  BranchTable& branches = state_->branches;
  state_->streams->require_usable();
  for (const std::int32_t id : ids) branches.find(id);  // all or none
  bool any = false;
  for (const std::int32_t id : ids) {
    Branch& branch = branches.find(id);
    if (branch.status != BranchStatus::live) continue;
    branch.status = BranchStatus::killed;
    any = true;
  }
  if (any) branches.retire();
  WINNOW_CHECK_INTEGRITY();
}

std::vector<float> Pool::states(const std::vector<std::int32_t>& ids) const {
  state_->streams->require_usable();
  if (!params().states)
    throw EngineError("STATES_OFF", "Expected a pool that keeps states but received one opened without them");
  std::vector<float> rows;
  rows.reserve(ids.size() * static_cast<std::size_t>(state_->width()));
  for (const std::int32_t id : ids) {
    const float* row = state_->branches.state(state_->branches.find(id));
    rows.insert(rows.end(), row, row + state_->width());
  }
  return rows;
}

std::vector<float> Pool::confidence(const std::vector<std::int32_t>& ids) const {
  state_->streams->require_usable();
  std::vector<float> rows;
  rows.reserve(ids.size() * kFeatures);
  for (const std::int32_t id : ids) {
    const std::array<float, kFeatures> features = state_->branches.find(id).confidence.features();
    rows.insert(rows.end(), features.begin(), features.end());
  }
  return rows;
}

std::vector<float> Pool::score(const Head& head, const std::vector<std::int32_t>& ids) const {
  if (head.facts().width != state_->width()) {
    throw EngineError("HEAD_WIDTH", "Expected a head of width " + std::to_string(state_->width()) +
                                        ", the model's, but received one of width " +
                                        std::to_string(head.facts().width));
  }
  const std::vector<float> rows = states(ids);
  const std::vector<float> features = confidence(ids);
  std::vector<float> scores(ids.size());
  head.apply(rows.data(), features.data(), ids.size(), scores.data());
  return scores;
}

Occupancy Pool::occupancy() const { return state_->branches.occupancy(); }
void Pool::check_integrity() const { state_->branches.check_integrity(); }
ContextSizes Pool::sizes() const {
  state_->streams->require_usable();
  return state_->streams->sizes();
}

const Model& Pool::model() const { return state_->streams->model(); }
const PoolParams& Pool::params() const { return state_->streams->params(); }

}  // namespace winnow
