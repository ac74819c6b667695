#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <thread>

#include "started.h"

namespace winnow::test {
namespace {

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
