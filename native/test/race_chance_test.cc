// Races at whose moments and operations chance is: nobody loses what the others do not take.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>

#include "records.h"

namespace winnow::test {
namespace {

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
