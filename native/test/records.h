// What branches of many races wrote, to be compared with what each writes alone.
#pragma once

#include <map>
#include <memory>

#include "fixture.h"

namespace winnow::test {

inline const std::vector<Token> kPrompt = {1, 40, 41, 42, 300, 301, 7};
inline const std::vector<Token> kOther = {1, 17, 99, 5, 5, 6, 8, 12, 400};

inline PoolParams exact(int streams, int cells = 256) {
  PoolParams params = pool_of(streams, cells);
  params.deterministic = true;
  return params;
}

// What a branch wrote, to the bit, and the state it was left in.
struct Record {
  std::vector<Token> tokens;
  std::vector<float> logprobs, state;
  bool operator==(const Record& other) const {
    return tokens == other.tokens && logprobs == other.logprobs && state == other.state;
  }
};
using Records = std::map<std::int32_t, Record>;

inline void gather(const Advance& advance, Records& into) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < advance.branches.size(); ++i) {
    Record& record = into[advance.branches[i]];
    for (std::int32_t taken = 0; taken < advance.counts[i]; ++taken, ++at) {
      record.tokens.push_back(advance.tokens[at]);
      record.logprobs.push_back(advance.logprobs[at]);
    }
  }
}

inline void read_states(const Pool& pool, RaceId race, Records& into) {
  for (auto& [id, record] : into) record.state = pool.states(race, {id});
}

inline Records alone(const std::vector<Token>& prompt, const ForkParams& fork, int until, int cells = 256,
                     const std::shared_ptr<Model>& model = small()) {
  const std::unique_ptr<Pool> pool = Pool::create(model, exact(fork.count, cells));
  const RaceId race = pool->prefill(prompt).race;
  pool->fork(race, fork);
  Records records;
  gather(pool->advance({{race, until}}).at(0), records);
  read_states(*pool, race, records);
  return records;
}

}  // namespace winnow::test
