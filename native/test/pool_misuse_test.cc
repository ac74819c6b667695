// What a pool refuses, and that it stays usable.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "started.h"

namespace winnow::test {
namespace {

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

}  // namespace
}  // namespace winnow::test
