#include "mirror.h"

#include <chrono>
#include <string>
#include <utility>

#include "deadline.h"
#include "error.h"
#include "follower_table.h"
#include "prompt.h"
#include "reading.h"
#include "request.h"
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

void check_head(const Head& head, int width) {
  if (head.facts().width != width) {
    throw EngineError("HEAD_WIDTH", "Expected a head of width " + std::to_string(width) +
                                        ", the model's, but received one of width " +
                                        std::to_string(head.facts().width));
  }
  if (!head.facts().features.empty()) {
    throw EngineError("HEAD_FEATURES", "Expected a head without features, which a mirror does not have, but received " +
                                           std::to_string(head.facts().features.size()) + " of them");
  }
}

}  // namespace

struct Mirror::State {
  explicit State(std::unique_ptr<Streams> opened) : streams(std::move(opened)), branches(*streams) {}

  std::unique_ptr<Streams> streams;
  FollowerTable branches;

  int width() const { return streams->model().facts().width; }
};

Mirror::Mirror() = default;
Mirror::~Mirror() { state_.reset(); }  // before abort_, which the streams read

std::unique_ptr<Mirror> Mirror::create(std::shared_ptr<Model> model, const PoolParams& requested) {
  if (!model) throw EngineError("OPTION_INVALID", "Expected a model for the mirror but received none");
  PoolParams params = requested;
  params.states = true;
  params.deterministic = false;
  params.drawing = "host";
  std::unique_ptr<Mirror> mirror(new Mirror());
  mirror->state_ = std::make_unique<State>(Streams::open(std::move(model), params, mirror->abort_, kMarkRows));
  return mirror;
}

Prefill Mirror::prefill(const std::vector<Token>& prefix, double deadline_seconds) {
  State& state = *state_;
  Streams& streams = *state.streams;
  streams.require_usable();
  const Clock::time_point start = Clock::now(), deadline = deadline_in(deadline_seconds);
  check_prompt(prefix, streams.limit(), streams.model().facts().vocabulary);
  state.branches.clear();
  const bool whole = decode_prompt(streams, 0, prefix, 0, deadline);
  Prefill result;
  if (whole) {
    state.branches.hold_prefix(prefix);
    result.tokens = result.decoded = static_cast<int>(prefix.size());
  } else {
    state.branches.clear();
    result.reason = abort_.load(std::memory_order_relaxed) ? AdvanceReason::aborted : AdvanceReason::deadline;
  }
  result.seconds = seconds_since(start);
  WINNOW_CHECK_INTEGRITY();
  return result;
}

void Mirror::fork(int count) {
  State& state = *state_;
  state.streams->require_usable();
  if (!state.branches.holds_prefix() || state.branches.forked()) {
    throw EngineError("NOT_PREFILLED", std::string("Expected a prefill before each fork but received ") +
                                           (state.branches.forked() ? "a second fork" : "none"));
  }
  if (count < 1)
    throw EngineError("OPTION_INVALID", "Expected 1 or more for count but received " + std::to_string(count));
  if (count > state.streams->count()) {
    throw EngineError("STREAMS_FULL", "Expected at most " + std::to_string(state.streams->count()) +
                                          " branches, one for each stream, but received " + std::to_string(count));
  }
  state.branches.fork(count);
  WINNOW_CHECK_INTEGRITY();
}

MirrorScores Mirror::score(const Head& head, const MirrorRequest& request, double deadline_seconds) {
  State& state = *state_;
  Streams& streams = *state.streams;
  streams.require_usable();
  const Clock::time_point start = Clock::now(), deadline = deadline_in(deadline_seconds);
  if (!state.branches.forked())
    throw EngineError("NOT_PREFILLED", "Expected a prefill and a fork before score but received none");
  check_head(head, state.width());
  check_shape(request, streams.model().facts().vocabulary);
  for (std::size_t i = 0; i < request.ids.size(); ++i) {
    const Follower& branch = state.branches.find(request.ids[i]);
    if (branch.stream < 0) {
      throw EngineError("BRANCH_UNKNOWN", "Expected a branch with cells but received " +
                                              std::to_string(request.ids[i]) + ", which was dropped");
    }
    check_branch(request, i, branch.length(), streams.limit());
  }

  Reading reading(streams, state.branches.cells(), request);
  for (std::size_t i = 0; i < request.ids.size(); ++i) reading.add(state.branches.find(request.ids[i]), i);
  streams.arm(deadline);
  const bool whole = reading.run();
  streams.disarm();

  MirrorScores result;
  result.cost = reading.cost();
  if (whole) {
    result.scores.resize(reading.states().size() / static_cast<std::size_t>(state.width()));
    head.apply(reading.states().data(), nullptr, result.scores.size(), result.scores.data());
    const std::ptrdiff_t branches = static_cast<std::ptrdiff_t>(request.ids.size());
    result.marked.assign(result.scores.begin() + branches, result.scores.end());
    result.scores.resize(request.ids.size());
  } else {
    result.reason = abort_.load(std::memory_order_relaxed) ? AdvanceReason::aborted : AdvanceReason::deadline;
  }
  result.seconds = seconds_since(start);
  WINNOW_CHECK_INTEGRITY();
  return result;
}

void Mirror::drop(const std::vector<std::int32_t>& ids) {
  state_->streams->require_usable();
  state_->branches.drop(ids);
  WINNOW_CHECK_INTEGRITY();
}

Occupancy Mirror::occupancy() const { return state_->branches.occupancy(); }

void Mirror::check_integrity() const { state_->branches.check_integrity(); }

}  // namespace winnow
