#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "confidence.h"
#include "started.h"

namespace winnow::test {
namespace {

TEST(Pool, RoundsStreamsUpToTheBlockAndStartsEmpty) {
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(5, 257));
  const Occupancy occupancy = pool->occupancy();
  EXPECT_EQ(occupancy.streams, 5);
  EXPECT_EQ(occupancy.cells_per_stream, 512);
  EXPECT_EQ(occupancy.cells, 5 * 512);
  EXPECT_EQ(occupancy.cells_free, 5 * 512);
  EXPECT_EQ(occupancy.streams_free, 5);
  // 2 layers x (key + value) x 64 wide x 2 bytes.
  EXPECT_EQ(occupancy.kv_bytes, 5u * 512u * 2u * 2u * 64u * 2u);
  pool->check_integrity();
}

TEST(Pool, PrefillsOnceAndForksIntoAllStreams) {
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(8));
  const Prefill prefill = pool->prefill(kPrompt);
  EXPECT_EQ(prefill.reason, AdvanceReason::reached);
  EXPECT_EQ(prefill.tokens, 7);
  EXPECT_EQ(pool->occupancy().cells_used, 7);
  EXPECT_EQ(pool->occupancy().streams_used, 1);
  EXPECT_EQ(pool->occupancy().live, 0);
  pool->fork(fork_of(6));
  EXPECT_EQ(pool->occupancy().cells_used, 42);
  EXPECT_EQ(pool->occupancy().streams_used, 6);
  EXPECT_EQ(pool->occupancy().live, 6);
  pool->check_integrity();
}

TEST(Pool, AdvancesEveryLiveBranchByTheStepsAskedFor) {
  const std::unique_ptr<Solo> pool = started(pool_of(6), fork_of(6));
  const Advance advance = pool->advance(5);
  EXPECT_EQ(advance.reason, AdvanceReason::reached);
  EXPECT_EQ(advance.steps, 5);
  EXPECT_EQ(advance.branches, ids(0, 6));
  EXPECT_EQ(advance.counts, std::vector<std::int32_t>(6, 5));
  EXPECT_EQ(advance.tokens.size(), 30u);
  EXPECT_EQ(advance.decoded, 30);
  EXPECT_EQ(pool->occupancy().cells_used, 6 * 12);
  EXPECT_EQ(pool->occupancy().cells_peak, 6 * 12);
  for (const float logprob : advance.logprobs) EXPECT_TRUE(std::isfinite(logprob) && logprob <= 0);
  for (const float entropy : advance.entropies) EXPECT_TRUE(entropy >= 0 && entropy <= std::log(512.0f) + 1e-4f);
}

TEST(Pool, GivesTheSameTokensInOneCallOrMany) {
  Written once, often;
  gather(started(pool_of(5), fork_of(5))->advance(24), once);
  const std::unique_ptr<Solo> pool = started(pool_of(5), fork_of(5));
  for (int i = 0; i < 8; ++i) gather(pool->advance(3), often);
  EXPECT_EQ(once, often);
}

TEST(Pool, GivesOtherTokensForOtherSeedsCandidatesAndPrompts) {
  Written first, second, third;
  gather(started(pool_of(4), fork_of(4, 1000, 1))->advance(16), first);
  gather(started(pool_of(4), fork_of(4, 1000, 2))->advance(16), second);
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(4));
  pool->prefill({1, 40, 41});
  pool->fork(fork_of(4, 1000, 1));
  gather(pool->advance(16), third);
  std::set<std::vector<Token>> all;
  for (int id = 0; id < 4; ++id) {
    all.insert(first[id]);
    all.insert(second[id]);
    all.insert(third[id]);
  }
  EXPECT_EQ(all.size(), 12u);
}

TEST(Pool, KeysCandidatesByTheirIdNotByTheirPlace) {
  PoolParams params = pool_of(4);
  params.deterministic = true;
  Written low, high;
  gather(started(params, fork_of(4))->advance(12), low);
  ForkParams fork = fork_of(3);
  fork.first_candidate = 2;
  gather(started(params, fork)->advance(12), high);
  EXPECT_EQ(low[2], high[2]);
  EXPECT_EQ(low[3], high[3]);
  EXPECT_EQ(high.count(4), 1u);
}

