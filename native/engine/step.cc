#include "step.h"

#include <algorithm>

#include "philox.h"

namespace winnow {
namespace {

constexpr std::int64_t kWorthSharing = 1 << 18;  // logits; below it waking a thread costs more than it saves

}  // namespace

Step::Step(Streams& streams, BranchTable& branches)
    : streams_(streams),
      branches_(branches),
      workers_(streams.params().threads),
      scratch_(static_cast<std::size_t>(streams.params().threads)) {}

void Step::prepare(const ForkParams& fork, std::uint64_t prompt_hash) {
  fork_ = fork;
  prompt_hash_ = prompt_hash;
}

void Step::sample_stream(int stream, int worker) {
  Branch& branch = branches_.at(stream);
  SamplerScratch& scratch = scratch_[static_cast<std::size_t>(worker)];
  const float* logits = streams_.logits(branch.row);
  const int vocabulary = streams_.model().facts().vocabulary;
  if (!fork_.given.empty()) {
    const std::size_t candidate = static_cast<std::size_t>(branch.id) - fork_.first_candidate;
    const std::vector<Token>& tokens = fork_.given[candidate];
    const std::size_t next = static_cast<std::size_t>(branch.generated);
    branch.next = next < tokens.size() ? measure(logits, vocabulary, tokens[next]) : Sampled{};
  } else {
    const double uniform = draw(fork_.seed, prompt_hash_, static_cast<std::uint32_t>(branch.id),
                                static_cast<std::uint32_t>(branch.generated));
    branch.next = winnow::sample(logits, vocabulary, fork_.sampling, uniform, scratch);
  }
  if (fork_.certainties) branch.next_certainty = certainty_of(logits, vocabulary, scratch);
}

void Step::sample() {
  const int live = branches_.live();
  if (static_cast<std::int64_t>(live) * streams_.model().facts().vocabulary < kWorthSharing) {
    for (int stream = 0; stream < live; ++stream) sample_stream(stream, 0);
  } else {
    workers_.run(live, [this](int stream, int worker) { sample_stream(stream, worker); });
  }
  settle();
}

// Ends the branches that sampled an end or stop token.
void Step::settle() {
  bool any = false;
  const std::vector<Token>& stops = fork_.stop_tokens;
  for (int stream = 0; stream < branches_.live(); ++stream) {
    Branch& branch = branches_.at(stream);
    // No token at all: the given ones are used up.
    if (branch.next.token < 0 || streams_.model().is_end(branch.next.token)) {
      branch.status = BranchStatus::end;
    } else if (std::find(stops.begin(), stops.end(), branch.next.token) != stops.end()) {
      branch.status = BranchStatus::stop;
    } else {
      continue;
    }
    branch.touched = any = true;
  }
  if (any) branches_.retire();
}

int Step::decode() {
  const int live = branches_.live();
  const int rows = std::max(live, streams_.least_rows());
  for (int stream = 0; stream < live; ++stream) {
    const Branch& branch = branches_.at(stream);
    streams_.set_row(stream, branch.next.token, branch.length, stream, true);
  }
  // Ghosts hold a cell only during the decode; they are no part of the accounts.
  for (int stream = live; stream < rows; ++stream) {
    streams_.set_row(stream, branches_.at(0).next.token, 0, stream, true);
  }
  streams_.decode(rows);
  for (int stream = live; stream < rows; ++stream) streams_.free_cells(stream);

  branches_.grow();
  bool any = false;
  for (int stream = 0; stream < live; ++stream) {
    Branch& branch = branches_.at(stream);
    ++branch.generated;
    branch.confidence.add(branch.next.logprob, branch.next.entropy);
    branch.tokens.push_back(branch.next.token);
    branch.logprobs.push_back(branch.next.logprob);
    branch.entropies.push_back(branch.next.entropy);
    if (fork_.certainties) {
      branch.certainties.push_back(branch.next_certainty.certainty);
      branch.top_confidences.push_back(branch.next_certainty.top_confidence);
    }
    branch.touched = true;
    if (branch.generated >= fork_.max_tokens) {
      branch.status = BranchStatus::length;
      any = true;
    }
  }
  if (any) branches_.retire();
  return rows;
}

}  // namespace winnow
