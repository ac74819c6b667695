// Many races in one pool: what a race writes does not depend on the others, nor on being parked or moved meanwhile.
#include "race.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "fixture.h"

namespace winnow::test {
namespace {

const std::vector<Token> kPrompt = {1, 40, 41, 42, 300, 301, 7};
const std::vector<Token> kOther = {1, 17, 99, 5, 5, 6, 8, 12, 400};

PoolParams exact(int streams, int cells = 256) {
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

void gather(const Advance& advance, Records& into) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < advance.branches.size(); ++i) {
    Record& record = into[advance.branches[i]];
    for (std::int32_t taken = 0; taken < advance.counts[i]; ++taken, ++at) {
      record.tokens.push_back(advance.tokens[at]);
      record.logprobs.push_back(advance.logprobs[at]);
    }
  }
}

void read_states(const Pool& pool, RaceId race, Records& into) {
  for (auto& [id, record] : into) record.state = pool.states(race, {id});
}

Records alone(const std::vector<Token>& prompt, const ForkParams& fork, int until, int cells = 256,
              const std::shared_ptr<Model>& model = small()) {
  const std::unique_ptr<Pool> pool = Pool::create(model, exact(fork.count, cells));
  const RaceId race = pool->prefill(prompt).race;
  pool->fork(race, fork);
  Records records;
  gather(pool->advance({{race, until}}).at(0), records);
  read_states(*pool, race, records);
  return records;
}

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

class Parked : public testing::TestWithParam<std::tuple<std::string, std::string, std::string, bool>> {};

TEST_P(Parked, ComesBackAndGoesOnAsIfNothingHadHappened) {
  const auto& [architecture, kv_type, flash, copy] = GetParam();
  RandomModelParams shape = small_model(architecture);
  shape.tokenizer = "none";
  const std::shared_ptr<Model> model = load(model_file(shape));
  PoolParams params = exact(7);
  params.kv_type = kv_type;
  params.flash_attention = flash;
  ForkParams fork = fork_of(6);
  const auto run = [&](bool disturbed) {
    const std::unique_ptr<Pool> pool = Pool::create(model, params);
    const RaceId race = pool->prefill(kPrompt).race;
    fork.keep_prompt = true;
    pool->fork(race, fork);
    Records records;
    gather(pool->advance({{race, 9}})[0], records);
    if (disturbed) {
      pool->park(race, {1, 4, 5, 4}, copy);
      EXPECT_EQ(pool->occupancy().streams_used, 4);
      pool->park(race, {0}, copy);  // while copies of streams are still to be made
      gather(pool->advance({{race, 15}})[0], records);
      pool->resume(race, {5, 1});
      gather(pool->advance({{race, 15}})[0], records);
      pool->resume(race, {0, 2, 4, 5});
      EXPECT_EQ(pool->occupancy().streams_used, 7);
    }
    gather(pool->advance({{race, 30}})[0], records);
    read_states(*pool, race, records);
    return records;
  };
  EXPECT_EQ(run(true), run(false));
}

INSTANTIATE_TEST_SUITE_P(
    Models, Parked,
    testing::Values(std::tuple("llama", "f16", "on", true), std::tuple("llama", "f16", "off", true),
                    std::tuple("llama", "f32", "off", true), std::tuple("llama", "q8_0", "on", true),
                    std::tuple("qwen3", "f16", "on", true), std::tuple("llama", "f16", "on", false),
                    std::tuple("qwen2", "f32", "off", false)),
    [](const auto& test) {
      return std::get<0>(test.param) + "_" + std::get<1>(test.param) + "_flash_" + std::get<2>(test.param) +
             (std::get<3>(test.param) ? "_copied" : "_decoded_again");
    });

TEST(Race, DecodesAgainToTheBitHoweverLittleOrMuchThereIs) {
  ForkParams fork = fork_of(3);
  const Records whole = alone(kPrompt, fork, 150);
  for (const int streams : {3, 4}) {
    for (const int until : {1, 2, 33, 64, 100}) {
      const std::unique_ptr<Pool> pool = Pool::create(small(), exact(streams));
      const RaceId race = pool->prefill(kPrompt).race;
      fork.keep_prompt = streams == 4;
      pool->fork(race, fork);
      Records records;
      gather(pool->advance({{race, until}})[0], records);
      pool->park(race, {2, 0}, false);
      pool->park(race, {1}, false);
      pool->resume(race, {1, 2, 0});
      gather(pool->advance({{race, 150}})[0], records);
      read_states(*pool, race, records);
      EXPECT_EQ(records, whole) << "parked after " << until << " of " << streams;
    }
  }
  const std::unique_ptr<Pool> one = Pool::create(small(), pool_of(1));
  const RaceId race = one->prefill(kPrompt).race;
  one->fork(race, fork_of(1));
  one->advance({{race, 1}});
  one->park(race, {0}, false);
  one->resume(race, {0});
  EXPECT_EQ(one->advance({{race, 9}})[0].steps, 8);
}

TEST(Race, GoesOnInFewerAndLongerStreamsWithTheSameTokens) {
  ForkParams fork = fork_of(8);
  const Records whole = alone(kPrompt, fork, 700, 1024);
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(8));
  const RaceId race = pool->prefill(kPrompt).race;
  pool->fork(race, fork);
  Records records;
  int streams = 8;
  std::set<std::int32_t> living = {0, 1, 2, 3, 4, 5, 6, 7};
  while (true) {
    const Advance advance = pool->advance({{race, 700}})[0];
    gather(advance, records);
    if (advance.reason == AdvanceReason::reached) break;
    ASSERT_EQ(advance.reason, AdvanceReason::full);
    std::vector<std::int32_t> victims;
    for (const std::int32_t id : living)
      if (static_cast<int>(victims.size()) < streams / 2 && (id * 5 + streams) % 3 != 0) victims.push_back(id);
    for (const std::int32_t id : victims) living.erase(id);
    pool->kill(race, victims);
    streams = static_cast<int>(living.size());
    pool->reshape(streams, 8 * 256 / streams / 256 * 256);
    EXPECT_EQ(pool->occupancy().streams, streams);
    EXPECT_LE(pool->occupancy().cells, 8 * 256);
  }
  EXPECT_LE(streams, 2);
  read_states(*pool, race, records);
  for (const std::int32_t id : living) EXPECT_EQ(records[id], whole.at(id)) << id;
  for (const auto& [id, record] : records) {
    const std::vector<Token>& all = whole.at(id).tokens;
    EXPECT_TRUE(std::equal(record.tokens.begin(), record.tokens.end(), all.begin())) << id;
  }
}

