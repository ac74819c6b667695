#include "pool.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "branch.h"
#include "error.h"
#include "philox.h"
#include "streams.h"
#include "workers.h"

#if !defined(NDEBUG) || defined(WINNOW_CHECKS)
#define WINNOW_CHECK_INTEGRITY() check_integrity()
#else
#define WINNOW_CHECK_INTEGRITY() static_cast<void>(0)
#endif

namespace winnow {
namespace {

using Clock = Streams::Clock;

constexpr std::int64_t kWorthSharing = 1 << 18;  // logits; below it waking a thread costs more than it saves

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Moment at which a call must stop; Clock::time_point::max() for none.
Clock::time_point deadline_after(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) {
    throw EngineError("OPTION_INVALID",
                      "Expected 0 seconds or more for deadline but received " + std::to_string(seconds));
  }
  if (seconds == 0 || seconds > 1e8) return Clock::time_point::max();
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// 64-bit FNV-1a (Fowler, Noll, Vo) over the tokens' bytes, little endian: the prompt's part in every draw.
std::uint64_t hash_prompt(const std::vector<Token>& prompt) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const Token token : prompt) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash ^= (static_cast<std::uint32_t>(token) >> shift) & 0xFFu;
      hash *= 0x100000001B3u;
    }
  }
  return hash;
}

void check_sampling(const Sampling& sampling) {
  const auto invalid = [](const std::string& expected, double received) {
    throw EngineError("OPTION_INVALID", "Expected " + expected + " but received " + std::to_string(received));
  };
  if (!std::isfinite(sampling.temperature) || sampling.temperature < 0)
    invalid("0 or more for temperature", static_cast<double>(sampling.temperature));
  if (sampling.top_k < 0) invalid("0 or more for top-k", sampling.top_k);
  if (!(sampling.top_p > 0 && sampling.top_p <= 1))
    invalid("more than 0 and at most 1 for top-p", static_cast<double>(sampling.top_p));
  if (!(sampling.min_p >= 0 && sampling.min_p <= 1)) invalid("0 to 1 for min-p", static_cast<double>(sampling.min_p));
}

void check_tokens(const char* name, const std::vector<Token>& tokens, int vocabulary) {
  for (const Token token : tokens) {
    if (token < 0 || token >= vocabulary) {
      throw EngineError("TOKEN_INVALID", std::string("Expected ") + name + " from 0 to " +
                                             std::to_string(vocabulary - 1) + " but received " + std::to_string(token));
    }
  }
}

}  // namespace

struct Pool::State {
  std::unique_ptr<Streams> streams;
  std::unique_ptr<Workers> workers;
  std::vector<SamplerScratch> scratch;  // one for each worker

  bool prefilled = false;
  bool forked = false;
  int prompt_length = 0;
  std::uint64_t prompt_hash = 0;
  ForkParams fork;
  std::vector<Branch> branches;  // by id - fork.first_candidate
  std::vector<int> branch_at;    // stream -> index in branches for streams 0..live-1, -1 for the others
  int live = 0;

  // Kept beside llama.cpp's own positions, and compared with them by check_integrity().
  int streams_used = 0;
  std::int64_t cells_used = 0;
  std::int64_t cells_peak = 0;

  const PoolParams& params() const { return streams->params(); }
  int vocabulary() const { return streams->model().facts().vocabulary; }
  int width() const { return streams->model().facts().width; }

  // Forgets the prompt and all branches.
  void reset() {
    streams->clear();
    prefilled = forked = false;
    prompt_length = live = streams_used = 0;
    cells_used = cells_peak = 0;
    branches.clear();
    std::fill(branch_at.begin(), branch_at.end(), -1);
  }

  Branch& in_stream(int stream) {
    return branches[static_cast<std::size_t>(branch_at[static_cast<std::size_t>(stream)])];
  }

  Branch& find(std::int32_t id) {
    const std::int64_t index = static_cast<std::int64_t>(id) - static_cast<std::int64_t>(fork.first_candidate);
    if (!forked || index < 0 || index >= static_cast<std::int64_t>(branches.size())) {
      throw EngineError("BRANCH_UNKNOWN",
                        "Expected the id of a branch of this prompt but received " + std::to_string(id));
    }
    return branches[static_cast<std::size_t>(index)];
  }

