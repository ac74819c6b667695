// One cache that all branches share: what streams would write, accounts of every cell, and what it refuses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <set>
#include <utility>

#include "records.h"
#include "sliding_model.h"

namespace winnow::test {
namespace {

// A prompt that is long beside what is written, as where this layout pays.
std::vector<Token> long_prompt(int tokens) {
  std::vector<Token> prompt;
  for (int i = 0; i < tokens; ++i) prompt.push_back(1 + (i * 37 + i / 7) % 500);
  return prompt;
}

PoolParams unified(int streams, int cells, int each = 512) {
  PoolParams params = pool_of(streams, each);
  params.unified_cells = cells;
  return params;
}

// The same answers in any layout: what is compared is what the model makes of them.
ForkParams given(int count, int tokens) {
  ForkParams fork = fork_of(count);
  for (int id = 0; id < count; ++id) {
    fork.given.emplace_back();
    for (int i = 0; i < tokens; ++i) fork.given.back().push_back((id * 13 + i * 7) % 500);
  }
  return fork;
}

Records written(const PoolParams& params, const ForkParams& fork, int until, int prompt = 300) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), params);
  const RaceId race = pool->prefill(long_prompt(prompt)).race;
  pool->fork(race, fork);
  Records records;
  gather(pool->advance({{race, until}}).at(0), records);
  read_states(*pool, race, records);
  return records;
}

double apart(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) most = std::max<double>(most, std::fabs(a[i] - b[i]));
  return most;
}

TEST(Unified, ReadsWhatStreamsReadWithinRounding) {
  // The last two are computed in parts and in tiles (context.cc).
  for (const auto& [count, tokens] : {std::pair(1, 40), std::pair(5, 40), std::pair(70, 40), std::pair(70, 8)}) {
    const ForkParams fork = given(count, tokens);
    const Records streams = written(pool_of(count, 512), fork, tokens);
    const Records shared = written(unified(count + 1, 300 + tokens * count), fork, tokens);
    ASSERT_EQ(shared.size(), streams.size());
    for (const auto& [id, record] : streams) {
      EXPECT_EQ(shared.at(id).tokens, record.tokens);
      EXPECT_LT(apart(shared.at(id).logprobs, record.logprobs), 0.05) << id << " of " << count;
      EXPECT_LT(apart(shared.at(id).state, record.state), 0.05) << id << " of " << count;
    }
  }
}

TEST(Unified, WritesTheTokensOfStreamsUntilTwoAreAboutAsLikely) {
  ForkParams fork = fork_of(4);
  fork.sampling.temperature = 0;
  const Records streams = written(pool_of(4, 512), fork, 60);
  const Records shared = written(unified(5, 300 + 4 * 60), fork, 60);
  for (const auto& [id, record] : streams) {
    // Greedy branches are all alike.
    EXPECT_EQ(shared.at(id).tokens, shared.at(0).tokens);
    const auto [here, there] =
        std::mismatch(shared.at(id).tokens.begin(), shared.at(id).tokens.end(), record.tokens.begin());
    const std::ptrdiff_t alike = here - shared.at(id).tokens.begin();
    EXPECT_GE(alike, 8);
    if (here == shared.at(id).tokens.end()) continue;
    EXPECT_NEAR(shared.at(id).logprobs[static_cast<std::size_t>(alike)],
                record.logprobs[static_cast<std::size_t>(alike)], 0.05);
  }
}

TEST(Unified, HoldsThePromptOnce) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), unified(9, 600));
  EXPECT_EQ(pool->occupancy().cells, 768);
  EXPECT_EQ(pool->sizes().streams, 1);
  EXPECT_EQ(pool->sizes().cells_per_stream, 768);
  const RaceId race = pool->prefill(long_prompt(300)).race;
  pool->fork(race, fork_of(8));
  EXPECT_EQ(pool->occupancy().cells_used, 300);
  const Advance advance = pool->advance({{race, 20}}).at(0);
  EXPECT_EQ(advance.cells_peak, 300 + 8 * 20);
  EXPECT_EQ(advance.decoded, 8 * 20);
  pool->kill(race, {0, 3, 4, 5});
  EXPECT_EQ(pool->occupancy().cells_used, 300 + 4 * 20);
  pool->kill(race, {1, 2, 6, 7});
  EXPECT_EQ(pool->occupancy().cells_used, 300);
  pool->end(race);
  EXPECT_EQ(pool->occupancy().cells_used, 0);
  EXPECT_EQ(pool->occupancy().streams_used, 0);
}

