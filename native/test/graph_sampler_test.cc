// Tokens drawn from what the graph made of a row, against those the host draws from the whole row, by the same draws.
#include "graph_sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iostream>
#include <limits>
#include <map>
#include <random>

#include "fixture.h"
#include "philox.h"
#include "prompt.h"
#include "streams.h"

namespace winnow::test {
namespace {

const std::vector<Token> kPrompt = {1, 40, 41, 42, 100, 101, 7};

PoolParams drawing(const char* where, int streams, int cells = 256) {
  PoolParams params = pool_of(streams, cells);
  params.drawing = where;
  return params;
}

struct Record {
  std::vector<Token> tokens;
  std::vector<float> logprobs, entropies, certainties;
  std::vector<float> state, confidence;
  std::uint8_t status = 0;
};
using Records = std::map<std::int32_t, Record>;

void gather(const Advance& advance, Records& into) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < advance.branches.size(); ++i) {
    Record& record = into[advance.branches[i]];
    record.status = advance.status[i];
    for (std::int32_t taken = 0; taken < advance.counts[i]; ++taken, ++at) {
      record.tokens.push_back(advance.tokens[at]);
      record.logprobs.push_back(advance.logprobs[at]);
      record.entropies.push_back(advance.entropies[at]);
      if (!advance.certainties.empty()) record.certainties.push_back(advance.certainties[at]);
    }
  }
}

// How far a token's own part of the distribution lies from the uniform; 0 where it holds it.
double miss(const std::vector<float>& logits, const Sampling& sampling, Token token, double uniform) {
  const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double total = 0, below = 0, own = 0;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const double distance = static_cast<double>(logits[id]) - top;
    if (sampling.min_p > 0 && distance < std::log(static_cast<double>(sampling.min_p))) continue;
    const double weight = std::exp(distance / static_cast<double>(sampling.temperature));
    total += weight;
    if (static_cast<Token>(id) < token) below += weight;
    if (static_cast<Token>(id) == token) own = weight;
  }
  return std::max({0.0, below / total - uniform, uniform - (below + own) / total});
}

// To the bit what a pool that is `deterministic` has: the tokens one by one, in batches of two rows.
std::vector<float> logits_after(const std::shared_ptr<Model>& model, const std::vector<Token>& written) {
  const std::atomic<bool> abort{false};
  const std::unique_ptr<Streams> streams = Streams::open(model, drawing("host", 2), abort);
  for (const int stream : {0, 1}) decode_prompt(*streams, stream, kPrompt, 0, Streams::Clock::time_point::max());
  int position = static_cast<int>(kPrompt.size());
  for (const Token token : written) {
    for (const int stream : {0, 1}) streams->set_row(stream, token, position, stream, true);
    ++position;
    streams->decode(2);
  }
  return {streams->logits(0), streams->logits(0) + model->facts().vocabulary};
}

struct Agreement {
  int tokens = 0, differing = 0;
};

void expect_near(const std::vector<float>& host, const std::vector<float>& graph, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) EXPECT_NEAR(host[i], graph[i], 1e-4);
}

// Where the two differ, the draw lies on the edge between both tokens.
void compare(const std::shared_ptr<Model>& model, const ForkParams& fork, const Records& host, const Records& graph,
             Agreement& agreement) {
  ASSERT_EQ(host.size(), graph.size());
  for (const auto& [id, expected] : host) {
    const Record& found = graph.at(id);
    const std::size_t length = std::min(expected.tokens.size(), found.tokens.size());
    const std::size_t same = static_cast<std::size_t>(
        std::mismatch(expected.tokens.begin(), expected.tokens.begin() + static_cast<std::ptrdiff_t>(length),
                      found.tokens.begin())
            .first -
        expected.tokens.begin());
    agreement.tokens += static_cast<int>(same);
    expect_near(expected.logprobs, found.logprobs, same);
    expect_near(expected.entropies, found.entropies, same);
    if (same == expected.tokens.size() && same == found.tokens.size()) {
      EXPECT_EQ(expected.status, found.status);
      expect_near(expected.state, found.state, expected.state.size());
      expect_near(expected.confidence, found.confidence, expected.confidence.size());
      expect_near(expected.certainties, found.certainties, expected.certainties.size());
      continue;
    }
    ++agreement.differing;
    ASSERT_LT(same, length);
    const std::vector<float> logits =
        logits_after(model, {expected.tokens.begin(), expected.tokens.begin() + static_cast<std::ptrdiff_t>(same)});
    const double uniform =
        draw(fork.seed, hash_prompt(kPrompt), static_cast<std::uint32_t>(id), static_cast<std::uint32_t>(same));
    ASSERT_GT(fork.sampling.temperature, 0);
    for (const Token token : {expected.tokens[same], found.tokens[same]})
      EXPECT_LT(miss(logits, fork.sampling, token, uniform), 1e-5) << "candidate " << id << " at " << same;
  }
}