  const float* state_of(const Branch& branch) const {
    return branch.stream < 0 ? branch.state.data() : streams->state(branch.row);
  }

  // Frees the cells of every branch that is no longer live and moves the tail into the holes, so that live branches
  // fill streams 0..live-1 again: one whole-stream copy for each hole below them.
  void retire() {
    std::vector<int> holes;
    const int before = live;
    for (int stream = 0; stream < before; ++stream) {
      Branch& branch = in_stream(stream);
      if (branch.status == BranchStatus::live) continue;
      if (params().states) {
        const float* row = state_of(branch);
        branch.state.assign(row, row + width());
      }
      streams->free_cells(stream);
      cells_used -= branch.length;
      --streams_used;
      --live;
      branch.stream = -1;
      branch_at[static_cast<std::size_t>(stream)] = -1;
      holes.push_back(stream);
    }
    std::size_t hole = 0;
    for (int stream = live; stream < before; ++stream) {
      const int index = branch_at[static_cast<std::size_t>(stream)];
      if (index < 0) continue;
      const int target = holes[hole++];  // below `live`: there are as many holes there as branches beyond
      streams->copy(stream, target);
      streams->free_cells(stream);
      branches[static_cast<std::size_t>(index)].stream = target;
      branch_at[static_cast<std::size_t>(target)] = index;
      branch_at[static_cast<std::size_t>(stream)] = -1;
    }
  }

  // A pure function of the logits and (seed, prompt, candidate, position): sampling twice gives the same.
  void sample_live() {
    const auto job = [this](int stream, int worker) {
      Branch& branch = in_stream(stream);
      const double uniform = draw(fork.seed, prompt_hash, static_cast<std::uint32_t>(branch.id),
                                  static_cast<std::uint32_t>(branch.generated));
      branch.next = sample(streams->logits(branch.row), vocabulary(), fork.sampling, uniform,
                           scratch[static_cast<std::size_t>(worker)]);
    };
    if (static_cast<std::int64_t>(live) * vocabulary() < kWorthSharing) {
      for (int stream = 0; stream < live; ++stream) job(stream, 0);
    } else {
      workers->run(live, job);
    }
  }

  // Ends the branches that sampled an end or stop token.
  void settle_sampled() {
    bool any = false;
    for (int stream = 0; stream < live; ++stream) {
      Branch& branch = in_stream(stream);
      const std::vector<Token>& stops = fork.stop_tokens;
      if (streams->model().is_end(branch.next.token)) {
        branch.status = BranchStatus::end;
      } else if (std::find(stops.begin(), stops.end(), branch.next.token) != stops.end()) {
        branch.status = BranchStatus::stop;
      } else {
        continue;
      }
      branch.touched = any = true;
    }
    if (any) retire();
  }

  // All live branches are of one length: they were forked together and advance together.
  bool streams_full() { return live > 0 && in_stream(0).length >= streams->limit(); }

  // Decodes the sampled token of every live branch as one batch; returns the rows decoded.
  int decode_step() {
    const int rows = std::max(live, streams->least_rows());
    for (int stream = 0; stream < live; ++stream) {
      const Branch& branch = in_stream(stream);
      streams->set_row(stream, branch.next.token, branch.length, stream, true);
    }
    // Ghosts hold a cell only during the decode; they are no part of the accounts.
    for (int stream = live; stream < rows; ++stream) {
      streams->set_row(stream, in_stream(0).next.token, 0, stream, true);
    }
    streams->decode(rows);
    for (int stream = live; stream < rows; ++stream) streams->free_cells(stream);

    cells_used += live;
    cells_peak = std::max(cells_peak, cells_used);
    bool any = false;
    for (int stream = 0; stream < live; ++stream) {
      Branch& branch = in_stream(stream);
      branch.row = stream;
      ++branch.length;
      ++branch.generated;
      branch.confidence.add(branch.next.logprob, branch.next.entropy);
      branch.tokens.push_back(branch.next.token);
      branch.logprobs.push_back(branch.next.logprob);
      branch.entropies.push_back(branch.next.entropy);
      branch.touched = true;
      if (branch.generated >= fork.max_tokens) {
        branch.status = BranchStatus::length;
        any = true;
      }
    }
    if (any) retire();
    return rows;
  }
};

