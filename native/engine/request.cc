#include "request.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "checks.h"
#include "error.h"

namespace winnow {
namespace {

void check_sampling(const Sampling& sampling) {
  expect(std::isfinite(sampling.temperature) && sampling.temperature >= 0, "0 or more for temperature",
         sampling.temperature);
  expect(sampling.top_k >= 0, "0 or more for top-k", sampling.top_k);
  expect(sampling.top_p > 0 && sampling.top_p <= 1, "more than 0 and at most 1 for top-p", sampling.top_p);
  expect(sampling.min_p >= 0 && sampling.min_p <= 1, "0 to 1 for min-p", sampling.min_p);
}

}  // namespace

void check_tokens(const char* name, const std::vector<Token>& tokens, int vocabulary) {
  for (const Token token : tokens) {
    if (token < 0 || token >= vocabulary) {
      throw EngineError("TOKEN_INVALID", std::string("Expected ") + name + " from 0 to " +
                                             std::to_string(vocabulary - 1) + " but received " + std::to_string(token));
    }
  }
}

void check_prompt(const std::vector<Token>& prompt, int limit, int vocabulary) {
  if (prompt.empty()) {
    throw EngineError("PROMPT_EMPTY", "Expected a prompt of at least one token but received none");
  }
  if (prompt.size() >= static_cast<std::size_t>(limit)) {
    throw EngineError("PROMPT_TOO_LONG", "Expected a prompt of at most " + std::to_string(limit - 1) +
                                             " tokens, which leaves room for one more, but received " +
                                             std::to_string(prompt.size()));
  }
  check_tokens("token ids", prompt, vocabulary);
}

void check_cells(std::int64_t cells, const BranchTable& branches) {
  if (cells <= branches.cells_free()) return;
  throw EngineError("STREAMS_FULL", "Expected " + std::to_string(cells) + " free cells but received a pool with " +
                                        std::to_string(branches.cells_free()));
}

void check_fork(const ForkParams& params, const Race& race, int room, int vocabulary) {
  expect(params.count >= 1, "1 or more for count", params.count);
  if (params.count > room) {
    throw EngineError("STREAMS_FULL", "Expected at most " + std::to_string(room) +
                                          " branches, one for each free stream, but received " +
                                          std::to_string(params.count));
  }
  const std::int64_t least = race.branches.empty() ? 0 : static_cast<std::int64_t>(race.branches.back().id) + 1;
  expect(static_cast<std::int64_t>(params.first_candidate) >= least, "candidates above those the race has",
         params.first_candidate);
  expect(params.max_tokens >= 1, "1 or more for max tokens", params.max_tokens);
  expect(static_cast<std::int64_t>(params.first_candidate) + params.count <= std::numeric_limits<std::int32_t>::max(),
         "candidate ids below 2^31", params.first_candidate);
  check_sampling(params.sampling);
  check_tokens("stop tokens", params.stop_tokens, vocabulary);
  if (params.given.empty()) return;
  expect(params.given.size() == static_cast<std::size_t>(params.count), "given tokens for each branch",
         params.given.size());
  for (const std::vector<Token>& tokens : params.given) check_tokens("given tokens", tokens, vocabulary);
}

void check_shape(int streams, int cells_per_stream, const BranchTable& branches) {
  expect(streams >= std::max(branches.used(), 1), "a stream for each that is in use", streams);
  int longest = 0;
  for (int stream = 0; stream < branches.used(); ++stream) longest = std::max(longest, branches.length(stream));
  expect(cells_per_stream >= longest, "a cell for each token of the longest branch", cells_per_stream);
}

void check_turns(const std::vector<Turn>& turns) {
  expect(!turns.empty(), "at least one race to advance", turns.size());
  std::set<RaceId> races;
  for (const Turn& turn : turns) {
    expect(turn.until >= 1, "1 or more for until", turn.until);
    expect(turn.least >= 0, "0 or more for least", turn.least);
    expect(races.insert(turn.race).second, "each race once", turn.race);
  }
}

}  // namespace winnow