TEST(Race, IsMovedWithItsPromptAndItsNeighbours) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(8));
  const RaceId first = pool->prefill(kPrompt).race;
  ForkParams fork = fork_of(3);
  fork.keep_prompt = true;
  pool->fork(first, fork);
  const RaceId second = pool->prefill(kOther).race;
  pool->fork(second, fork_of(2));
  const RaceId third = pool->prefill(kOther).race;  // not forked yet
  Records one, two, three;
  gather(pool->advance({{first, 11}})[0], one);
  pool->reshape(9, 512);
  gather(pool->advance({{second, 4}, {first, 18}})[0], two);  // in the middle of the first one's turn
  gather(pool->advance({{second, 20}})[0], two);
  gather(pool->advance({{first, 20}})[0], one);
  pool->fork(third, fork_of(2));
  fork.first_candidate = 3;
  fork.count = 1;
  pool->fork(first, fork);
  gather(pool->advance({{first, 20}})[0], one);
  gather(pool->advance({{third, 20}})[0], three);
  read_states(*pool, second, two);
  read_states(*pool, third, three);
  EXPECT_EQ(two, alone(kOther, fork_of(2), 20));
  EXPECT_EQ(three, two);
  const Records whole = alone(kPrompt, fork_of(4), 20);
  for (const std::int32_t id : ids(0, 4)) EXPECT_EQ(one[id].tokens, whole.at(id).tokens);
}

TEST(Race, StaysWhereItIsWhenThereIsNoRoomForTheNewShape) {
  RandomModelParams shape = small_model();
  shape.tokenizer = "none";
  shape.context = 1 << 24;
  shape.layers = 8;
  const std::shared_ptr<Model> model = load(model_file(shape));
  const Records whole = alone(kPrompt, fork_of(4), 30, 256, model);
  const std::unique_ptr<Pool> pool = Pool::create(model, exact(4));
  const RaceId race = pool->prefill(kPrompt).race;
  pool->fork(race, fork_of(4));
  Records records;
  gather(pool->advance({{race, 10}})[0], records);
  EXPECT_EQ(code_of([&] { pool->reshape(256, 1 << 22); }), "OUT_OF_MEMORY");
  EXPECT_EQ(code_of([&] { pool->reshape(3, 256); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->reshape(4, 10); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->reshape(4, 1 << 25); }), "CONTEXT_TOO_LONG");
  EXPECT_EQ(code_of([&] { pool->reshape(1000, 256); }), "OPTION_INVALID");
  EXPECT_EQ(pool->occupancy().streams, 4);
  gather(pool->advance({{race, 30}})[0], records);
  read_states(*pool, race, records);
  EXPECT_EQ(records, whole);
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

TEST(Race, DoesNotResumeIntoStreamsThatAreTooShortAndHarmsNobodyByTrying) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(3, 512));
  const RaceId race = pool->prefill(kPrompt).race;
  pool->fork(race, fork_of(3));
  pool->advance({{race, 300}});
  pool->park(race, {0}, true);
  pool->park(race, {1, 2}, false);
  pool->reshape(2, 256);
  EXPECT_EQ(code_of([&] { pool->resume(race, {0}); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->resume(race, {1}); }), "OPTION_INVALID");
  pool->reshape(3, 512);
  pool->resume(race, {0, 1, 2});
  EXPECT_EQ(pool->advance({{race, 310}})[0].tokens.size(), 30u);
}