Pool::Pool() : state_(std::make_unique<State>()) {}
Pool::~Pool() = default;

std::unique_ptr<Pool> Pool::create(std::shared_ptr<Model> model, const PoolParams& requested) {
  if (!model) throw EngineError("OPTION_INVALID", "Expected a model for the pool but received none");
  std::unique_ptr<Pool> pool(new Pool());
  State& state = *pool->state_;
  state.streams = Streams::open(std::move(model), requested, pool->abort_);
  state.branch_at.assign(static_cast<std::size_t>(state.streams->count()), -1);
  state.workers = std::make_unique<Workers>(state.params().threads);
  state.scratch.resize(static_cast<std::size_t>(state.params().threads));
  return pool;
}

Prefill Pool::prefill(const std::vector<Token>& prompt, double deadline_seconds) {
  State& state = *state_;
  Streams& streams = *state.streams;
  streams.require_usable();
  const Clock::time_point start = Clock::now();
  const Clock::time_point deadline = deadline_after(deadline_seconds);
  if (prompt.empty()) {
    throw EngineError("PROMPT_EMPTY", "Expected a prompt of at least one token but received none");
  }
  if (prompt.size() >= static_cast<std::size_t>(streams.limit())) {
    throw EngineError("PROMPT_TOO_LONG", "Expected a prompt of at most " + std::to_string(streams.limit() - 1) +
                                             " tokens, which leaves room for one more, but received " +
                                             std::to_string(prompt.size()));
  }
  check_tokens("token ids", prompt, state.vocabulary());
  state.reset();
  const int length = static_cast<int>(prompt.size());
  // All but the last token in chunks without outputs; the last one alone, so that its logits and state do not
  // depend on how the prompt was cut, nor on whether states are kept.
  streams.keep_states(false);
  streams.arm(deadline);
  bool stopped = false;
  for (int done = 0; done < length && !stopped;) {
    const bool last = done == length - 1;
    const int rows = last ? 1 : std::min(streams.prompt_rows(), length - 1 - done);
    for (int row = 0; row < rows; ++row) {
      streams.set_row(row, prompt[static_cast<std::size_t>(done + row)], done + row, 0, last);
    }
    if (last) streams.keep_states(true);
    stopped = streams.due() || !streams.decode(rows);
    done += rows;
  }
  streams.disarm();
  Prefill result;
  result.seconds = seconds_since(start);
  if (stopped) {
    // A prompt that is half there is of no use, and what a cut decode left behind need not be known.
    state.reset();
    result.reason = abort_.load(std::memory_order_relaxed) ? AdvanceReason::aborted : AdvanceReason::deadline;
    WINNOW_CHECK_INTEGRITY();
    return result;
  }
  state.prefilled = true;
  state.prompt_length = length;
  state.prompt_hash = hash_prompt(prompt);
  state.streams_used = 1;
  state.cells_used = state.cells_peak = length;
  result.tokens = length;
  WINNOW_CHECK_INTEGRITY();
  return result;
}

void Pool::fork(const ForkParams& params) {
  State& state = *state_;
  state.streams->require_usable();
  if (!state.prefilled || state.forked) {
    throw EngineError("NOT_PREFILLED", std::string("Expected a prefill before each fork but received ") +
                                           (state.forked ? "a second fork" : "none"));
  }
  if (params.count < 1)
    throw EngineError("OPTION_INVALID", "Expected 1 or more for count but received " + std::to_string(params.count));
  if (params.count > state.params().streams) {
    throw EngineError("STREAMS_FULL", "Expected at most " + std::to_string(state.params().streams) +
                                          " branches, one for each stream, but received " +
                                          std::to_string(params.count));
  }
  if (params.max_tokens < 1)
    throw EngineError("OPTION_INVALID",
                      "Expected 1 or more for max tokens but received " + std::to_string(params.max_tokens));
  if (static_cast<std::int64_t>(params.first_candidate) + params.count > std::numeric_limits<std::int32_t>::max()) {
    throw EngineError("OPTION_INVALID",
                      "Expected candidate ids below 2^31 but received " + std::to_string(params.first_candidate));
  }
  check_sampling(params.sampling);
  check_tokens("stop tokens", params.stop_tokens, state.vocabulary());
  state.fork = params;
  state.forked = true;
  for (int i = 0; i < params.count; ++i) {
    Branch branch;
    branch.id = static_cast<std::int32_t>(params.first_candidate) + i;
    branch.stream = i;
    branch.length = state.prompt_length;
    state.branches.push_back(std::move(branch));
    state.branch_at[static_cast<std::size_t>(i)] = i;
    if (i > 0) state.streams->copy(0, i);
  }
  state.live = state.streams_used = params.count;
  state.cells_used = static_cast<std::int64_t>(params.count) * state.prompt_length;
  state.cells_peak = std::max(state.cells_peak, state.cells_used);
  WINNOW_CHECK_INTEGRITY();
}

