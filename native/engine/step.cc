#include "step.h"

#include <algorithm>
#include <string>

#include "error.h"
#include "philox.h"
#include "pieces.h"

namespace winnow {
namespace {

constexpr std::int64_t kWorthSharing = 1 << 18;  // logits; below it waking a thread costs more than it saves

// The token that a branch with given ones takes at a position; -1 behind their end.
Token given_to(const Branch& branch, int position) {
  const std::vector<Token>& tokens =
      branch.fork->given[static_cast<std::size_t>(branch.id) - branch.fork->first_candidate];
  const std::size_t at = static_cast<std::size_t>(position);
  return at < tokens.size() ? tokens[at] : -1;
}

}  // namespace

Step::Step(Streams& streams, BranchTable& branches)
    : streams_(streams),
      branches_(branches),
      workers_(streams.params().threads),
      scratch_(static_cast<std::size_t>(streams.params().threads)) {}

double Step::uniform_of(const Branch& branch, int position) const {
  return winnow::draw(branch.fork->seed, branches_.owner(branch.stream).prompt_hash,
                      static_cast<std::uint32_t>(branch.id), static_cast<std::uint32_t>(position));
}

// What the graph is to make of the row from which the token at `position` is drawn; nothing where that is not enough.
std::optional<RowAsk> Step::ask_of(const Branch& branch, int position) const {
  const ForkParams& fork = *branch.fork;
  if (fork.certainties || branch.rules) return std::nullopt;
  if (!fork.given.empty()) {
    RowAsk ask;
    ask.wanted = std::max(given_to(branch, position), 0);
    return ask;
  }
  return RowAsk::of(fork.sampling, streams_.model().facts().vocabulary, uniform_of(branch, position));
}

// False where the whole row of logits is needed.
bool Step::draw_from_digest(Branch& branch) const {
  if (branch.row < 0) return false;
  const std::optional<RowAsk> ask = ask_of(branch, branch.generated);
  if (!ask) return false;
  const RowDigest row = streams_.digest(branch.row);
  const bool given = !branch.fork->given.empty();
  const std::optional<Sampled> found =
      given ? measure(row, *ask) : winnow::sample(row, streams_.model().facts().vocabulary, *ask);
  if (!found) return false;
  branch.next = given && given_to(branch, branch.generated) < 0 ? Sampled{} : *found;
  branch.drawn = true;
  return true;
}

void Step::draw_one(Branch& branch, int worker) {
  try {
    draw_next(branch, scratch_[static_cast<std::size_t>(worker)]);
  } catch (const EngineError&) {
    // It may be drawn while another race is decoded, which has no part in it.
    branch.failure = std::current_exception();
  }
  branch.drawn = true;
}

void Step::draw_next(Branch& branch, RulesScratch& scratch) {
  const Race& race = branches_.owner(branch.stream);
  const ForkParams& fork = *branch.fork;
  const float* const logits = branches_.logits(race, branch);
  const int vocabulary = streams_.model().facts().vocabulary;
  if (!fork.given.empty()) {
    const Token token = given_to(branch, branch.generated);
    branch.next = token >= 0 ? measure(logits, vocabulary, token) : Sampled{};
  } else {
    const double uniform = uniform_of(branch, branch.generated);
    if (!branch.rules) {
      branch.next = winnow::sample(logits, vocabulary, fork.sampling, uniform, scratch.sampler);
    } else if (branch.rules->finished()) {
      branch.next = Sampled{};
    } else {
      branch.next = branch.rules->sample(logits, vocabulary, fork.sampling, uniform, scratch);
    }
  }
  if (fork.certainties) branch.next_certainty = certainty_of(logits, vocabulary, scratch.sampler);
}

void Step::draw(const std::vector<Branch*>& branches) {
  std::vector<Branch*> without;
  std::vector<int> rows;
  for (Branch* const branch : branches) {
    if (branch->drawn || (streams_.draws() && draw_from_digest(*branch))) continue;
    without.push_back(branch);
    if (branch->row >= 0) rows.push_back(branch->row);
  }
  streams_.fetch_logits(rows);
  const int count = static_cast<int>(without.size());
  if (static_cast<std::int64_t>(count) * streams_.model().facts().vocabulary < kWorthSharing) {
    for (Branch* const branch : without) draw_one(*branch, 0);
  } else {
    workers_.run(count, [&](int index, int worker) { draw_one(*without[static_cast<std::size_t>(index)], worker); });
  }
}

void Step::sample(const std::vector<Branch*>& taking) {
  draw(taking);
  for (const Branch* const branch : taking)
    if (branch->failure) std::rethrow_exception(branch->failure);
  bool any = false;
  for (Branch* const branch : taking) {
    const Token token = branch->next.token;
    const std::vector<Token>& stops = branch->fork->stop_tokens;
    if (token < 0) {
      // The given tokens are used up, or the grammar is complete; otherwise it allows nothing.
      const bool refused = branch->rules && !branch->rules->finished();
      branch->status = refused ? BranchStatus::refused : BranchStatus::end;
    } else if (streams_.model().is_end(token)) {
      branch->status = BranchStatus::end;
    } else if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
      branch->status = BranchStatus::stop;
    } else if (const std::optional<StopScan::Cut> cut = found_stop(*branch)) {
      // Of this token a part may be shown, so it is taken; nothing follows it, so it is not decoded.
      branch->status = BranchStatus::stop;
      branch->cut = cut->text;
      branch->cut_tokens = cut->tokens;
      take(*branch);
    } else {
      continue;
    }
    branch->touched = any = true;
  }
  if (any) branches_.retire();
}

