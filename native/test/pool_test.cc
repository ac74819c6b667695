#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <thread>

#include "confidence.h"
#include "fixture.h"

namespace winnow::test {
namespace {

const std::vector<Token> kPrompt = {1, 40, 41, 42, 300, 301, 7};

std::unique_ptr<Solo> started(const PoolParams& params, const ForkParams& fork,
                              const std::shared_ptr<Model>& model = small()) {
  std::unique_ptr<Solo> pool = Solo::create(model, params);
  pool->prefill(kPrompt);
  pool->fork(fork);
  return pool;
}

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

TEST(Pool, IgnoresKillsOfBranchesThatEndedAndRefusesUnknownOnesWhole) {
  const std::unique_ptr<Solo> pool = started(pool_of(4), fork_of(4));
  pool->kill({1});
  pool->kill({1, 1});
  EXPECT_EQ(pool->occupancy().live, 3);
  EXPECT_EQ(code_of([&] { pool->kill({0, 4}); }), "BRANCH_UNKNOWN");
  EXPECT_EQ(code_of([&] { pool->kill({-1}); }), "BRANCH_UNKNOWN");
  EXPECT_EQ(pool->occupancy().live, 3);
  pool->check_integrity();
  EXPECT_EQ(pool->advance(1).branches, (std::vector<std::int32_t>{0, 2, 3}));
}

TEST(Pool, EndsBranchesByLengthWithTheirLastTokenDecoded) {
  const std::unique_ptr<Solo> pool = started(pool_of(3), fork_of(3, 4));
  const Advance advance = pool->advance(100);
  EXPECT_EQ(advance.reason, AdvanceReason::settled);
  EXPECT_EQ(advance.steps, 4);
  EXPECT_EQ(advance.counts, std::vector<std::int32_t>(3, 4));
  EXPECT_EQ(advance.status, std::vector<std::uint8_t>(3, static_cast<std::uint8_t>(BranchStatus::length)));
  EXPECT_EQ(pool->occupancy().cells_used, 0);
  EXPECT_EQ(pool->occupancy().cells_peak, 3 * 11);
  // The state is of the last token, so it differs from the one a token earlier.
  const std::unique_ptr<Solo> shorter = started(pool_of(3), fork_of(3));
  shorter->advance(3);
  const std::vector<float> earlier = shorter->states({0});
  shorter->advance(1);
  const std::vector<float> last = shorter->states({0});
  const std::vector<float> ended = pool->states({0});
  EXPECT_EQ(ended, last);
  EXPECT_NE(ended, earlier);
}

TEST(Pool, EndsBranchesByStopTokenWithoutReportingIt) {
  Written free_run, stopped;
  PoolParams params = pool_of(6);
  params.deterministic = true;
  gather(started(params, fork_of(6))->advance(20), free_run);
  ForkParams fork = fork_of(6);
  fork.stop_tokens = {free_run[2][9], free_run[4][0]};
  const std::unique_ptr<Solo> pool = started(params, fork);
  const Advance advance = pool->advance(20);
  gather(advance, stopped);
  int ended = 0;
  for (std::size_t i = 0; i < advance.branches.size(); ++i) {
    const std::int32_t id = advance.branches[i];
    const std::vector<Token>& whole = free_run[id];
    const auto stop = std::find_if(whole.begin(), whole.end(), [&](Token token) {
      return token == fork.stop_tokens[0] || token == fork.stop_tokens[1];
    });
    EXPECT_EQ(stopped[id], std::vector<Token>(whole.begin(), stop)) << id;
    EXPECT_EQ(advance.status[i] == static_cast<std::uint8_t>(BranchStatus::stop), stop != whole.end());
    ended += stop != whole.end() ? 1 : 0;
  }
  EXPECT_GE(ended, 2);
  EXPECT_EQ(advance.branches, ids(0, 6)) << "branch 4 ended without a token and is still reported";
  EXPECT_EQ(pool->occupancy().live, 6 - ended);
}

TEST(Pool, EndsBranchesByEndToken) {
  // </s> is one of 512 tokens: 64 branches meet it soon.
  const std::unique_ptr<Solo> pool = started(pool_of(64), fork_of(64), load(model_file(small_model())));
  const Advance advance = pool->advance(60);
  int ended = 0;
  for (const std::uint8_t status : advance.status)
    ended += status == static_cast<std::uint8_t>(BranchStatus::end) ? 1 : 0;
  EXPECT_GT(ended, 0);
  EXPECT_EQ(pool->occupancy().live, 64 - ended);
  for (const Token token : advance.tokens) EXPECT_NE(token, 2);
}

TEST(Pool, ReportsFullStreamsAsAValueAndGoesOnLosingNothing) {
  const std::unique_ptr<Solo> pool = started(pool_of(3), fork_of(3));
  const Advance advance = pool->advance(1000);
  EXPECT_EQ(advance.reason, AdvanceReason::full);
  EXPECT_EQ(advance.steps, 256 - 7);
  EXPECT_EQ(pool->occupancy().cells_used, 3 * 256);
  EXPECT_EQ(pool->occupancy().cells_free, 0);
  const Advance again = pool->advance(1);
  EXPECT_EQ(again.reason, AdvanceReason::full);
  EXPECT_EQ(again.steps, 0);
  EXPECT_TRUE(again.branches.empty());
  pool->kill({0, 2});
  EXPECT_EQ(pool->advance(1).reason, AdvanceReason::full);
  EXPECT_EQ(pool->states({1}).size(), 128u);
  // The first 200 tokens are those of a longer stream.
  Written narrow, wide;
  gather(advance, narrow);
  gather(started(pool_of(3, 512), fork_of(3))->advance(249), wide);
  EXPECT_EQ(narrow, wide);
}

TEST(Pool, NeverGoesBeyondTheTrainedContext) {
  RandomModelParams params = small_model();
  params.tokenizer = "none";
  params.context = 100;
  const std::unique_ptr<Solo> pool = started(pool_of(2, 100), fork_of(2), load(model_file(params)));
  const Advance advance = pool->advance(1000);
  EXPECT_EQ(advance.reason, AdvanceReason::full);
  EXPECT_EQ(advance.steps, 100 - 7);
}

TEST(Pool, StopsBetweenStepsAtItsDeadline) {
  const std::unique_ptr<Solo> pool = started(pool_of(16, 2048), fork_of(16, 100000));
  const Advance advance = pool->advance(100000, 0.05);
  EXPECT_EQ(advance.reason, AdvanceReason::deadline);
  EXPECT_GT(advance.steps, 0);
  EXPECT_LT(advance.steps, 2041);
  EXPECT_EQ(advance.tokens.size(), static_cast<std::size_t>(advance.steps) * 16);
  EXPECT_EQ(pool->advance(3).steps, 3) << "a deadline belongs to one call";
}

TEST(Pool, StopsBetweenStepsOnAbortFromAnotherThreadAndContinuesUnchanged) {
  PoolParams params = pool_of(16, 2048);
  Written whole, parts;
  const std::unique_ptr<Solo> pool = started(params, fork_of(16, 100000));
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    pool->request_abort();
  });
  const Advance advance = pool->advance(100000);
  other.join();
  EXPECT_EQ(advance.reason, AdvanceReason::aborted);
  gather(advance, parts);
  EXPECT_EQ(pool->advance(5).reason, AdvanceReason::aborted) << "until it is cleared";
  pool->clear_abort();
  gather(pool->advance(8), parts);
  gather(started(params, fork_of(16, 100000))->advance(advance.steps + 8), whole);
  EXPECT_EQ(parts, whole);
}

