// Many races in one pool: what a race writes does not depend on the others.
#include "race.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "records.h"

namespace winnow::test {
namespace {

TEST(Race, WritesBesideOthersWhatItWritesAlone) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(16));
  const RaceId first = pool->prefill(kPrompt).race;
  pool->fork(first, fork_of(6));
  Records one, two;
  gather(pool->advance({{first, 5}}).at(0), one);
  // A prompt is decoded, and its branches take their first tokens, in the middle of the other race.
  const RaceId second = pool->prefill(kOther).race;
  EXPECT_NE(first, second);
  pool->fork(second, fork_of(4, 1000, 9));
  for (int until = 1; until <= 30; ++until) {
    const std::vector<Advance> both = pool->advance({{first, 5 + until}, {second, until}});
    EXPECT_EQ(both[0].reason, AdvanceReason::reached);
    EXPECT_EQ(both[1].reason, AdvanceReason::reached);
    EXPECT_EQ(both[0].decoded + both[1].decoded, 10);
    gather(both[0], one);
    gather(both[1], two);
  }
  read_states(*pool, first, one);
  read_states(*pool, second, two);
  EXPECT_EQ(one, alone(kPrompt, fork_of(6), 35));
  EXPECT_EQ(two, alone(kOther, fork_of(4, 1000, 9), 30));
}

TEST(Race, WaitsWhileOthersGoOnAndLosesNothing) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(8));
  const RaceId first = pool->prefill(kPrompt).race;
  pool->fork(first, fork_of(3));
  const RaceId second = pool->prefill(kOther).race;
  pool->fork(second, fork_of(3));
  Records one, two;
  gather(pool->advance({{first, 7}}).at(0), one);
  const std::vector<float> state = pool->states(first, {0, 1, 2}), confidence = pool->confidence(first, {0, 1, 2});
  gather(pool->advance({{second, 20}}).at(0), two);
  EXPECT_EQ(pool->states(first, {0, 1, 2}), state) << "its rows are gone, their copies are not";
  EXPECT_EQ(pool->confidence(first, {0, 1, 2}), confidence);
  pool->kill(first, {1});
  gather(pool->advance({{first, 20}}).at(0), one);
  one.erase(1);
  read_states(*pool, first, one);
  read_states(*pool, second, two);
  Records whole = alone(kPrompt, fork_of(3), 20);
  whole.erase(1);
  EXPECT_EQ(one, whole);
  EXPECT_EQ(two, alone(kOther, fork_of(3), 20));
}

TEST(Race, StopsACallWhenItIsThereAndSaysOfTheOthersThatTheyRun) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), pool_of(8));
  const RaceId first = pool->prefill(kPrompt).race;
  pool->fork(first, fork_of(4, 12));
  const RaceId second = pool->prefill(kOther).race;
  pool->fork(second, fork_of(4));
  std::vector<Advance> both = pool->advance({{first, 10}, {second, 30}});
  EXPECT_EQ(both[0].reason, AdvanceReason::reached);
  EXPECT_EQ(both[1].reason, AdvanceReason::running);
  EXPECT_TRUE(both[1].branches.empty()) << "it is told at the end of the turn";
  both = pool->advance({{first, 100}, {second, 30}});
  EXPECT_EQ(both[0].reason, AdvanceReason::settled);
  EXPECT_EQ(both[0].steps, 2);
  both = pool->advance({{second, 30}});
  EXPECT_EQ(both[0].reason, AdvanceReason::reached);
  EXPECT_EQ(both[0].steps, 30);
  EXPECT_EQ(both[0].tokens.size(), 4u * 30u);
  EXPECT_EQ(pool->occupancy().streams_used, 4);
  both = pool->advance({{second, 1000}});
  EXPECT_EQ(both[0].reason, AdvanceReason::full);
  EXPECT_EQ(pool->advance({{second, 1000}})[0].reason, AdvanceReason::full);
}