TEST(Unified, IsFullAtItsLastCellAndGoesOnWhenSomeAreFreed) {
  // 768 cells: 300 of the prompt, and 58 steps of 8 take 464 of the other 468.
  const std::unique_ptr<Pool> pool = Pool::create(small(), unified(9, 768));
  const RaceId race = pool->prefill(long_prompt(300)).race;
  pool->fork(race, fork_of(8));
  Records records;
  Advance advance = pool->advance({{race, 200}}).at(0);
  gather(advance, records);
  EXPECT_EQ(advance.reason, AdvanceReason::full);
  EXPECT_EQ(advance.steps, 58);
  EXPECT_EQ(pool->occupancy().live, 8);
  EXPECT_EQ(pool->occupancy().cells_free, 4);
  EXPECT_EQ(pool->advance({{race, 200}}).at(0).reason, AdvanceReason::full);
  // Four fit into the last four cells, to the last one.
  pool->park(race, {1, 3, 5, 7}, true);
  EXPECT_EQ(pool->occupancy().cells_free, 4 + 4 * 58);
  pool->resume(race, {1, 3, 5});
  EXPECT_EQ(pool->occupancy().cells_free, 4 + 58);
  pool->kill(race, {1});
  advance = pool->advance({{race, 200}}).at(0);
  gather(advance, records);
  EXPECT_EQ(advance.reason, AdvanceReason::full);
  EXPECT_EQ(advance.steps, (4 + 2 * 58) / 6);
  EXPECT_EQ(pool->occupancy().cells_free, 0);
  EXPECT_EQ(code_of([&] { pool->resume(race, {7}); }), "STREAMS_FULL");
  EXPECT_EQ(code_of([&] { pool->prefill({1, 2, 3}); }), "STREAMS_FULL");
  EXPECT_EQ(records.at(0).tokens.size(), 78u);
  pool->kill(race, {0, 2, 3});
  pool->resume(race, {7});
  advance = pool->advance({{race, 100}}).at(0);
  EXPECT_EQ(advance.reason, AdvanceReason::reached);
}

TEST(Unified, GivesBackWhatWasCopiedToTheBit) {
  const auto run = [](bool disturbed) {
    const std::unique_ptr<Pool> pool = Pool::create(small(), unified(7, 768));
    const RaceId race = pool->prefill(long_prompt(300)).race;
    pool->fork(race, fork_of(6));
    if (disturbed) {
      // Before its first token there is nothing to copy.
      pool->park(race, {2}, true);
      EXPECT_EQ(pool->occupancy().parked_bytes, 0u);
      EXPECT_EQ(pool->resume(race, {2}), 0);
    }
    Records records;
    gather(pool->advance({{race, 9}}).at(0), records);
    if (disturbed) {
      pool->park(race, {0, 1, 2, 3, 4, 5}, true);
      EXPECT_EQ(pool->occupancy().cells_used, 300);
      EXPECT_GT(pool->occupancy().parked_bytes, 0u);
      EXPECT_EQ(pool->resume(race, {0, 1, 2, 3, 4, 5}), 0);
      EXPECT_EQ(pool->occupancy().cells_used, 300 + 6 * 9);
    }
    gather(pool->advance({{race, 40}}).at(0), records);
    read_states(*pool, race, records);
    return records;
  };
  EXPECT_EQ(run(true), run(false));
}

TEST(Unified, DecodesAgainOnlyWhatWasWritten) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), unified(4, 768));
  const RaceId race = pool->prefill(long_prompt(300)).race;
  pool->fork(race, given(3, 60));
  Records records;
  gather(pool->advance({{race, 20}}).at(0), records);
  pool->park(race, {0, 2}, false);
  EXPECT_EQ(pool->resume(race, {2, 0}), 2 * 20);
  gather(pool->advance({{race, 60}}).at(0), records);
  const Records whole = written(unified(4, 768), given(3, 60), 60);
  for (const auto& [id, record] : whole) EXPECT_LT(apart(records.at(id).logprobs, record.logprobs), 0.05);
}

TEST(Unified, KeepsRacesApart) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), unified(8, 1024));
  const RaceId one = pool->prefill(long_prompt(200)).race;
  const Prefill second = pool->prefill(long_prompt(220));
  // Nothing is copied from the other race, though the prompts begin alike.
  EXPECT_EQ(second.decoded, 220);
  pool->fork(one, given(3, 50));
  pool->fork(second.race, given(3, 50));
  Records records;
  gather(pool->advance({{second.race, 30}, {one, 30}}).at(0), records);
  pool->end(one);
  gather(pool->advance({{second.race, 50}}).at(0), records);
  const Records whole = written(unified(4, 512), given(3, 50), 50, 220);
  for (const auto& [id, record] : whole) EXPECT_LT(apart(records.at(id).logprobs, record.logprobs), 0.05);
}