TEST(Pool, EmptiesItselfWhenAPrefillIsAbortedOrLate) {
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(4, 2048));
  const std::vector<Token> prompt(2000, 40);
  pool->request_abort();
  EXPECT_EQ(pool->prefill(prompt).reason, AdvanceReason::aborted);
  EXPECT_EQ(pool->occupancy().cells_used, 0);
  pool->clear_abort();
  EXPECT_EQ(code_of([&] { pool->fork(fork_of(2)); }), "RACE_UNKNOWN");
  EXPECT_EQ(pool->prefill(prompt, 1e-4).reason, AdvanceReason::deadline);
  EXPECT_EQ(pool->occupancy().streams_used, 0);
  EXPECT_EQ(pool->prefill(prompt).reason, AdvanceReason::reached);
  pool->fork(fork_of(2));
  EXPECT_EQ(pool->advance(2).steps, 2);
}

TEST(Pool, CutsADecodeOfThePromptShortOnTheCpu) {
  // One decode call of 2000 tokens; the abort arrives inside it.
  PoolParams params = pool_of(1, 2048);
  params.batch = 2048;
  const std::unique_ptr<Solo> pool = Solo::create(small(), params);
  const std::vector<Token> prompt(2000, 40);
  const double whole = pool->prefill(prompt).seconds;
  const Prefill cut = pool->prefill(prompt, whole / 4);
  EXPECT_EQ(cut.reason, AdvanceReason::deadline);
  EXPECT_LT(cut.seconds, whole * 0.9);
  EXPECT_EQ(cut.tokens, 0);
  pool->check_integrity();
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

TEST(Pool, EndsABranchWhereItsGivenTokensEnd) {
  ForkParams fork = fork_of(3);
  fork.given = {{40, 41, 42}, {}, {300}};
  const std::unique_ptr<Solo> pool = started(pool_of(3), fork);
  const Advance advance = pool->advance(2);
  EXPECT_EQ(advance.branches, ids(0, 3));
  EXPECT_EQ(advance.counts, (std::vector<std::int32_t>{2, 0, 1}));
  EXPECT_EQ(advance.tokens, (std::vector<Token>{40, 41, 300}));
  EXPECT_EQ(advance.status, (std::vector<std::uint8_t>{0, 1, 1}));
  const Advance rest = pool->advance(5);
  EXPECT_EQ(rest.reason, AdvanceReason::settled);
  EXPECT_EQ(rest.tokens, (std::vector<Token>{42}));
  fork.given = {{40}, {41}};
  EXPECT_EQ(code_of([&] { started(pool_of(3), fork); }), "OPTION_INVALID");
  fork.given = {{40}, {41}, {1 << 20}};
  EXPECT_EQ(code_of([&] { started(pool_of(3), fork); }), "TOKEN_INVALID");
}

TEST(Pool, SamplesGreedilyAtTemperatureZero) {
  ForkParams fork = fork_of(3);
  fork.sampling.temperature = 0;
  Written all;
  gather(started(pool_of(3), fork)->advance(10), all);
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0], all[2]);
}

