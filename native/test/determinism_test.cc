// `deterministic`: a candidate's tokens and log-probabilities depend on (seed, prompt, candidate) only, never on
// who else is alive. Bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <iostream>
#include <map>
#include <random>

#include "fixture.h"

namespace winnow::test {
namespace {

const std::vector<Token> kPrompt = {1, 17, 40, 300, 22, 23, 24, 9, 9, 9, 11};

struct Record {
  std::vector<Token> tokens;
  std::vector<float> logprobs;
  std::vector<float> state;  // after the last token
};
using Records = std::map<std::int32_t, Record>;

// Advances to `total` tokens in random strides; between them `schedule` names who dies.
template <typename Schedule>
Records run(Solo& pool, int count, int total, std::mt19937& random, Schedule schedule, std::uint32_t first = 0,
            std::uint64_t seed = 7) {
  // Long pools get a prompt that ends just below a block of 256 cells, so that the branches cross it.
  std::vector<Token> prompt = kPrompt;
  while (pool.params().cells_per_stream > kCellBlock && prompt.size() < 240)
    prompt.push_back(static_cast<Token>(prompt.size()));
  pool.prefill(prompt);
  ForkParams fork = fork_of(count, total, seed);
  fork.first_candidate = first;
  pool.fork(fork);
  Records records;
  for (int at = 0; at < total && pool.occupancy().live > 0;) {
    const int stride = std::min(total - at, 1 + static_cast<int>(random() % 16));
    const Advance advance = pool.advance(stride);
    at += stride;
    std::size_t from = 0;
    for (std::size_t i = 0; i < advance.branches.size(); ++i) {
      Record& record = records[advance.branches[i]];
      for (std::int32_t taken = 0; taken < advance.counts[i]; ++taken, ++from) {
        record.tokens.push_back(advance.tokens[from]);
        record.logprobs.push_back(advance.logprobs[from]);
      }
    }
    const std::vector<std::int32_t> victims = schedule();
    pool.kill(victims);
  }
  for (auto& [id, record] : records) record.state = pool.states({id});
  return records;
}

// Number of candidates whose record is no exact prefix of the full run's.
int divergent(const Records& full, const Records& part) {
  int count = 0;
  for (const auto& [id, record] : part) {
    const Record& whole = full.at(id);
    const bool same =
        record.tokens.size() <= whole.tokens.size() &&
        std::equal(record.tokens.begin(), record.tokens.end(), whole.tokens.begin()) &&
        std::memcmp(record.logprobs.data(), whole.logprobs.data(), record.logprobs.size() * sizeof(float)) == 0;
    const bool same_state =
        record.tokens.size() < whole.tokens.size() ||
        std::memcmp(record.state.data(), whole.state.data(), whole.state.size() * sizeof(float)) == 0;
    count += same && same_state ? 0 : 1;
  }
  return count;
}

struct Tally {
  int divergent = 0;
  int candidates = 0;
};

Tally over_schedules(const std::shared_ptr<Model>& model, PoolParams params, int schedules, int branches, int total) {
  std::mt19937 random(31);
  const std::unique_ptr<Solo> pool = Solo::create(model, params);
  const Records full = run(*pool, branches, total, random, [] { return std::vector<std::int32_t>(); });
  Tally tally;
  for (int schedule = 0; schedule < schedules; ++schedule) {
    const int hunger = 1 + schedule % 5;
    const Records part = run(*pool, branches, total, random, [&] {
      std::vector<std::int32_t> victims;
      for (int i = 0; i < branches; ++i) {
        // The last schedules end with one branch, the narrow case where kernels differ most.
        if (static_cast<int>(random() % 10) < hunger && i != schedule % branches) victims.push_back(i);
      }
      return victims;
    });
    tally.divergent += divergent(full, part);
    tally.candidates += static_cast<int>(part.size());
  }
  return tally;
}

class Deterministic : public testing::TestWithParam<std::tuple<std::string, std::string, int>> {};

TEST_P(Deterministic, GivesACandidateTheSameTokensWhoeverElseIsAlive) {
  const auto& [architecture, weights, width] = GetParam();
  RandomModelParams shape = small_model(architecture, weights);
  shape.tokenizer = "none";
  shape.width = width;
  shape.heads = width / 64;
  shape.feed_forward = 2 * width;
  PoolParams params = pool_of(16);
  params.deterministic = true;
  const Tally tally = over_schedules(load(model_file(shape)), params, 40, 16, 48);
  EXPECT_EQ(tally.divergent, 0) << "of " << tally.candidates;
  EXPECT_EQ(tally.candidates, 40 * 16);
}

INSTANTIATE_TEST_SUITE_P(Models, Deterministic,
                         testing::Values(std::tuple("llama", "f32", 128), std::tuple("llama", "f16", 128),
                                         std::tuple("llama", "q8_0", 128), std::tuple("llama", "q4_0", 128),
                                         std::tuple("llama", "f16", 256), std::tuple("llama", "q8_0", 256),
                                         std::tuple("llama", "q4_0", 256), std::tuple("qwen2", "f16", 128),
                                         std::tuple("qwen3", "q8_0", 128)),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" + std::get<1>(test.param) + "_" +
                                  std::to_string(std::get<2>(test.param));
                         });

TEST(Determinism, HoldsAcrossTheBlocksOfTheCache) {
  PoolParams params = pool_of(8, 512);
  params.deterministic = true;
  EXPECT_EQ(over_schedules(small(), params, 10, 8, 48).divergent, 0);
}

// What the other tests would see if tokens did differ; and, for the record, how often they do without the option.
TEST(Determinism, WouldNoticeADifference) {
  std::mt19937 random(5);
  const auto none = [] { return std::vector<std::int32_t>(); };
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(8));
  const Records full = run(*pool, 8, 40, random, none);
  EXPECT_EQ(divergent(full, run(*pool, 8, 40, random, none, 0, 8)), 8) << "another seed";
  Records changed = full;
  changed[3].logprobs[39] = std::nextafter(changed[3].logprobs[39], 0.0f);
  changed[5].state[127] = std::nextafter(changed[5].state[127], 9.0f);
  changed[6].tokens[0] ^= 1;
  EXPECT_EQ(divergent(full, changed), 3);
  const Tally tally = over_schedules(small(), pool_of(16), 40, 16, 48);
  RecordProperty("divergent_without_the_option", tally.divergent);
  RecordProperty("candidates", tally.candidates);
  std::cout << "without the option " << tally.divergent << " of " << tally.candidates << " candidates diverge\n";
}