Records run(const std::shared_ptr<Model>& model, const PoolParams& params, const ForkParams& fork, int until) {
  const std::unique_ptr<Pool> pool = Pool::create(model, params);
  const RaceId race = pool->prefill(kPrompt).race;
  pool->fork(race, fork);
  Records records;
  gather(pool->advance({{race, until}}).at(0), records);
  for (auto& [id, record] : records) {
    record.state = pool->states(race, {id});
    record.confidence = pool->confidence(race, {id});
  }
  return records;
}

const std::vector<Sampling> kSamplings = {{},
                                          {0},
                                          {0.3f},
                                          {0.8f},
                                          {1.6f},
                                          {1, 0, 1, 0.02f},
                                          {0.7f, 0, 1, 0.2f},
                                          {1, 0, 1, 1},
                                          {1, 20},
                                          {0.9f, 0, 0.9f},
                                          {0.8f, 40, 0.95f, 0.05f}};

class GraphSampling : public testing::TestWithParam<std::tuple<std::string, std::string, int>> {};

TEST_P(GraphSampling, DrawsTheTokensThatTheHostDraws) {
  const auto& [architecture, weights, vocabulary] = GetParam();
  RandomModelParams shape = small_model(architecture, weights);
  shape.tokenizer = "none";
  shape.vocabulary = vocabulary;
  const std::shared_ptr<Model> model = load(model_file(shape));
  Agreement agreement;
  for (const Sampling& sampling : kSamplings) {
    for (const int width : {1, 24}) {
      SCOPED_TRACE(std::to_string(sampling.temperature) + " " + std::to_string(sampling.top_k) + " " +
                   std::to_string(sampling.top_p) + " " + std::to_string(sampling.min_p));
      ForkParams fork = fork_of(width, 100, static_cast<std::uint64_t>(width) + 11);
      fork.sampling = sampling;
      PoolParams host = drawing("host", width), graph = drawing("graph", width);
      host.deterministic = graph.deterministic = true;
      compare(model, fork, run(model, host, fork, 40), run(model, graph, fork, 40), agreement);
    }
  }
  EXPECT_LE(agreement.differing, 2);
  std::cout << agreement.differing << " of " << agreement.tokens << " tokens differ\n";
  RecordProperty("differing", agreement.differing);
  RecordProperty("tokens", agreement.tokens);
}

INSTANTIATE_TEST_SUITE_P(Models, GraphSampling,
                         testing::Values(std::tuple("llama", "f32", 512), std::tuple("llama", "f16", 1000),
                                         std::tuple("llama", "q8_0", 512), std::tuple("llama", "q4_0", 300),
                                         std::tuple("qwen2", "f16", 512), std::tuple("qwen3", "q8_0", 4097),
                                         std::tuple("qwen3", "f32", 130)),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" + std::get<1>(test.param) + "_" +
                                  std::to_string(std::get<2>(test.param));
                         });

TEST(GraphSampler, MeasuresTokensThatAreGiven) {
  ForkParams fork = fork_of(3, 100);
  for (int i = 0; i < 3; ++i) fork.given.push_back({5, 17 + i, 400, 511, 0, 30 + i});
  Agreement agreement;
  const Records graph = run(small(), drawing("graph", 3), fork, 10);
  compare(small(), fork, run(small(), drawing("host", 3), fork, 10), graph, agreement);
  EXPECT_EQ(agreement.tokens, 18);
  EXPECT_EQ(agreement.differing, 0);
  EXPECT_EQ(graph.at(1).status, static_cast<std::uint8_t>(BranchStatus::end));
}