TEST(Pool, FreesCellsOnKillAtOnceAndKeepsLiveBranchesInTheFirstStreams) {
  const std::unique_ptr<Solo> pool = started(pool_of(8), fork_of(8));
  pool->advance(4);
  pool->kill({1, 3, 4});
  Occupancy occupancy = pool->occupancy();
  EXPECT_EQ(occupancy.live, 5);
  EXPECT_EQ(occupancy.streams_used, 5);
  EXPECT_EQ(occupancy.cells_used, 5 * 11);
  pool->check_integrity();  // llama.cpp's own positions: streams 0..4 hold 11 cells each, the others none
  const Advance advance = pool->advance(4);
  EXPECT_EQ(advance.branches, (std::vector<std::int32_t>{0, 2, 5, 6, 7}));
  pool->kill({0, 2, 5, 6, 7});
  occupancy = pool->occupancy();
  EXPECT_EQ(occupancy.cells_used, 0);
  EXPECT_EQ(occupancy.streams_free, 8);
  EXPECT_EQ(occupancy.cells_peak, 5 * 15 > 8 * 11 ? 5 * 15 : 8 * 11);
  EXPECT_EQ(pool->advance(1).reason, AdvanceReason::settled);
}

TEST(Pool, KillsBeforeTheFirstTokenAndBetweenKillsWithoutADecode) {
  PoolParams params = pool_of(6);
  params.deterministic = true;
  Written all, some;
  gather(started(params, fork_of(6))->advance(10), all);
  const std::unique_ptr<Solo> pool = started(params, fork_of(6));
  pool->kill({0});
  pool->kill({5, 1});
  pool->kill({2});
  gather(pool->advance(10), some);
  EXPECT_EQ(some.size(), 2u);
  EXPECT_EQ(some[3], all[3]);
  EXPECT_EQ(some[4], all[4]);
}

TEST(Pool, CutsThePromptIntoChunksWithoutChangingTheAnswerMuch) {
  std::vector<std::vector<float>> states;
  for (const int batch : {1, 3, 512}) {
    PoolParams params = pool_of(1);
    params.batch = batch;
    const std::unique_ptr<Solo> pool = Solo::create(small(), params);
    EXPECT_EQ(pool->prefill(kPrompt).tokens, 7);
    pool->fork(fork_of(1));
    states.push_back(pool->states({0}));
  }
  for (std::size_t i = 0; i < states[0].size(); ++i) {
    EXPECT_NEAR(states[1][i], states[0][i], 0.02);
    EXPECT_NEAR(states[2][i], states[0][i], 0.02);
  }
}

TEST(Pool, KeepsTheRowsOfEndedBranchesAndTheOrderOfIds) {
  const std::unique_ptr<Solo> pool = started(pool_of(5), fork_of(5));
  const std::vector<float> prompt_row = pool->states({3});
  EXPECT_EQ(pool->states({0}), prompt_row) << "before the first token it is the prompt's row";
  pool->advance(6);
  const std::vector<float> before = pool->states({3, 1});
  const std::vector<float> confidence = pool->confidence({3, 1});
  pool->kill({1});
  EXPECT_EQ(pool->states({3, 1}), before);
  pool->advance(6);
  const std::vector<float> after = pool->states({1, 3});
  EXPECT_TRUE(std::equal(after.begin(), after.begin() + 128, before.begin() + 128))
      << "a killed branch keeps its last row";
  EXPECT_FALSE(std::equal(after.begin() + 128, after.end(), before.begin()));
  EXPECT_NE(pool->states({0}), prompt_row);
  EXPECT_TRUE(std::equal(confidence.begin() + kFeatures, confidence.end(), pool->confidence({1}).begin()));
}

TEST(Pool, ReportsTheConfidenceOfTheTokensItReturned) {
  const std::unique_ptr<Solo> pool = started(pool_of(2), fork_of(2));
  Confidence expected;
  for (int call = 0; call < 5; ++call) {
    const Advance advance = pool->advance(7);
    for (std::size_t i = 7; i < 14; ++i) expected.add(advance.logprobs[i], advance.entropies[i]);
  }
  const std::array<float, kFeatures> features = expected.features();
  EXPECT_EQ(pool->confidence({1}), std::vector<float>(features.begin(), features.end()));
}

TEST(Pool, TakesThePromptsOfManyRoundsOneAfterTheOther) {
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(8));
  Written first, last;
  for (int round = 0; round < 6; ++round) {
    std::vector<Token> prompt = kPrompt;
    if (round % 5 != 0) prompt.push_back(100 + round);
    pool->prefill(prompt);
    pool->fork(fork_of(8 - (round % 3 == 1 ? 4 : 0)));
    if (round == 2) pool->kill({0, 7});
    const Advance advance = pool->advance(12);
    if (round == 0) gather(advance, first);
    if (round == 5) gather(advance, last);
  }
  EXPECT_EQ(first, last) << "nothing of the rounds between is left";
}