TEST(Determinism, HoldsForAllKvTypesAndWithoutFlashAttention) {
  RandomModelParams shape = small_model();
  shape.tokenizer = "none";
  const std::shared_ptr<Model> model = load(model_file(shape));
  for (const std::string kv : {"f32", "f16", "q8_0"}) {
    for (const std::string flash : {"on", "off"}) {
      if (kv == "q8_0" && flash == "off") continue;
      PoolParams params = pool_of(8);
      params.deterministic = true;
      params.kv_type = kv;
      params.flash_attention = flash;
      EXPECT_EQ(over_schedules(model, params, 10, 8, 48).divergent, 0) << kv << ' ' << flash;
    }
  }
}

TEST(Determinism, HoldsAcrossPoolsOfOtherSizesAndWaves) {
  std::mt19937 random(5);
  const auto none = [] { return std::vector<std::int32_t>(); };
  PoolParams params = pool_of(32);
  params.deterministic = true;
  const Records full = run(*Solo::create(small(), params), 32, 40, random, none);
  for (const int streams : {1, 2, 3, 5, 8}) {
    params.streams = streams;
    const std::unique_ptr<Solo> pool = Solo::create(small(), params);
    for (int first = 0; first < 32; first += streams) {
      const int count = std::min(streams, 32 - first);
      EXPECT_EQ(divergent(full, run(*pool, count, 40, random, none, static_cast<std::uint32_t>(first))), 0)
          << streams << " from " << first;
    }
  }
}

TEST(Determinism, HoldsForAnyNumberOfThreads) {
  std::mt19937 random(6);
  const auto none = [] { return std::vector<std::int32_t>(); };
  PoolParams params = pool_of(4);
  params.deterministic = true;
  const Records one = run(*Solo::create(small(), params), 4, 12, random, none);
  params.threads = 2;
  EXPECT_EQ(divergent(one, run(*Solo::create(small(), params), 4, 12, random, none)), 0);
}

TEST(Determinism, DecodesAGhostBesideALoneBranchAndCountsIt) {
  PoolParams params = pool_of(1);
  params.deterministic = true;
  const std::unique_ptr<Solo> pool = Solo::create(small(), params);
  pool->prefill(kPrompt);
  pool->fork(fork_of(1));
  const Advance advance = pool->advance(10);
  EXPECT_EQ(advance.tokens.size(), 10u);
  EXPECT_EQ(advance.decoded, 20);
  EXPECT_EQ(pool->occupancy().streams, 1);
  EXPECT_EQ(pool->occupancy().cells_used, 21);
  pool->check_integrity();
  EXPECT_EQ(pool->advance(1000).reason, AdvanceReason::full);
}

}  // namespace
}  // namespace winnow::test