// Many races in one batch: which rows the graph can draw from differs from row to row, and with every kill.
std::map<RaceId, Records> crowd(const char* where) {
  PoolParams params = drawing(where, 32);
  const std::unique_ptr<Pool> pool = Pool::create(small(), params);
  std::vector<ForkParams> forks(6, fork_of(5, 60));
  forks[1].sampling.top_k = 30;
  forks[2].rules.penalties = {64, 1.3f, 0.2f, 0.1f};
  forks[2].rules.biases = {{17, 3.0f}, {40, -std::numeric_limits<float>::infinity()}};
  forks[3].certainties = true;
  forks[3].sampling = {0.7f, 0, 1, 0.1f};
  forks[4].sampling.temperature = 0;
  forks[5].given.assign(5, {9, 8, 7, 6, 5, 4, 3, 2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 100, 200, 300});
  std::vector<RaceId> races;
  std::map<RaceId, Records> records;
  std::mt19937 random(9);
  for (std::size_t i = 0; i < forks.size(); ++i) {
    races.push_back(pool->prefill(kPrompt).race);
    forks[i].seed = i;
    forks[i].keep_prompt = i == 1;
    pool->fork(races.back(), forks[i]);
    // Some have gone ahead before the last are there; some wait while others go on, with gaps of any width between.
    for (int round = 0; round < 4; ++round) {
      std::vector<Turn> turns;
      for (const RaceId race : races)
        if (random() % 3 != 0) turns.push_back({race, static_cast<int>(2 * i) + round + 1});
      if (turns.empty()) continue;
      const std::vector<Advance> told = pool->advance(turns);
      for (std::size_t turn = 0; turn < turns.size(); ++turn) gather(told[turn], records[turns[turn].race]);
    }
    if (i == 2) pool->kill(races[0], {1, 3});
    if (i == 3) pool->park(races[1], {0, 2}, true);
    if (i == 4) pool->park(races[2], {4}, false);
  }
  pool->end(races[0]);
  pool->reshape(40, 256);
  pool->resume(races[1], {0, 2});
  pool->resume(races[2], {4});
  for (int until = 20; until <= 40; until += 10) {
    std::vector<Turn> turns;
    for (std::size_t i = 1; i < races.size(); ++i) turns.push_back({races[i], until});
    std::vector<bool> done(turns.size());
    while (!turns.empty()) {
      const std::vector<Advance> told = pool->advance(turns);
      std::vector<Turn> left;
      for (std::size_t i = 0; i < turns.size(); ++i) {
        gather(told[i], records[turns[i].race]);
        if (told[i].reason == AdvanceReason::running) left.push_back(turns[i]);
      }
      turns = left;
    }
  }
  for (auto& [race, each] : records) {
    if (race == races[0]) continue;
    for (auto& [id, record] : each) {
      record.state = pool->states(race, {id});
      record.confidence = pool->confidence(race, {id});
    }
  }
  return records;
}

TEST(GraphSampler, DrawsForSomeRowsWhatTheHostDrawsForOthers) {
  const std::map<RaceId, Records> host = crowd("host"), graph = crowd("graph");
  Agreement agreement;
  ASSERT_EQ(host.size(), graph.size());
  ForkParams plain;
  for (const auto& [race, records] : host) compare(small(), plain, records, graph.at(race), agreement);
  EXPECT_EQ(agreement.differing, 0);
  EXPECT_GT(agreement.tokens, 700);
}

