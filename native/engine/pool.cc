#include "pool.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <utility>

#include "advance.h"
#include "deadline.h"
#include "error.h"
#include "pool_state.h"
#include "prompt.h"
#include "request.h"

namespace winnow {
namespace {

using Clock = Streams::Clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Tokens that two prompts begin with alike.
int alike(const std::vector<Token>& a, const std::vector<Token>& b) {
  return static_cast<int>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

constexpr int kWorthCopying = 16;  // tokens; fewer are decoded about as fast as a stream is copied

}  // namespace

Pool::Pool() = default;
Pool::~Pool() { state_.reset(); }  // before abort_, which the streams read

std::unique_ptr<Pool> Pool::create(std::shared_ptr<Model> model, const PoolParams& requested) {
  if (!model) throw EngineError("OPTION_INVALID", "Expected a model for the pool but received none");
  std::unique_ptr<Pool> pool(new Pool());
  pool->state_ = std::make_unique<State>(Streams::open(std::move(model), requested, pool->abort_));
  return pool;
}

void Pool::adapt(const AdapterSet& adapters) {
  state_->streams->require_usable();
  const std::size_t races = state_->branches.races().size();
  if (races > 0) {
    throw EngineError(
        "POOL_BUSY", "Expected a pool without races for other adapters but received one with " + std::to_string(races));
  }
  state_->streams->adapt(adapters);
}

// Cells for the longest beginning of the prompt that somebody holds, the last token apart; how many.
int Pool::State::copy_beginning(const std::vector<Token>& prompt, int stream) {
  if (streams->params().deterministic || streams->unified() || !streams->movable()) return 0;
  int most = 0, source = -1;
  for (int each = 0; each < branches.used(); ++each) {
    const int length = std::min(alike(branches.owner(each).prompt, prompt), static_cast<int>(prompt.size()) - 1);
    if (length <= most) continue;
    most = length;
    source = each;
  }
  if (most < kWorthCopying) return 0;
  streams->copy(source, stream);
  streams->cut(stream, most);
  return most;
}

Prefill Pool::prefill(const std::vector<Token>& prompt, double deadline_seconds) {
  Streams& streams = *state_->streams;
  BranchTable& branches = state_->branches;
  streams.require_usable();
  const Clock::time_point start = Clock::now();
  const Clock::time_point deadline = deadline_in(deadline_seconds);
  check_prompt(prompt, streams.limit(), state_->vocabulary());
  const int stream = branches.free_stream();
  check_cells(static_cast<std::int64_t>(prompt.size()), branches);
  state_->step.keep_rows();
  const int held = state_->copy_beginning(prompt, stream);
  Prefill result;
  const bool whole = decode_prompt(streams, stream, prompt, held, deadline);
  result.seconds = seconds_since(start);
  if (whole) {
    streams.fetch_logits({0});
    std::vector<float> logits(streams.logits(0), streams.logits(0) + state_->vocabulary()), state;
    if (params().states) state.assign(streams.state(0), streams.state(0) + state_->width());
    Race& race = branches.open(prompt, hash_prompt(prompt));
    race.logits = std::move(logits);
    race.state = std::move(state);
    result.race = race.id;
    result.tokens = static_cast<int>(prompt.size());
    result.decoded = result.tokens - held;
    result.reason = AdvanceReason::reached;
  } else {
    // A prompt that is half there is of no use, and what a cut decode left behind need not be known.
    streams.free_cells(stream);
    result.reason = abort_.load(std::memory_order_relaxed) ? AdvanceReason::aborted : AdvanceReason::deadline;
  }
  WINNOW_CHECK_INTEGRITY();
  return result;
}

void Pool::fork(RaceId id, const ForkParams& asked) {
  BranchTable& branches = state_->branches;
  state_->streams->require_usable();
  ForkParams fork = asked;
  fork.keep_prompt = fork.keep_prompt || state_->streams->unified();
  Race& race = branches.find(id);
  if (race.prompt_stream < 0) {
    throw EngineError("NOT_PREFILLED",
                      "Expected a race whose prompt is at hand but received one whose branches took it over");
  }
  const int room = params().streams - branches.used() + (fork.keep_prompt ? 0 : 1);
  check_fork(fork, race, room, state_->vocabulary());
  branches.fork(race, state_->branch_like(race, fork));
  WINNOW_CHECK_INTEGRITY();
}

// A branch before its first token. Throws what the fork's rules and stop strings are refused with.
Branch Pool::State::branch_like(Race& race, const ForkParams& fork) const {
  Branch branch;
  branch.fork = std::make_shared<const ForkParams>(fork);
  if (!fork.given.empty()) return branch;
  if (race.fresh && race.fresh->fork->rules == fork.rules && race.fresh->fork->stop == fork.stop) {
    branch.rules = race.fresh->rules;
    branch.scan = race.fresh->scan;
    return branch;
  }
  const std::shared_ptr<Model>& model = streams->shared_model();
  const bool needed = Rules::needs_pieces(fork.rules) || !fork.stop.empty();
  const std::shared_ptr<const Pieces> pieces = needed ? model->pieces() : nullptr;
  if (const std::shared_ptr<const Rules> rules = Rules::of(fork.rules, model, pieces))
    branch.rules.emplace(rules, race.prompt);
  if (const std::shared_ptr<const StopStrings> stops = StopStrings::of(fork.stop)) branch.scan.emplace(stops);
  race.fresh = branch;
  return branch;
}

// The branches that take a token, in the order of their streams; counts those of each race.
std::vector<Branch*> Pool::State::taking() {
  for (const auto& [id, race] : branches.races()) race->rows = 0;
  std::vector<Branch*> found;
  for (int stream = 0; stream < branches.used(); ++stream) {
    Branch* const branch = branches.at(stream);
    Race& race = branches.owner(stream);
    if (branch == nullptr || branch->generated >= race.until) continue;
    ++race.rows;
    found.push_back(branch);
  }
  return found;
}

std::vector<Advance> Pool::advance(const std::vector<Turn>& turns, double deadline_seconds) {
  BranchTable& branches = state_->branches;
  Step& step = state_->step;
  state_->streams->require_usable();
  const Clock::time_point deadline = deadline_in(deadline_seconds);
  check_turns(turns);
  std::vector<Race*> races;
  for (const Turn& turn : turns) {
    races.push_back(&branches.find(turn.race));
    if (races.back()->branches.empty())
      throw EngineError("NOT_PREFILLED", "Expected a fork before advance but received none");
  }
  for (const auto& [id, race] : branches.races()) race->until = 0;
  for (std::size_t i = 0; i < races.size(); ++i) races[i]->until = turns[i].until;

  std::vector<AdvanceReason> reasons(turns.size(), AdvanceReason::running);
  bool over = false;
  const auto stop = [&](AdvanceReason reason) {
    reasons.assign(reasons.size(), reason);
    over = true;
  };
  while (true) {
    // Whoever takes no token is where it was to go, or has nobody left.
    std::vector<Branch*> taking = state_->taking();
    for (std::size_t i = 0; i < races.size(); ++i) {
      if (races[i]->rows > 0 && races[i]->rows >= turns[i].least) continue;
      reasons[i] = races[i]->rows > 0    ? AdvanceReason::room
                   : races[i]->live == 0 ? AdvanceReason::settled
                                         : AdvanceReason::reached;
      over = true;
    }
    if (over) break;
    if (abort_.load(std::memory_order_relaxed)) {
      stop(AdvanceReason::aborted);
      break;
    }
    if (Clock::now() >= deadline) {
      stop(AdvanceReason::deadline);
      break;
    }
    const Clock::time_point sampling = Clock::now();
    const double draws = static_cast<double>(taking.size());
    step.sample(taking);  // an end token needs no cell, so branches can end even when the streams are full
    const Clock::time_point decoding = Clock::now();
    const double sampled = std::chrono::duration<double>(decoding - sampling).count();
    for (Race* const race : races) race->untold.sample_seconds += sampled * race->rows / draws;

    taking = state_->taking();
    for (const Branch* const branch : taking) {
      if (branch->length < state_->streams->limit()) continue;
      const Race* const race = &branches.owner(branch->stream);
      reasons[static_cast<std::size_t>(std::find(races.begin(), races.end(), race) - races.begin())] =
          AdvanceReason::full;
      over = true;
    }
    if (static_cast<std::int64_t>(taking.size()) > branches.cells_free()) {
      for (std::size_t i = 0; i < races.size(); ++i)
        if (races[i]->rows > 0) reasons[i] = AdvanceReason::full;
      over = true;
    }
    if (over) break;
    if (std::any_of(races.begin(), races.end(), [](const Race* race) { return race->rows == 0; })) continue;

    step.decode(taking);
    const double decoded = seconds_since(decoding);
    int rows = 0;
    for (const Race* const race : races) rows += race->rows;
    for (Race* const race : races) {
      ++race->untold.steps;
      race->untold.decoded += race->rows;
      race->untold.decode_seconds += decoded * race->rows / rows;
    }
  }
  std::vector<Advance> results(turns.size());
  for (std::size_t i = 0; i < races.size(); ++i)
    if (reasons[i] != AdvanceReason::running) results[i] = take_untold(*races[i], reasons[i]);
  WINNOW_CHECK_INTEGRITY();
  return results;
}

void Pool::kill(RaceId id, const std::vector<std::int32_t>& ids) {
  BranchTable& branches = state_->branches;
  state_->streams->require_usable();
  Race& race = branches.find(id);
  for (const std::int32_t each : ids) race.find(each);  // all or none
  for (const std::int32_t each : ids) {
    Branch& branch = race.find(each);
    if (branch.status != BranchStatus::live && branch.status != BranchStatus::parked) continue;
    branch.status = BranchStatus::killed;
    branch.cells = {};
  }
  branches.retire();
  WINNOW_CHECK_INTEGRITY();
}

void Pool::end(RaceId race) {
  state_->streams->require_usable();
  state_->branches.close(race);
  WINNOW_CHECK_INTEGRITY();
}

std::vector<float> Pool::states(RaceId id, const std::vector<std::int32_t>& ids) const {
  state_->streams->require_usable();
  if (!params().states)
    throw EngineError("STATES_OFF", "Expected a pool that keeps states but received one opened without them");
  const Race& race = state_->branches.find(id);
  std::vector<float> rows;
  rows.reserve(ids.size() * static_cast<std::size_t>(state_->width()));
  for (const std::int32_t each : ids) {
    const float* const row = state_->branches.state(race, race.find(each));
    rows.insert(rows.end(), row, row + state_->width());
  }
  return rows;
}

std::vector<float> Pool::confidence(RaceId id, const std::vector<std::int32_t>& ids) const {
  state_->streams->require_usable();
  const Race& race = state_->branches.find(id);
  std::vector<float> rows;
  rows.reserve(ids.size() * kFeatures);
  for (const std::int32_t each : ids) {
    const std::array<float, kFeatures> features = race.find(each).confidence.features();
    rows.insert(rows.end(), features.begin(), features.end());
  }
  return rows;
}

std::vector<float> Pool::score(const Head& head, RaceId race, const std::vector<std::int32_t>& ids) const {
  if (head.facts().width != state_->width()) {
    throw EngineError("HEAD_WIDTH", "Expected a head of width " + std::to_string(state_->width()) +
                                        ", the model's, but received one of width " +
                                        std::to_string(head.facts().width));
  }
  const std::vector<float> rows = states(race, ids);
  const std::vector<float> features = confidence(race, ids);
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
