#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "fault.h"
#include "fixture.h"
#include "workers.h"

namespace winnow::test {
namespace {

TEST(Lifetime, KeepsTheModelForAsLongAsAPoolUsesIt) {
  std::shared_ptr<Model> model = load(model_file(small_model()));
  const std::weak_ptr<Model> watch = model;
  std::unique_ptr<Solo> pool = Solo::create(model, pool_of(4));
  model.reset();
  EXPECT_FALSE(watch.expired());
  pool->prefill({1, 2, 3});
  pool->fork(fork_of(4));
  EXPECT_EQ(pool->advance(3).steps, 3);
  pool.reset();
  EXPECT_TRUE(watch.expired());
}

TEST(Lifetime, OpensAndClosesPoolsInAnyOrder) {
  std::vector<std::unique_ptr<Solo>> pools;
  for (int i = 0; i < 6; ++i) {
    pools.push_back(Solo::create(small(), pool_of(2)));
    pools.back()->prefill({1, 2});
    if (i % 2 == 0) pools.back()->fork(fork_of(2));
  }
  for (const int i : {3, 0, 5, 1}) pools[static_cast<std::size_t>(i)].reset();
  EXPECT_EQ(pools[2]->advance(2).steps, 2);
  EXPECT_EQ(pools[4]->advance(2).steps, 2);
}

TEST(Lifetime, RunsTwoPoolsOfOneModelOnTwoThreads) {
  std::vector<Token> alone;
  const auto run = [](std::vector<Token>& into) {
    const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(4));
    for (int round = 0; round < 3; ++round) {
      pool->prefill({1, 2, 3});
      pool->fork(fork_of(4));
      pool->advance(10);
      pool->kill({1});
      into = pool->advance(10).tokens;
    }
  };
  run(alone);
  std::vector<Token> first, second;
  std::thread other([&] { run(second); });
  run(first);
  other.join();
  EXPECT_EQ(first, alone);
  EXPECT_EQ(second, alone);
}

TEST(Lifetime, TakesAbortsFromManyThreadsAtAnyTime) {
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(4, 2048));
  std::atomic<bool> done{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      while (!done.load()) {
        pool->request_abort();
        std::this_thread::yield();
        pool->clear_abort();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
  }
  int reached = 0, stopped = 0;
  const std::chrono::steady_clock::time_point limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while ((reached < 20 || stopped < 5) && std::chrono::steady_clock::now() < limit) {
    if (pool->prefill(std::vector<Token>(10, 5)).reason != AdvanceReason::reached) {
      ++stopped;
      continue;
    }
    pool->fork(fork_of(4));
    ++(pool->advance(20).reason == AdvanceReason::aborted ? stopped : reached);
    pool->check_integrity();
  }
  done = true;
  for (std::thread& other : others) other.join();
  pool->clear_abort();
  EXPECT_EQ(pool->prefill({1}).reason, AdvanceReason::reached);
  EXPECT_GE(reached, 20);
  EXPECT_GE(stopped, 5);
}

TEST(Lifetime, NeverUsesAPoolAgainAfterANativeFailure) {
  struct Case {
    std::string kind;
    int code;
    std::string expected;
  };
  for (const Case& each :
       {Case{"code", -3, "DECODE_FAILED"}, Case{"code", -1, "DECODE_FAILED"}, Case{"code", 1, "DECODE_FAILED"},
        Case{"exception", 0, "DECODE_FAILED"}, Case{"assert", 0, "NATIVE_ASSERT"}}) {
    for (const bool in_prefill : {false, true}) {
      const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(2));
      pool->prefill({1, 2, 3});
      pool->fork(fork_of(2));
      pool->advance(2);
      arm_fault(each.kind, each.code);
      if (in_prefill)
        EXPECT_EQ(code_of([&] { pool->prefill({1, 2}); }), each.expected);
      else
        EXPECT_EQ(code_of([&] { pool->advance(1); }), each.expected);
      arm_fault("");
      EXPECT_EQ(code_of([&] { pool->advance(1); }), "POOL_DEAD");
      EXPECT_EQ(code_of([&] { pool->prefill({1}); }), "POOL_DEAD");
      EXPECT_EQ(code_of([&] { pool->fork(fork_of(1)); }), "POOL_DEAD");
      EXPECT_EQ(code_of([&] { pool->kill({0}); }), "POOL_DEAD");
      EXPECT_EQ(code_of([&] { pool->states({0}); }), "POOL_DEAD");
      EXPECT_EQ(code_of([&] { pool->confidence({0}); }), "POOL_DEAD");
      EXPECT_EQ(code_of([&] { pool->sizes(); }), "POOL_DEAD");
    }
  }
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(2));
  EXPECT_EQ(pool->prefill({1, 2, 3}).tokens, 3) << "the model serves other pools";
}

// In a process of its own: the compute threads that are left behind spin until it ends.
TEST(LifetimeDeathTest, ClosesAPoolWhoseComputeThreadsWaitForOneThatFailed) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto close = [] {
    alarm(30);  // a close that waits for ever ends by this signal
    PoolParams params = pool_of(2);
    params.threads = 2;
    std::unique_ptr<Solo> pool = Solo::create(small(), params);
    pool->prefill({1, 2, 3});
    pool->fork(fork_of(2));
    arm_fault("graph");
    const std::string code = code_of([&] { pool->advance(1); });
    const std::string sizes = code_of([&] { pool->sizes(); });  // its context is gone by now
    pool.reset();
    std::exit(code == "NATIVE_ASSERT" && sizes == "POOL_DEAD" ? 0 : 1);
  };
  EXPECT_EXIT(close(), testing::ExitedWithCode(0), "");
}

TEST(Workers, CallEveryIndexOnceAndAreUsedAgain) {
  Workers workers(4);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(round));
    workers.run(round, [&](int index, int worker) {
      ASSERT_GE(worker, 0);
      ASSERT_LT(worker, 4);
      ++calls[static_cast<std::size_t>(index)];
    });
    for (const std::atomic<int>& count : calls) ASSERT_EQ(count.load(), 1);
  }
}

TEST(Workers, PassTheFirstExceptionOnAndGoOnWorking) {
  Workers workers(3);
  EXPECT_EQ(code_of([&] {
              workers.run(50, [](int index, int) {
                if (index == 7) throw EngineError("SEVEN", "seven");
              });
            }),
            "SEVEN");
  std::atomic<int> calls{0};
  workers.run(50, [&](int, int) { ++calls; });
  EXPECT_EQ(calls.load(), 50);
}

}  // namespace
}  // namespace winnow::test