TEST(Pool, RefusesBadOptionsWithACode) {
  const auto create = [](PoolParams params) { return code_of([&] { Solo::create(small(), params); }); };
  const auto with = [](auto change) {
    PoolParams params = pool_of(4);
    change(params);
    return params;
  };
  EXPECT_EQ(create(with([](PoolParams& p) { p.streams = 0; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) { p.streams = 257; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) { p.cells_per_stream = 0; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) { p.cells_per_stream = -5; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) { p.cells_per_stream = 2049; })), "CONTEXT_TOO_LONG");
  EXPECT_EQ(create(with([](PoolParams& p) { p.batch = 0; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) { p.batch = 1 << 30; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) { p.threads = -1; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) { p.threads = 100000; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) { p.kv_type = "q2_k"; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) { p.flash_attention = "maybe"; })), "OPTION_INVALID");
  EXPECT_EQ(create(with([](PoolParams& p) {
              p.kv_type = "q8_0";
              p.flash_attention = "off";
            })),
            "OPTION_INVALID");
  EXPECT_EQ(code_of([] { Pool::create(nullptr, pool_of(1)); }), "OPTION_INVALID");
  EXPECT_EQ(message_of([] { Solo::create(small(), pool_of(300)); }), "Expected 1 to 256 for streams but received 300");
}

TEST(Pool, RefusesACacheLargerThanTheMachine) {
  RandomModelParams params = small_model();
  params.context = 1 << 24;
  params.layers = 8;
  const std::shared_ptr<Model> model = load(model_file(params));
  EXPECT_EQ(code_of([&] { Solo::create(model, pool_of(256, 1 << 22)); }), "OUT_OF_MEMORY");
  EXPECT_EQ(code_of([&] { Solo::create(model, pool_of(256, 1 << 24)); }), "OUT_OF_MEMORY");
}