TEST(Unified, CutShortLeavesNothingBehind) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), unified(5, 1024, 1024));
  EXPECT_EQ(pool->prefill(long_prompt(900), 1e-9).reason, AdvanceReason::deadline);
  pool->request_abort();
  EXPECT_EQ(pool->prefill(long_prompt(900)).reason, AdvanceReason::aborted);
  pool->clear_abort();
  EXPECT_EQ(pool->occupancy().cells_used, 0);
  const RaceId race = pool->prefill(long_prompt(300)).race;
  pool->fork(race, fork_of(4));
  pool->request_abort();
  EXPECT_EQ(pool->advance({{race, 50}}).at(0).reason, AdvanceReason::aborted);
  pool->clear_abort();
  EXPECT_EQ(pool->advance({{race, 50}}, 1e-9).at(0).reason, AdvanceReason::deadline);
  EXPECT_EQ(pool->advance({{race, 50}}).at(0).reason, AdvanceReason::reached);
  EXPECT_EQ(pool->occupancy().cells_used, 300 + 4 * 50);
}

TEST(Unified, IsRefusedWhereItCannotBe) {
  const auto create = [](PoolParams params, bool deterministic) {
    params.deterministic = deterministic;
    return code_of([&] { Pool::create(small(), params); });
  };
  EXPECT_EQ(create(unified(4, 512), true), "OPTION_INVALID");
  EXPECT_EQ(create(unified(4, -1), false), "OPTION_INVALID");
  EXPECT_EQ(create(unified(257, 512), false), "OPTION_INVALID");
  EXPECT_EQ(create(unified(4, 512), false), "");
  EXPECT_EQ(code_of([&] { Pool::create(sliding(), unified(4, 512)); }), "MODEL_UNSUPPORTED");
  const std::unique_ptr<Pool> pool = Pool::create(small(), unified(4, 512));
  EXPECT_EQ(code_of([&] { pool->reshape(2, 512); }), "OPTION_INVALID");
  // Sequences, tokens of one, and cells of all.
  EXPECT_EQ(code_of([&] { pool->prefill(long_prompt(512)); }), "PROMPT_TOO_LONG");
  const RaceId race = pool->prefill(long_prompt(100)).race;
  EXPECT_EQ(code_of([&] { pool->fork(race, fork_of(4)); }), "STREAMS_FULL");
  pool->fork(race, fork_of(3));
  EXPECT_EQ(pool->occupancy().streams_free, 0);
}

// Every operation checks the accounts against llama.cpp's own.
TEST(Unified, KeepsItsAccountsWhateverIsDone) {
  for (unsigned seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)); };
    const std::unique_ptr<Pool> pool = Pool::create(small(), unified(2 + below(12), 256 * (1 + below(4)), 256));
    std::map<RaceId, int> races;  // branches each has had
    const auto some = [&](RaceId race) {
      std::vector<std::int32_t> ids;
      for (int id = 0; id < races[race]; ++id)
        if (below(3) == 0) ids.push_back(id);
      return ids;
    };
    int refused = 0, advanced = 0;
    for (int turn = 0; turn < 150; ++turn) {
      const int what = below(8);
      std::string code;
      if (races.empty() || what == 0) {
        code = code_of([&] { races[pool->prefill(long_prompt(1 + below(120))).race] = 0; });
      } else {
        const RaceId race = std::next(races.begin(), below(static_cast<int>(races.size())))->first;
        if (what == 1) {
          ForkParams fork = fork_of(1 + below(4));
          fork.first_candidate = static_cast<std::uint32_t>(races[race]);
          fork.max_tokens = 1 + below(80);
          code = code_of([&] { pool->fork(race, fork); });
          if (code.empty()) races[race] += fork.count;
        } else if (what == 2) {
          pool->kill(race, some(race));
        } else if (what == 3) {
          pool->park(race, some(race), below(2) == 0);
        } else if (what == 4) {
          const std::vector<std::int32_t> ids = some(race);
          code = code_of([&] { pool->resume(race, ids); });
        } else if (what == 5 && below(4) == 0) {
          pool->end(race);
          races.erase(race);
        } else if (races[race] > 0) {
          const AdvanceReason reason = pool->advance({{race, 1 + below(60)}}).at(0).reason;
          EXPECT_TRUE(reason == AdvanceReason::reached || reason == AdvanceReason::settled ||
                      reason == AdvanceReason::full);
          ++advanced;
        }
      }
      EXPECT_TRUE(code.empty() || code == "STREAMS_FULL") << code;
      refused += code.empty() ? 0 : 1;
      pool->check_integrity();
    }
    EXPECT_GT(advanced, 0);
    EXPECT_LT(refused, 150);
    for (const auto& [race, count] : races) pool->end(race);
    EXPECT_EQ(pool->occupancy().cells_used, 0);
  }
}

}  // namespace
}  // namespace winnow::test