TEST(Race, KeepsAShapeThatWasRoundedBeyondTheTrainedContext) {
  RandomModelParams shape = small_model();
  shape.tokenizer = "none";
  shape.context = 300;
  const std::shared_ptr<Model> model = load(model_file(shape));
  const std::unique_ptr<Pool> pool = Pool::create(model, exact(2, 256));
  const RaceId race = pool->prefill(kPrompt).race;
  pool->fork(race, fork_of(2));
  EXPECT_EQ(pool->advance({{race, 1000}})[0].reason, AdvanceReason::full);
  pool->reshape(2, 512);
  EXPECT_EQ(pool->occupancy().cells_per_stream, 512);
  const Advance rest = pool->advance({{race, 1000}})[0];
  EXPECT_EQ(rest.reason, AdvanceReason::full) << "at the end of the context";
  EXPECT_EQ(rest.steps, 300 - 256);
  EXPECT_EQ(code_of([&] { pool->reshape(2, 600); }), "CONTEXT_TOO_LONG");
  EXPECT_EQ(pool->occupancy().cells_used, 2 * 300);
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

// Four times as many candidates as there is room for: whenever the streams are full somebody goes. Nobody else loses
// anything, and every cell comes back.
TEST(Race, LosesOnlyTheChosenWhenMemoryRunsOut) {
  std::map<int, Records> whole;
  int events = 0;
  std::mt19937 random(17);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const std::vector<std::vector<Token>> prompts = {kPrompt, kOther, std::vector<Token>(200, 33)};
  const auto whole_of = [&](int prompt) -> const Records& {
    if (whole.count(prompt) == 0)
      whole[prompt] = alone(prompts[static_cast<std::size_t>(prompt)], fork_of(16), 300, 512);
    return whole[prompt];
  };
  const std::unique_ptr<Pool> pool = Pool::create(small(), exact(16));
  while (events < 1000) {
    // 16 streams of 256 cells for what would need 64: 32 candidates of up to 500 cells.
    struct Running {
      RaceId race;
      int prompt;
      Records records;
      std::set<std::int32_t> living;
    };
    std::vector<Running> running;
    pool->reshape(16, 256);
    for (int i = 0; i < 2; ++i) {
      const int prompt = below(3);
      Running each{pool->prefill(prompts[static_cast<std::size_t>(prompt)]).race, prompt, {}, {}};
      ForkParams fork = fork_of(8);
      fork.first_candidate = static_cast<std::uint32_t>(below(9));
      pool->fork(each.race, fork);
      for (const std::int32_t id : ids(static_cast<int>(fork.first_candidate), 8)) each.living.insert(id);
      running.push_back(std::move(each));
    }
    int streams = 16, cells = 256;
    while (!running.empty()) {
      std::vector<Turn> turns;
      for (const Running& each : running) turns.push_back({each.race, 300});
      const std::vector<Advance> results = pool->advance(turns);
      for (std::size_t i = 0; i < running.size(); ++i) gather(results[i], running[i].records);
      for (std::size_t i = running.size(); i-- > 0;) {
        Running& each = running[i];
        if (results[i].reason == AdvanceReason::reached) {
          for (const std::int32_t id : each.living) {
            each.records[id].state = pool->states(each.race, {id});
            EXPECT_EQ(each.records[id], whole_of(each.prompt).at(id));
          }
          pool->end(each.race);
          running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
        } else if (results[i].reason == AdvanceReason::full) {
          ++events;
          const std::int32_t victim = *std::next(each.living.begin(), below(static_cast<int>(each.living.size())));
          pool->kill(each.race, {victim});
          each.living.erase(victim);
          if (each.living.empty()) {
            pool->end(each.race);
            running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
          }
        }
      }
      const int used = std::max(pool->occupancy().streams_used, 1);
      if (used <= streams / 2 && cells < 512) {
        streams = used;
        cells = std::min(512, 16 * 256 / used / 256 * 256);
        pool->reshape(streams, cells);
      }
    }
    EXPECT_EQ(pool->occupancy().cells_used, 0);
    EXPECT_EQ(pool->occupancy().streams_free, streams);
  }
  EXPECT_GE(events, 1000);
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

TEST(Race, AbortedAtAThousandRandomMomentsStopsWithinAStep) {
  const std::unique_ptr<Pool> pool = Pool::create(small(), pool_of(4));
  std::mt19937 random(3);
  double step = 0;
  for (int i = 0; i < 1000; ++i) {
    const RaceId race = pool->prefill(kPrompt).race;
    pool->fork(race, fork_of(4));
    const int micros = static_cast<int>(random() % 3000);
    std::chrono::steady_clock::time_point asked;
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(micros));
      asked = std::chrono::steady_clock::now();
      pool->request_abort();
    });
    const Advance advance = pool->advance({{race, 240}})[0];
    const auto returned = std::chrono::steady_clock::now();
    other.join();
    pool->clear_abort();
    if (advance.reason == AdvanceReason::aborted)
      step = std::max(step, std::chrono::duration<double>(returned - asked).count());
    pool->end(race);
    ASSERT_EQ(pool->occupancy().cells_used, 0);
    ASSERT_EQ(pool->occupancy().streams_free, 4);
  }
  // A step of this model takes less than a millisecond; a busy machine may keep a thread waiting.
  EXPECT_LT(step, 2.0);
}

