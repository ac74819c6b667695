// What a race writes does not depend on being parked or moved meanwhile.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>

#include "records.h"

namespace winnow::test {
namespace {

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

}  // namespace
}  // namespace winnow::test