TEST(Race, ThatIsFullLetsOthersGoOn) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(8));
  const RaceId first = pool->prefill(std::vector<Token>(250, 3)).race;
  pool->fork(first, fork_of(4));
  const RaceId second = pool->prefill(kOther).race;
  pool->fork(second, fork_of(4));
  Records two;
  std::vector<Advance> both = pool->advance({{second, 50}, {first, 50}});
  gather(both[0], two);
  EXPECT_EQ(both[1].reason, AdvanceReason::full);
  EXPECT_EQ(both[1].steps, 6);
  EXPECT_EQ(both[0].reason, AdvanceReason::running);
  gather(pool->advance({{second, 50}})[0], two);
  pool->end(first);
  gather(pool->advance({{second, 60}})[0], two);
  read_states(*pool, second, two);
  EXPECT_EQ(two, alone(kOther, fork_of(4), 60));
}

TEST(Race, CopiesTheBeginningThatAnotherPromptHolds) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), pool_of(8));
  std::vector<Token> first(100), second;
  for (int i = 0; i < 100; ++i) first[static_cast<std::size_t>(i)] = 3 + i;
  second.assign(first.begin(), first.begin() + 60);
  second.insert(second.end(), {9, 9, 9});
  const Prefill whole = pool->prefill(first);
  EXPECT_EQ(whole.decoded, 100);
  pool->fork(whole.race, fork_of(2));
  pool->advance({{whole.race, 10}});
  const Prefill part = pool->prefill(second);
  EXPECT_EQ(part.tokens, 63);
  EXPECT_EQ(part.decoded, 3);
  const Prefill same = pool->prefill(second);
  EXPECT_EQ(same.decoded, 1) << "the last token is decoded for its logits";
  // Both read what a whole decode would have read.
  const std::unique_ptr<Pool> fresh = Pool::create(small(), pool_of(2));
  const RaceId race = fresh->prefill(second).race;
  fresh->fork(race, fork_of(1));
  const std::vector<float> expected = fresh->states(race, {0});
  for (const RaceId each : {part.race, same.race}) {
    pool->fork(each, fork_of(1));
    const std::vector<float> state = pool->states(each, {0});
    for (std::size_t i = 0; i < state.size(); ++i) EXPECT_NEAR(state[i], expected[i], 0.02);
  }
  const std::unique_ptr<Pool> deterministic = Pool::create(small(), exact(4));
  deterministic->prefill(first);
  EXPECT_EQ(deterministic->prefill(second).decoded, 63) << "how a prompt is cut may show in its last bits";
}

TEST(Race, ForksFromAPromptThatIsKeptInPartsAsAtOnce) {
  ForkParams fork = fork_of(9);
  const Records whole = alone(kPrompt, fork, 25);
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(5));
  const RaceId race = pool->prefill(kPrompt).race;
  Records parts;
  for (const int first : {0, 4, 8}) {
    fork.first_candidate = static_cast<std::uint32_t>(first);
    fork.count = std::min(4, 9 - first);
    fork.keep_prompt = first < 8;
    pool->fork(race, fork);
    const Advance advance = pool->advance({{race, 25}})[0];
    EXPECT_EQ(advance.reason, AdvanceReason::reached);
    gather(advance, parts);
    read_states(*pool, race, parts);
    pool->kill(race, ids(first, fork.count));
  }
  EXPECT_EQ(parts, whole);
  EXPECT_EQ(code_of([&] { pool->fork(race, fork); }), "NOT_PREFILLED");
  pool->end(race);
  EXPECT_EQ(pool->occupancy().cells_used, 0);
  EXPECT_EQ(code_of([&] { pool->advance({{race, 30}}); }), "RACE_UNKNOWN");
  pool->end(race);
}