// Any order of operations of any number of races keeps the accounts exact, and every branch writes what it writes
// alone.
TEST(Race, KeepsItsAccountsAndItsTokensUnderRandomOperations) {
  std::map<int, Records> whole;
  for (const int prompt : {0, 1}) whole[prompt] = alone(prompt == 0 ? kPrompt : kOther, fork_of(12), 240);
  for (int run = 0; run < 10; ++run) {
    std::mt19937 random(static_cast<unsigned>(run));
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    struct Running {
      int prompt = 0, next = 0, until = 0;
      Records records;
    };
    std::map<RaceId, Running> running;
    const std::unique_ptr<Pool> pool = Pool::create(small(), exact(10));
    for (int operation = 0; operation < 80; ++operation) {
      const int kind = below(12);
      const Occupancy now = pool->occupancy();
      if (running.empty() || (kind == 0 && now.streams_free > 0)) {
        if (now.streams_free == 0) continue;
        const int prompt = below(2);
        running[pool->prefill(prompt == 0 ? kPrompt : kOther).race].prompt = prompt;
        continue;
      }
      auto each = running.begin();
      std::advance(each, below(static_cast<int>(running.size())));
      const RaceId race = each->first;
      std::vector<std::int32_t> some;
      for (int id = 0; id < each->second.next; ++id)
        if (below(3) == 0) some.push_back(id);
      if (kind <= 2 && each->second.next < 12) {
        ForkParams fork = fork_of(std::min(1 + below(3), 12 - each->second.next));
        fork.first_candidate = static_cast<std::uint32_t>(each->second.next);
        fork.keep_prompt = true;
        if (now.streams_free < fork.count) continue;
        pool->fork(race, fork);
        each->second.next += fork.count;
      } else if (kind == 3) {
        pool->park(race, some, below(2) == 0);
      } else if (kind == 4) {
        if (static_cast<int>(some.size()) <= now.streams_free) pool->resume(race, some);
      } else if (kind == 5 && below(3) == 0) {
        pool->kill(race, some);
      } else if (kind == 6 && below(4) == 0) {
        read_states(*pool, race, each->second.records);
        for (const auto& [id, record] : each->second.records) {
          const Record& all = whole[each->second.prompt].at(id);
          EXPECT_TRUE(record.tokens.size() <= all.tokens.size() &&
                      std::equal(record.tokens.begin(), record.tokens.end(), all.tokens.begin()) &&
                      std::equal(record.logprobs.begin(), record.logprobs.end(), all.logprobs.begin()))
              << "run " << run << " branch " << id;
        }
        pool->end(race);
        running.erase(each);
      } else if (kind == 7) {
        pool->reshape(std::max(now.streams_used, 4 + below(8)), 256 * (1 + below(2)));
      } else {
        std::vector<Turn> turns;
        for (auto& [id, other] : running) {
          if (other.next == 0 || (id != race && below(2) == 0)) continue;
          other.until = std::min(other.until + 1 + below(12), 240);
          turns.push_back({id, other.until});
        }
        if (turns.empty()) continue;
        std::vector<Advance> results;
        const std::string code = code_of([&] { results = pool->advance(turns); });
        if (code != "") {
          EXPECT_EQ(code, "STREAMS_FULL") << "a lone branch of a full pool has no room for its ghost";
          continue;
        }
        for (std::size_t i = 0; i < turns.size(); ++i) gather(results[i], running[turns[i].race].records);
      }
      pool->check_integrity();
    }
  }
}

}  // namespace
}  // namespace winnow::test