TEST(GraphSampler, DrawsTheSameBitsWhoeverElseIsAlive) {
  PoolParams params = drawing("graph", 8);
  params.deterministic = true;
  const ForkParams fork = fork_of(8, 100);
  const Records all = run(small(), params, fork, 40);
  const std::unique_ptr<Pool> pool = Pool::create(small(), params);
  const RaceId race = pool->prefill(kPrompt).race;
  pool->fork(race, fork);
  Records some;
  for (int until = 5; until <= 40; until += 5) {
    gather(pool->advance({{race, until}}).at(0), some);
    pool->kill(race, {until / 5 - 1 == 4 ? 7 : until / 5 - 1});
  }
  for (const auto& [id, record] : some) {
    const Record& whole = all.at(id);
    ASSERT_LE(record.tokens.size(), whole.tokens.size());
    EXPECT_TRUE(std::equal(record.tokens.begin(), record.tokens.end(), whole.tokens.begin()));
    EXPECT_TRUE(std::equal(record.logprobs.begin(), record.logprobs.end(), whole.logprobs.begin()));
    EXPECT_TRUE(std::equal(record.entropies.begin(), record.entropies.end(), whole.entropies.begin()));
  }
  EXPECT_EQ(some.at(4).tokens.size(), 40u);
}

// There a step of more than 63 rows is computed in parts (context.cc).
TEST(GraphSampler, LeavesACacheThatAllShareToTheHost) {
  ForkParams fork = fork_of(80, 100);
  Agreement agreement;
  for (const Sampling& sampling : {Sampling{}, Sampling{0.8f, 20}}) {
    fork.sampling = sampling;
    PoolParams host = drawing("host", 81), graph = drawing("graph", 81);
    host.unified_cells = graph.unified_cells = 80 * 30;
    EXPECT_EQ(Pool::create(small(), graph)->params().drawing, "host");
    compare(small(), fork, run(small(), host, fork, 20), run(small(), graph, fork, 20), agreement);
  }
  EXPECT_EQ(agreement.differing, 0);
  EXPECT_EQ(agreement.tokens, 2 * 80 * 20);
}

TEST(GraphSampler, WorksWithoutStates) {
  PoolParams host = drawing("host", 6), graph = drawing("graph", 6);
  host.states = graph.states = false;
  Agreement agreement;
  const ForkParams fork = fork_of(6, 100);
  const auto written = [&](const PoolParams& params) {
    const std::unique_ptr<Pool> pool = Pool::create(small(), params);
    const RaceId race = pool->prefill(kPrompt).race;
    pool->fork(race, fork);
    Records records;
    gather(pool->advance({{race, 30}}).at(0), records);
    return records;
  };
  compare(small(), fork, written(host), written(graph), agreement);
  EXPECT_EQ(agreement.differing, 0);
  EXPECT_EQ(agreement.tokens, 180);
}

TEST(GraphSampler, TakesWhatThePlanSays) {
  ModelParams outline;
  RandomModelParams shape = small_model();
  shape.tokenizer = "none";
  outline.path = model_file(shape);
  outline.devices = {"CPU"};
  outline.weights = false;
  const std::shared_ptr<Model> without = Model::load(outline);
  for (const int streams : {1, 7, 256}) {
    for (const bool states : {true, false}) {
      PoolParams params = drawing("graph", streams);
      params.states = states;
      const std::unique_ptr<Pool> pool = Pool::create(small(), params);
      const RaceId race = pool->prefill(std::vector<Token>(200, 17)).race;
      pool->fork(race, fork_of(streams, 50));
      pool->advance({{race, 20}});
      pool->kill(race, ids(0, streams / 3));
      if (streams > 1) pool->advance({{race, 40}});
      const ContextSizes foreseen = context_sizes(*without, params), taken = pool->sizes();
      ASSERT_EQ(foreseen.devices.size(), taken.devices.size());
      EXPECT_EQ(foreseen.devices[0].compute, taken.devices[0].compute);
      EXPECT_EQ(foreseen.devices[0].outputs, taken.devices[0].outputs);
      EXPECT_EQ(foreseen.devices[0].cells, taken.devices[0].cells);
      params.drawing = "host";
      EXPECT_GT(taken.devices[0].outputs, context_sizes(*without, params).devices[0].outputs);
    }
  }
}

TEST(GraphSampler, IsUsedWhereItIsAskedFor) {
  EXPECT_EQ(Pool::create(small(), drawing("auto", 1))->params().drawing, "host");
  EXPECT_EQ(Pool::create(small(), drawing("graph", 1))->params().drawing, "graph");
  EXPECT_EQ(code_of([] { Pool::create(small(), drawing("paper", 1)); }), "OPTION_INVALID");
}

}  // namespace
}  // namespace winnow::test