TEST(Pool, RefusesBadCallsWithACodeAndStaysUsable) {
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(4));
  EXPECT_EQ(code_of([&] { pool->fork(fork_of(1)); }), "RACE_UNKNOWN");
  EXPECT_EQ(code_of([&] { pool->advance(1); }), "RACE_UNKNOWN");
  EXPECT_EQ(code_of([&] { pool->states({0}); }), "RACE_UNKNOWN");
  EXPECT_EQ(code_of([&] { pool->prefill({}); }), "PROMPT_EMPTY");
  EXPECT_EQ(code_of([&] { pool->prefill({-1}); }), "TOKEN_INVALID");
  EXPECT_EQ(code_of([&] { pool->prefill({512}); }), "TOKEN_INVALID");
  EXPECT_EQ(code_of([&] { pool->prefill(std::vector<Token>(256, 1)); }), "PROMPT_TOO_LONG");
  EXPECT_EQ(code_of([&] { pool->prefill({1}, -1); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->prefill({1}, std::nan("")); }), "OPTION_INVALID");
  pool->prefill(std::vector<Token>(255, 1));
  const auto fork = [&](auto change) {
    ForkParams params = fork_of(2);
    change(params);
    return code_of([&] { pool->fork(params); });
  };
  EXPECT_EQ(fork([](ForkParams& p) { p.count = 0; }), "OPTION_INVALID");
  EXPECT_EQ(fork([](ForkParams& p) { p.count = 5; }), "STREAMS_FULL");
  EXPECT_EQ(fork([](ForkParams& p) { p.max_tokens = 0; }), "OPTION_INVALID");
  EXPECT_EQ(fork([](ForkParams& p) { p.first_candidate = 0xFFFFFFFFu; }), "OPTION_INVALID");
  EXPECT_EQ(fork([](ForkParams& p) { p.stop_tokens = {512}; }), "TOKEN_INVALID");
  EXPECT_EQ(fork([](ForkParams& p) { p.sampling.temperature = -1; }), "OPTION_INVALID");
  EXPECT_EQ(fork([](ForkParams& p) { p.sampling.temperature = std::nanf(""); }), "OPTION_INVALID");
  EXPECT_EQ(fork([](ForkParams& p) { p.sampling.top_k = -1; }), "OPTION_INVALID");
  EXPECT_EQ(fork([](ForkParams& p) { p.sampling.top_p = 0; }), "OPTION_INVALID");
  EXPECT_EQ(fork([](ForkParams& p) { p.sampling.top_p = 1.5f; }), "OPTION_INVALID");
  EXPECT_EQ(fork([](ForkParams& p) { p.sampling.min_p = -0.1f; }), "OPTION_INVALID");
  pool->fork(fork_of(2));
  EXPECT_EQ(code_of([&] { pool->fork(fork_of(2)); }), "NOT_PREFILLED");
  EXPECT_EQ(code_of([&] { pool->advance(0); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->pool().advance({}); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->pool().advance({{pool->race(), 1}, {pool->race(), 2}}); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->advance(1, -1); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->confidence({2}); }), "BRANCH_UNKNOWN");
  EXPECT_EQ(pool->advance(5).steps, 1);
  pool->check_integrity();
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

// Any order of operations keeps the accounts exact; the checked build compares them with llama.cpp's after each.
TEST(Pool, KeepsItsAccountsUnderRandomOperations) {
  for (int run = 0; run < 12; ++run) {
    std::mt19937 random(static_cast<unsigned>(1000 + run));
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    PoolParams params = pool_of(1 + below(12));
    params.deterministic = below(2) == 0;
    params.states = below(4) != 0;
    params.batch = 1 + below(40);
    const std::unique_ptr<Solo> pool = Solo::create(small(), params);
    for (int round = 0; round < 4; ++round) {
      std::vector<Token> prompt;
      for (int i = 1 + below(30); i > 0; --i) prompt.push_back(below(512));
      if (below(6) == 0) {
        pool->request_abort();
        EXPECT_EQ(pool->prefill(prompt).reason, AdvanceReason::aborted);
        pool->clear_abort();
        pool->check_integrity();
      }
      pool->prefill(prompt);
      pool->check_integrity();
      const int count = 1 + below(params.streams);
      ForkParams fork = fork_of(count, 1 + below(400), random());
      fork.first_candidate = static_cast<std::uint32_t>(below(1000));
      fork.stop_tokens = {below(512), below(512)};
      pool->fork(fork);
      for (int operation = 0; operation < 12; ++operation) {
        const int kind = below(10);
        if (kind < 4) {
          std::vector<std::int32_t> victims;
          for (int i = below(count); i > 0; --i)
            victims.push_back(static_cast<std::int32_t>(fork.first_candidate) + below(count));
          pool->kill(victims);
        } else if (kind == 4) {
          std::thread other([&] { pool->request_abort(); });
          pool->advance(5);
          other.join();
          pool->clear_abort();
        } else if (kind == 5) {
          pool->advance(50, 0.002);
        } else {
          pool->advance(1 + below(kind == 6 ? 300 : 10));
        }
        pool->check_integrity();
        if (params.states) {
          EXPECT_EQ(pool->states(ids(static_cast<int>(fork.first_candidate), count)).size(),
                    static_cast<std::size_t>(count) * 128);
        }
      }
    }
  }
}

}  // namespace
}  // namespace winnow::test