TEST(Pool, TakesGivenTokensAsIfItHadSampledThem) {
  const std::unique_ptr<Solo> first = started(pool_of(5), fork_of(5));
  const Advance sampled = first->advance(12);
  Written written;
  gather(sampled, written);
  ForkParams fork = fork_of(5);
  for (const auto& [id, tokens] : written) fork.given.push_back(tokens);
  const std::unique_ptr<Solo> second = started(pool_of(5), fork);
  const Advance read = second->advance(12);
  EXPECT_EQ(read.tokens, sampled.tokens);
  EXPECT_EQ(read.logprobs, sampled.logprobs);
  EXPECT_EQ(read.entropies, sampled.entropies);
  EXPECT_EQ(second->states(ids(0, 5)), first->states(ids(0, 5)));
  EXPECT_EQ(second->confidence(ids(0, 5)), first->confidence(ids(0, 5)));
  EXPECT_EQ(second->advance(12).reason, AdvanceReason::settled);
  second->check_integrity();
}

TEST(Pool, SamplesGreedilyAtTemperatureZero) {
  ForkParams fork = fork_of(3);
  fork.sampling.temperature = 0;
  Written all;
  gather(started(pool_of(3), fork)->advance(10), all);
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0], all[2]);
}

TEST(Pool, KeepsNoStatesWhenAskedNotToAndDrawsTheSameTokens) {
  PoolParams params = pool_of(4);
  Written with, without;
  gather(started(params, fork_of(4))->advance(16), with);
  params.states = false;
  const std::unique_ptr<Solo> pool = started(params, fork_of(4));
  gather(pool->advance(16), without);
  EXPECT_EQ(with, without);
  EXPECT_EQ(code_of([&] { pool->states({0}); }), "STATES_OFF");
  EXPECT_EQ(pool->confidence({0}).size(), static_cast<std::size_t>(kFeatures));
}

TEST(Pool, RunsEveryKvTypeAndFlashSetting) {
  RandomModelParams wide = small_model();
  wide.heads_kv = 2;
  const std::shared_ptr<Model> model = load(model_file(wide));
  for (const std::string type : {"f32", "f16", "q8_0", "q4_0"}) {
    for (const std::string flash : {"auto", "on", "off"}) {
      if (flash == "off" && type[0] == 'q') continue;
      PoolParams params = pool_of(4);
      params.kv_type = type;
      params.flash_attention = flash;
      EXPECT_EQ(started(params, fork_of(4), model)->advance(4).steps, 4) << type << ' ' << flash;
    }
  }
}

TEST(Pool, RunsOtherArchitecturesAndModelsWithoutATokenizer) {
  for (const std::string architecture : {"qwen2", "qwen3"}) {
    const Advance advance = started(pool_of(4), fork_of(4), load(model_file(small_model(architecture))))->advance(4);
    EXPECT_EQ(advance.steps, 4) << architecture;
  }
  EXPECT_FALSE(small()->facts().has_tokenizer);
  EXPECT_EQ(started(pool_of(4), fork_of(4))->advance(4).steps, 4);
}

TEST(Pool, SharesTheRowsOfAStepBetweenThreadsWithTheSameResult) {
  RandomModelParams wide = small_model();
  wide.tokenizer = "none";
  wide.vocabulary = 20000;  // 32 rows of it are worth sharing
  const std::shared_ptr<Model> model = load(model_file(wide));
  Written one, three;
  PoolParams params = pool_of(32);
  gather(started(params, fork_of(32), model)->advance(3), one);
  params.threads = 3;
  gather(started(params, fork_of(32), model)->advance(3), three);
  EXPECT_EQ(one, three);
}

TEST(Pool, FillsAllTwoHundredFiftySixStreams) {
  const std::unique_ptr<Solo> pool = started(pool_of(256), fork_of(256));
  EXPECT_EQ(pool->advance(3).tokens.size(), 768u);
  std::vector<std::int32_t> odd;
  for (int id = 1; id < 256; id += 2) odd.push_back(id);
  pool->kill(odd);
  EXPECT_EQ(pool->advance(3).tokens.size(), 384u);
}

}  // namespace
}  // namespace winnow::test