std::optional<StopScan::Cut> Step::found_stop(const Branch& branch) const {
  if (!branch.scan) return std::nullopt;
  return branch.scan->find(streams_.model().pieces()->of(branch.next.token));
}

void Step::take(Branch& branch) {
  branch.drawn = false;
  branch.tokens.push_back(branch.next.token);
  branch.logprobs.push_back(branch.next.logprob);
  branch.entropies.push_back(branch.next.entropy);
  if (branch.fork->certainties) {
    branch.certainties.push_back(branch.next_certainty.certainty);
    branch.top_confidences.push_back(branch.next_certainty.top_confidence);
  }
  branch.touched = true;
}

void Step::keep_rows() { keep_rows_of_others({}); }

void Step::keep_rows_of_others(const std::vector<Branch*>& taking) {
  std::vector<Branch*> others;
  std::size_t next = 0;  // both are in the order of their streams
  for (int stream = 0; stream < branches_.used(); ++stream) {
    Branch* const branch = branches_.at(stream);
    if (branch == nullptr) continue;
    if (next < taking.size() && taking[next] == branch) {
      ++next;
    } else if (branch->row >= 0) {
      others.push_back(branch);
    }
  }
  draw(others);
  for (Branch* const branch : others) {
    const float* const row = streams_.state(branch->row);
    if (row != nullptr) branch->state.assign(row, row + streams_.model().facts().width);
    branch->row = -1;
  }
}

// For a ghost: an empty stream, or a cell behind the end of one that can be cut.
bool Step::has_room(int stream) const {
  if (stream < 0 || stream >= streams_.count()) return false;
  if (stream >= branches_.used()) return true;
  return branches_.length(stream) < streams_.limit() && streams_.movable();
}

// llama.cpp splits a batch at every gap between its streams and reads all the weights again for each part: a gap of one
// stream (a prompt that is kept, a branch that waits) is filled by a ghost; not of a unified cache. Where kernels for
// one row give other bits than those for several (`deterministic`), no part is left with one row.
std::vector<Step::Row> Step::rows_of(const std::vector<Branch*>& taking) const {
  std::vector<Row> rows;
  for (Branch* const branch : taking) {
    const int gap = rows.empty() ? 0 : branch->stream - rows.back().stream - 1;
    if (gap == 1 && !streams_.unified() && has_room(branch->stream - 1)) rows.push_back({nullptr, branch->stream - 1});
    rows.push_back({branch, branch->stream});
  }
  if (streams_.least_rows() == 1) return rows;
  std::vector<Row> padded;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const int stream = rows[i].stream;
    const bool follows = i > 0 && rows[i - 1].stream == stream - 1;
    const bool leads = i + 1 < rows.size() && rows[i + 1].stream == stream + 1;
    const bool lone = !follows && !leads;
    const bool behind = lone && has_room(stream + 1);
    if (lone && !behind) {
      // A ghost of the part before may stand there.
      if (!has_room(stream - 1) || (!padded.empty() && padded.back().stream >= stream - 1)) {
        throw EngineError("STREAMS_FULL", "Expected a free cell beside a branch that is decoded alone but received " +
                                              std::to_string(branches_.used()) + " streams in use");
      }
      padded.push_back({nullptr, stream - 1});
    }
    padded.push_back(rows[i]);
    if (behind) padded.push_back({nullptr, stream + 1});
  }
  return padded;
}

void Step::decode(const std::vector<Branch*>& taking) {
  const std::vector<Row> rows = rows_of(taking);
  keep_rows_of_others(taking);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const int stream = rows[i].stream;
    const Token token = rows[i].branch == nullptr ? taking.front()->next.token : rows[i].branch->next.token;
    streams_.set_row(static_cast<int>(i), token, branches_.length(stream), stream, true);
    if (!streams_.draws()) continue;
    const Branch* const branch = rows[i].branch;
    const std::optional<RowAsk> ask = branch == nullptr ? std::nullopt : ask_of(*branch, branch->generated + 1);
    streams_.ask(static_cast<int>(i), ask.value_or(RowAsk{}));
  }
  streams_.decode(static_cast<int>(rows.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (Branch* const branch = rows[i].branch) {
      branch->row = static_cast<int>(i);
      branches_.grow(*branch);
      continue;
    }
    const int stream = rows[i].stream;
    if (stream < branches_.used()) {
      streams_.cut(stream, branches_.length(stream));
    } else {
      streams_.free_cells(stream);
    }
    // The one before it in the next stream, or else the one it stands in front of.
    const bool behind = i > 0 && rows[i - 1].branch != nullptr && rows[i - 1].stream == stream - 1;
    ++branches_.owner(rows[behind ? i - 1 : i + 1].stream).rows;
  }

  bool any = false;
  for (Branch* const branch : taking) {
    ++branch->generated;
    branch->confidence.add(branch->next.logprob, branch->next.entropy);
    if (branch->rules) branch->rules->accept(branch->next.token);
    if (branch->scan) branch->scan->accept(streams_.model().pieces()->of(branch->next.token));
    take(*branch);
    if (branch->generated >= branch->fork->max_tokens) {
      branch->status = BranchStatus::length;
      any = true;
    }
  }
  if (any) branches_.retire();
}

}  // namespace winnow