Advance Pool::advance(int steps, double deadline_seconds) {
  State& state = *state_;
  state.streams->require_usable();
  const Clock::time_point deadline = deadline_after(deadline_seconds);
  if (steps < 1)
    throw EngineError("OPTION_INVALID", "Expected 1 or more for steps but received " + std::to_string(steps));
  if (!state.forked)
    throw EngineError("NOT_PREFILLED", "Expected a prefill and a fork before advance but received none");
  for (Branch& branch : state.branches) {
    branch.touched = false;
    branch.tokens.clear();
    branch.logprobs.clear();
    branch.entropies.clear();
  }
  Advance result;
  while (result.steps < steps && state.live > 0) {
    if (abort_.load(std::memory_order_relaxed)) {
      result.reason = AdvanceReason::aborted;
      break;
    }
    if (Clock::now() >= deadline) {
      result.reason = AdvanceReason::deadline;
      break;
    }
    const Clock::time_point sampling = Clock::now();
    state.sample_live();
    state.settle_sampled();  // an end token needs no cell, so branches can end even when the streams are full
    const Clock::time_point decoding = Clock::now();
    result.sample_seconds += std::chrono::duration<double>(decoding - sampling).count();
    if (state.live == 0) break;
    if (state.streams_full()) {
      result.reason = AdvanceReason::full;
      break;
    }
    result.decoded += state.decode_step();
    result.decode_seconds += seconds_since(decoding);
    ++result.steps;
  }
  if (state.live == 0) result.reason = AdvanceReason::settled;

  for (const Branch& branch : state.branches) {
    if (!branch.touched) continue;
    result.branches.push_back(branch.id);
    result.counts.push_back(static_cast<std::int32_t>(branch.tokens.size()));
    result.status.push_back(static_cast<std::uint8_t>(branch.status));
    result.tokens.insert(result.tokens.end(), branch.tokens.begin(), branch.tokens.end());
    result.logprobs.insert(result.logprobs.end(), branch.logprobs.begin(), branch.logprobs.end());
    result.entropies.insert(result.entropies.end(), branch.entropies.begin(), branch.entropies.end());
  }
  WINNOW_CHECK_INTEGRITY();
  return result;
}

void Pool::kill(const std::vector<std::int32_t>& ids) {
  State& state = *state_;
  state.streams->require_usable();
  for (const std::int32_t id : ids) state.find(id);  // all or none
  bool any = false;
  for (const std::int32_t id : ids) {
    Branch& branch = state.find(id);
    if (branch.status != BranchStatus::live) continue;
    branch.status = BranchStatus::killed;
    any = true;
  }
  if (any) state.retire();
  WINNOW_CHECK_INTEGRITY();
}

std::vector<float> Pool::states(const std::vector<std::int32_t>& ids) const {
  State& state = *state_;
  state.streams->require_usable();
  if (!state.params().states)
    throw EngineError("STATES_OFF",
                      "Expected a pool that keeps states but "
                      "received one opened without them");
  std::vector<float> rows;
  rows.reserve(ids.size() * static_cast<std::size_t>(state.width()));
  for (const std::int32_t id : ids) {
    const float* row = state.state_of(state.find(id));
    rows.insert(rows.end(), row, row + state.width());
  }
  return rows;
}

