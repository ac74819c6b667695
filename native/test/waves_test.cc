// More branches than streams: written one part after another, with a kept prompt, stops for room, and branches that
// make room for others.
#include <gtest/gtest.h>

#include <algorithm>

#include "fixture.h"

namespace winnow::test {
namespace {

const std::vector<Token> kPrompt = {1, 40, 41, 42, 300, 301, 7, 9, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22};

PoolParams exact(int streams) {
  PoolParams params = pool_of(streams);
  params.deterministic = true;
  return params;
}

ForkParams part(int first, int count, bool more) {
  ForkParams fork = fork_of(count);
  fork.first_candidate = static_cast<std::uint32_t>(first);
  fork.keep_prompt = more;
  return fork;
}

Written whole(int count, int until) {
  Written written;
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(count));
  const RaceId race = pool->prefill(kPrompt).race;
  pool->fork(race, fork_of(count));
  gather(pool->advance({{race, until}}).at(0), written);
  return written;
}

TEST(Waves, WriteOnePartAfterAnotherWhatAllAtOnceWould) {
  for (const bool copy : {true, false}) {
    const std::unique_ptr<Pool> pool = Pool::create(small(), exact(4));
    const RaceId race = pool->prefill(kPrompt).race;
    Written written;
    for (int first = 0; first < 9; first += 3) {
      pool->fork(race, part(first, 3, first < 6));
      EXPECT_EQ(pool->advance({{race, 10}}).at(0).reason, AdvanceReason::reached);
      pool->park(race, ids(first, 3), copy);
      EXPECT_EQ(pool->occupancy().parked_bytes > 0, copy);
      EXPECT_EQ(pool->occupancy().live, 0);
    }
    std::int64_t decoded = 0;
    for (int first = 0; first < 9; first += 3) {
      decoded += pool->resume(race, ids(first, 3));
      const Advance advance = pool->advance({{race, 25}}).at(0);
      gather(advance, written);
      pool->park(race, ids(first, 3), false);
    }
    // The prompt went with the last part's first branch: the first of each part decodes it again, the others copy it.
    EXPECT_EQ(decoded, copy ? 0 : 9 * 10 + 3 * static_cast<int>(kPrompt.size()));
    EXPECT_EQ(pool->occupancy().parked_bytes, 0u);
    Written expected = whole(9, 25);
    for (auto& [id, tokens] : expected) tokens.erase(tokens.begin(), tokens.begin() + 10);
    for (auto& [id, tokens] : written) tokens.erase(tokens.begin(), tokens.end() - 15);
    EXPECT_EQ(written, expected);
  }
}

TEST(Waves, StopWhereTooFewAreOnTheirWay) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(4));
  const RaceId race = pool->prefill(kPrompt).race;
  ForkParams some = part(0, 3, true);
  some.given = {{5, 6, 7}, {5, 6, 7, 8, 9, 10}, std::vector<Token>(30, 4)};
  pool->fork(race, some);
  const Advance first = pool->advance({{race, 20, 3}}).at(0);
  EXPECT_EQ(first.reason, AdvanceReason::room);
  EXPECT_EQ(pool->occupancy().live, 2);
  ForkParams more = part(3, 1, false);
  more.given = {std::vector<Token>(30, 4)};
  pool->fork(race, more);
  const Advance second = pool->advance({{race, 20, 3}}).at(0);
  EXPECT_EQ(second.reason, AdvanceReason::room);
  EXPECT_EQ(pool->occupancy().live, 2);
  // Asked again with nobody new it says so again, and takes nobody further.
  EXPECT_EQ(pool->advance({{race, 20, 3}}).at(0).steps, 0);
  EXPECT_EQ(pool->advance({{race, 20, 2}}).at(0).reason, AdvanceReason::room) << "one is there and waits";
  EXPECT_EQ(pool->advance({{race, 20}}).at(0).reason, AdvanceReason::reached);
  EXPECT_EQ(code_of([&] { pool->advance({{race, 20, -1}}); }), "OPTION_INVALID");
}

TEST(Waves, LeaveRoomForAnotherRaceUntold) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(6));
  const RaceId one = pool->prefill(kPrompt).race;
  pool->fork(one, fork_of(2));
  const RaceId two = pool->prefill({1, 2, 3}).race;
  ForkParams short_one = fork_of(2);
  short_one.given = {{5}, {5, 6, 7, 8}};
  pool->fork(two, short_one);
  const std::vector<Advance> both = pool->advance({{one, 30}, {two, 30, 2}});
  EXPECT_EQ(both[0].reason, AdvanceReason::running);
  EXPECT_EQ(both[1].reason, AdvanceReason::room);
  EXPECT_EQ(both[1].branches, (std::vector<std::int32_t>{0, 1}));
}

}  // namespace
}  // namespace winnow::test