// Races of one branch each, in a full pool: a lone row has its ghost before or behind it.
TEST(Race, HasAGhostBesideEveryLoneBranchAndPaysForItsOwn) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(4));
  std::vector<RaceId> races;
  for (int i = 0; i < 4; ++i) {
    races.push_back(pool->prefill(kPrompt).race);
    pool->fork(races.back(), fork_of(1, 1000, static_cast<std::uint64_t>(i)));
  }
  Records first, last;
  const std::vector<Advance> ends = pool->advance({{races[0], 3}, {races[3], 3}});
  gather(ends[0], first);
  gather(ends[1], last);
  EXPECT_EQ(ends[0].decoded, 6);
  EXPECT_EQ(ends[1].decoded, 6);
  read_states(*pool, races[0], first);
  read_states(*pool, races[3], last);
  EXPECT_EQ(first, alone(kPrompt, fork_of(1, 1000, 0), 3));
  EXPECT_EQ(last, alone(kPrompt, fork_of(1, 1000, 3), 3));

  const std::unique_ptr<Pool> six = Pool::create(small(), exact(6));
  const RaceId pair = six->prefill(kPrompt).race;
  six->fork(pair, fork_of(2));
  const RaceId between = six->prefill(kPrompt).race;
  six->fork(between, fork_of(3));
  const RaceId lone = six->prefill(kOther).race;
  six->fork(lone, fork_of(1));
  const std::vector<Advance> both = six->advance({{pair, 4}, {lone, 4}});
  EXPECT_EQ(both[0].decoded, 8);
  EXPECT_EQ(both[1].decoded, 8) << "its ghost stands before it";
}

TEST(Race, RefusesWhatThereIsNoStreamFor) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), pool_of(3));
  const RaceId first = pool->prefill(kPrompt).race;
  ForkParams fork = fork_of(3);
  fork.keep_prompt = true;
  EXPECT_EQ(code_of([&] { pool->fork(first, fork); }), "STREAMS_FULL");
  fork.count = 2;
  pool->fork(first, fork);
  EXPECT_EQ(code_of([&] { pool->prefill(kOther); }), "STREAMS_FULL");
  fork.first_candidate = 2;
  fork.count = 1;
  EXPECT_EQ(code_of([&] { pool->fork(first, fork); }), "STREAMS_FULL");
  EXPECT_EQ(code_of([&] { pool->kill(first, {7}); }), "BRANCH_UNKNOWN");
  pool->park(first, {0}, true);
  pool->prefill(kOther);
  EXPECT_EQ(code_of([&] { pool->resume(first, {0}); }), "STREAMS_FULL");
  pool->kill(first, {0, 1});
  fork.first_candidate = 1;
  EXPECT_EQ(code_of([&] { pool->fork(first, fork); }), "OPTION_INVALID") << "candidate 1 has been";
  EXPECT_EQ(pool->occupancy().live, 0);
}

TEST(Race, AbortedAtAnyStepFreesItsStreamsAndHarmsNobody) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(8));
  const RaceId neighbour = pool->prefill(kOther).race;
  pool->fork(neighbour, fork_of(2));
  Records two;
  gather(pool->advance({{neighbour, 1}})[0], two);
  for (int step = 1; step <= 128; ++step) {
    const RaceId race = pool->prefill(kPrompt).race;
    pool->fork(race, fork_of(6, 128));
    pool->advance({{race, step}});
    pool->request_abort();
    const std::vector<Advance> aborted = pool->advance({{race, 128}, {neighbour, 200}});
    EXPECT_EQ(aborted[0].reason, step == 128 ? AdvanceReason::settled : AdvanceReason::aborted) << step;
    EXPECT_EQ(aborted[0].steps, 0);
    gather(aborted[1], two);
    pool->clear_abort();
    pool->end(race);
    EXPECT_EQ(pool->occupancy().streams_used, 2);
    gather(pool->advance({{neighbour, 1 + step}})[0], two);
  }
  read_states(*pool, neighbour, two);
  EXPECT_EQ(two, alone(kOther, fork_of(2), 129));
}

}  // namespace
}  // namespace winnow::test