std::vector<float> Pool::confidence(const std::vector<std::int32_t>& ids) const {
  State& state = *state_;
  state.streams->require_usable();
  std::vector<float> rows;
  rows.reserve(ids.size() * kFeatures);
  for (const std::int32_t id : ids) {
    const std::array<float, kFeatures> features = state.find(id).confidence.features();
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

Occupancy Pool::occupancy() const {
  const State& state = *state_;
  Occupancy occupancy;
  occupancy.streams = state.params().streams;
  occupancy.streams_used = state.streams_used;
  occupancy.streams_free = occupancy.streams - occupancy.streams_used;
  occupancy.cells_per_stream = state.params().cells_per_stream;
  occupancy.cells = static_cast<std::int64_t>(occupancy.streams) * occupancy.cells_per_stream;
  occupancy.cells_used = state.cells_used;
  occupancy.cells_free = occupancy.cells - occupancy.cells_used;
  occupancy.cells_peak = state.cells_peak;
  occupancy.live = state.live;
  occupancy.kv_bytes = state.streams->bytes();
  return occupancy;
}

void Pool::check_integrity() const {
  const State& state = *state_;
  const auto expect = [](bool holds, const std::string& what, std::int64_t expected, std::int64_t received) {
    if (!holds)
      throw EngineError("INTEGRITY", "Expected " + std::to_string(expected) + " for " + what + " but received " +
                                         std::to_string(received));
  };
  const int streams = static_cast<int>(state.branch_at.size());
  std::int64_t cells = 0;
  int used = 0;
  for (int stream = 0; stream < streams; ++stream) {
    const int index = state.branch_at[static_cast<std::size_t>(stream)];
    int length = 0;
    if (index >= 0) {
      const Branch& branch = state.branches[static_cast<std::size_t>(index)];
      expect(branch.stream == stream, "the stream of branch " + std::to_string(branch.id), stream, branch.stream);
      expect(branch.status == BranchStatus::live, "the status of branch " + std::to_string(branch.id), 0,
             static_cast<int>(branch.status));
      expect(branch.length == state.prompt_length + branch.generated,
             "the cells of branch " + std::to_string(branch.id), state.prompt_length + branch.generated, branch.length);
      length = branch.length;
    } else if (stream == 0 && state.prefilled && !state.forked) {
      length = state.prompt_length;
    }
    expect((index >= 0) == (stream < state.live), "live branches up to stream " + std::to_string(stream), state.live,
           index);
    const int first = state.streams->first(stream), last = state.streams->last(stream);
    expect(last == length - 1, "llama.cpp's last position in stream " + std::to_string(stream), length - 1, last);
    expect(first == (length > 0 ? 0 : -1), "llama.cpp's first position in stream " + std::to_string(stream),
           length > 0 ? 0 : -1, first);
    cells += last + 1;
    used += last >= 0 ? 1 : 0;
  }
  int live = 0;
  for (const Branch& branch : state.branches) {
    live += branch.status == BranchStatus::live ? 1 : 0;
    expect((branch.stream >= 0) == (branch.status == BranchStatus::live),
           "the stream of branch " + std::to_string(branch.id), -1, branch.stream);
  }
  const Occupancy occupancy = this->occupancy();
  expect(live == state.live, "live branches", live, state.live);
  expect(occupancy.cells_used == cells, "cells used", cells, occupancy.cells_used);
  expect(occupancy.streams_used == used, "streams used", used, occupancy.streams_used);
  expect(occupancy.cells_used + occupancy.cells_free == occupancy.cells, "cells", occupancy.cells,
         occupancy.cells_used + occupancy.cells_free);
  expect(occupancy.cells_free >= 0, "cells free", 0, occupancy.cells_free);
  expect(occupancy.streams_used + occupancy.streams_free == occupancy.streams, "streams", occupancy.streams,
         occupancy.streams_used + occupancy.streams_free);
  expect(occupancy.cells_peak >= occupancy.cells_used, "peak cells", occupancy.cells_used, occupancy.cells_peak);
}

const Model& Pool::model() const { return state_->streams->model(); }
const PoolParams& Pool::params() const { return state_->params(); }

}  // namespace winnow
