// What ends a branch, and what ends a call before its steps are done.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>

#include "started.h"

namespace winnow::test {
namespace {

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

}  // namespace
}  // namespace winnow::test
