#include "rules.h"

#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "fixture.h"

namespace winnow::test {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

struct FreeSampler {
  void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
};
using Theirs = std::unique_ptr<llama_sampler, FreeSampler>;

// 1000 tokens: control tokens 0..2, each byte from 3, then " ", "a", "b", .. "z", "aa", ..
constexpr Token byte_token(char byte) { return 3 + static_cast<unsigned char>(byte); }
std::shared_ptr<Model> speaking() {
  static const std::shared_ptr<Model> model = [] {
    RandomModelParams params = small_model();
    params.vocabulary = 1000;
    return load(model_file(params));
  }();
  return model;
}
std::shared_ptr<const Pieces> pieces() {
  static const auto made = std::make_shared<const Pieces>(*speaking());
  return made;
}
int vocabulary() { return speaking()->facts().vocabulary; }

BranchRules branch_of(const SamplingRules& asked, const std::vector<Token>& prompt = {}) {
  return BranchRules(Rules::of(asked, speaking(), pieces()), prompt);
}

SamplingRules with_grammar(const std::string& text) {
  SamplingRules asked;
  asked.grammar.text = text;
  return asked;
}

std::vector<float> random_row(std::mt19937_64& random, float spread = 3) {
  std::vector<float> row(static_cast<std::size_t>(vocabulary()));
  std::normal_distribution<float> normal(0, spread);
  for (float& logit : row) logit = normal(random);
  return row;
}

std::vector<float> applied(llama_sampler* sampler, const std::vector<float>& row) {
  std::vector<llama_token_data> data;
  for (std::size_t i = 0; i < row.size(); ++i) data.push_back({static_cast<Token>(i), row[i], 0.0f});
  llama_token_data_array all = {data.data(), data.size(), -1, false};
  llama_sampler_apply(sampler, &all);
  std::vector<float> shaped;
  for (const llama_token_data& each : data) shaped.push_back(each.logit);
  return shaped;
}

std::vector<float> shaped(const BranchRules& branch, std::vector<float> row) {
  RulesScratch scratch;
  branch.shape(row.data(), vocabulary(), scratch);
  return row;
}

double uniform_of(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1.0p-53; }

TEST(Rules, AreNoneWhereNothingIsAsked) {
  EXPECT_EQ(Rules::of({}, small(), nullptr), nullptr);
  SamplingRules asked;
  asked.penalties.last_n = 0;
  asked.penalties.repeat = 1.1f;
  asked.dry.multiplier = 0.8f;
  asked.dry.last_n = 0;
  EXPECT_EQ(Rules::of(asked, small(), nullptr), nullptr) << "penalties that look nowhere";
}

TEST(Rules, PenaliseAsLlamaCppDoes) {
  std::mt19937_64 random(1);
  for (int trial = 0; trial < 60; ++trial) {
    SamplingRules asked;
    asked.penalties.last_n = 1 + static_cast<int>(random() % 100);
    asked.penalties.repeat = trial % 4 == 0 ? 1.0f : 1.0f + static_cast<float>(random() % 10) / 10;
    asked.penalties.frequency = static_cast<float>(random() % 5) / 4;
    asked.penalties.presence = 0.1f + static_cast<float>(random() % 5) / 4 - 0.5f;
    const Theirs theirs(llama_sampler_init_penalties(vocabulary(), asked.penalties.last_n, asked.penalties.repeat,
                                                     asked.penalties.frequency, asked.penalties.presence));
    std::vector<Token> prompt(random() % 150);
    for (Token& token : prompt) token = static_cast<Token>(random() % 40);
    BranchRules ours = branch_of(asked, prompt);
    for (const Token token : prompt) llama_sampler_accept(theirs.get(), token);
    for (int step = 0; step < 300; ++step) {
      const Token token = static_cast<Token>(random() % 40);
      ours.accept(token);
      llama_sampler_accept(theirs.get(), token);
    }
    const std::vector<float> row = random_row(random);
    const std::vector<float> expected = applied(theirs.get(), row), received = shaped(ours, row);
    for (std::size_t i = 0; i < row.size(); ++i) ASSERT_FLOAT_EQ(received[i], expected[i]) << trial << ' ' << i;
    EXPECT_NE(received, row);
  }
}

TEST(Rules, PenaliseRepetitionAsLlamaCppsDryDoes) {
  std::mt19937_64 random(2);
  int penalised = 0;
  for (int trial = 0; trial < 200; ++trial) {
    SamplingRules asked;
    asked.dry.multiplier = 0.8f;
    asked.dry.base = trial % 5 == 0 ? 1.0f : 1.75f;
    asked.dry.allowed_length = static_cast<int>(random() % 4);
    asked.dry.last_n = 1 + static_cast<int>(random() % 200);
    // " ef" begins in " " and goes on in "ef"; "zq" never comes.
    if (trial % 3 == 0) asked.dry.breakers = {};
    if (trial % 3 == 1) asked.dry.breakers = {"d", " ef", "zq"};
    std::vector<const char*> breakers;
    for (const std::string& breaker : asked.dry.breakers) breakers.push_back(breaker.c_str());
    const Theirs theirs(llama_sampler_init_dry(speaking()->vocab(), asked.dry.multiplier, asked.dry.base,
                                               asked.dry.allowed_length, asked.dry.last_n, breakers.data(),
                                               breakers.size()));
    BranchRules ours = branch_of(asked);
    // Letters as bytes and as words, some stretches again and again.
    std::vector<Token> written;
    const int length = static_cast<int>(random() % 400);
    while (static_cast<int>(written.size()) < length) {
      if (written.size() > 10 && random() % 3 == 0) {
        const std::size_t from = random() % (written.size() - 8), count = 1 + random() % 8;
        for (std::size_t i = 0; i < count; ++i) written.push_back(written[from + i]);
      } else {
        written.push_back(random() % 2 == 0 ? static_cast<Token>(byte_token('a') + random() % 8)
                                            : static_cast<Token>(259 + random() % 8));
      }
    }
    for (const Token token : written) {
      ours.accept(token);
      llama_sampler_accept(theirs.get(), token);
    }
    const std::vector<float> row = random_row(random);
    const std::vector<float> expected = applied(theirs.get(), row), received = shaped(ours, row);
    for (std::size_t i = 0; i < row.size(); ++i) {
      ASSERT_FLOAT_EQ(received[i], expected[i])
          << "trial " << trial << ", token " << i << " '" << pieces()->of(static_cast<Token>(i)) << "'";
    }
    penalised += received != row;
  }
  EXPECT_GT(penalised, 100);
  EXPECT_LT(penalised, 200);
}

TEST(Rules, AddBiasesAndForbidTokens) {
  SamplingRules asked;
  asked.biases = {{5, 2.5f}, {7, kForbidden}, {5, 1.0f}};
  std::mt19937_64 random(3);
  const std::vector<float> row = random_row(random);
  const std::vector<float> received = shaped(branch_of(asked), row);
  EXPECT_FLOAT_EQ(received[5], row[5] + 3.5f);
  EXPECT_EQ(received[7], kForbidden);
  EXPECT_EQ(received[8], row[8]);
}

TEST(Rules, ReportTheModelsOwnLogprob) {
  SamplingRules asked;
  asked.biases = {{300, 50.0f}};
  std::mt19937_64 random(4);
  const std::vector<float> row = random_row(random);
  RulesScratch scratch;
  const Sampled sampled = branch_of(asked).sample(row.data(), vocabulary(), Sampling{}, 0.5, scratch);
  EXPECT_EQ(sampled.token, 300);
  const Sampled own = measure(row.data(), vocabulary(), 300);
  EXPECT_EQ(sampled.logprob, own.logprob);
  EXPECT_EQ(sampled.entropy, own.entropy);
}

TEST(Rules, AllowNothingWhereEveryTokenIsForbidden) {
  SamplingRules asked;
  for (Token token = 0; token < vocabulary(); ++token) asked.biases.emplace_back(token, kForbidden);
  std::mt19937_64 random(5);
  const std::vector<float> row = random_row(random);
  RulesScratch scratch;
  EXPECT_EQ(branch_of(asked).sample(row.data(), vocabulary(), Sampling{}, 0.5, scratch).token, -1);
  asked = with_grammar("root ::= \"1\"");
  asked.biases = {{byte_token('1'), kForbidden}};
  EXPECT_EQ(branch_of(asked).sample(row.data(), vocabulary(), Sampling{}, 0.5, scratch).token, -1);
}

TEST(Rules, RefuseLogitsThatAreNotNumbers) {
  SamplingRules asked;
  asked.penalties.repeat = 1.1f;
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::vector<float> row(static_cast<std::size_t>(vocabulary()), 1.0f);
    row[9] = bad;
    RulesScratch scratch;
    EXPECT_EQ(code_of([&] { branch_of(asked).sample(row.data(), vocabulary(), Sampling{}, 0.5, scratch); }),
              "LOGITS_INVALID");
  }
}

TEST(Rules, DrawWhatFitsTheGrammarAsIfThereWereNone) {
  std::mt19937_64 random(6);
  const BranchRules branch = branch_of(with_grammar("root ::= [^#]*"));
  RulesScratch scratch;
  for (int trial = 0; trial < 100; ++trial) {
    const std::vector<float> row = random_row(random);
    const double uniform = uniform_of(random);
    const Sampled free = sample(row.data(), vocabulary(), Sampling{}, uniform, scratch.sampler);
    const std::string_view piece = pieces()->of(free.token);
    if (piece.empty() || piece.find('#') != std::string_view::npos || static_cast<unsigned char>(piece[0]) >= 0x80 ||
        piece[0] == 0)
      continue;
    const Sampled ruled = branch.sample(row.data(), vocabulary(), Sampling{}, uniform, scratch);
    EXPECT_EQ(ruled.token, free.token);
    EXPECT_EQ(ruled.logprob, free.logprob);
    EXPECT_EQ(ruled.entropy, free.entropy);
  }
}

// The token drawn anew is that of llama.cpp's masked row under the same uniform.
TEST(Rules, DrawAnewFromWhatTheGrammarLeaves) {
  const std::string text = "root ::= \" \" [a-z]+ (\", \" [a-z]{2,4})* \".\"";
  std::mt19937_64 random(7);
  RulesScratch scratch;
  SamplerScratch other;
  int redrawn = 0, ended = 0;
  for (int trial = 0; trial < 40; ++trial) {
    BranchRules branch = branch_of(with_grammar(text));
    const Theirs theirs(llama_sampler_init_grammar(speaking()->vocab(), text.c_str(), "root"));
    for (int step = 0; step < 40; ++step) {
      const std::vector<float> row = random_row(random, 1);
      Sampling sampling;
      if (trial % 2 == 1) sampling.top_k = 20;
      const double uniform = uniform_of(random);
      std::vector<float> masked = applied(theirs.get(), row);
      masked[0] = masked[1] = kForbidden;  // control tokens: llama.cpp goes by their names
      const Token expected = sample(masked.data(), vocabulary(), sampling, uniform, other).token;
      const Token free = sample(row.data(), vocabulary(), sampling, uniform, other).token;
      const bool fits = masked[static_cast<std::size_t>(free)] != kForbidden;
      const Sampled ruled = branch.sample(row.data(), vocabulary(), sampling, uniform, scratch);
      ASSERT_EQ(ruled.token, fits ? free : expected);
      ASSERT_EQ(ruled.logprob, measure(row.data(), vocabulary(), ruled.token).logprob);
      redrawn += !fits;
      ASSERT_EQ(branch.sample(row.data(), vocabulary(), sampling, uniform, scratch).token, ruled.token) << "pure";
      if (speaking()->is_end(ruled.token)) {
        EXPECT_TRUE(branch.finished());
        ++ended;
        break;
      }
      branch.accept(ruled.token);
      llama_sampler_accept(theirs.get(), ruled.token);
    }
  }
  EXPECT_GT(redrawn, 100);
  EXPECT_GT(ended, 1);
}

TEST(Rules, EndOnlyWhereTheGrammarIsComplete) {
  std::vector<float> row(static_cast<std::size_t>(vocabulary()), 0.0f);
  row[2] = 20;  // the end token
  RulesScratch scratch;
  BranchRules branch = branch_of(with_grammar("root ::= \"12\" \"3\"?"));
  for (const char expected : {'1', '2'}) {
    EXPECT_FALSE(branch.finished());
    const Token token = branch.sample(row.data(), vocabulary(), Sampling{}, 0.5, scratch).token;
    EXPECT_EQ(pieces()->of(token), std::string(1, expected));
    branch.accept(token);
  }
  EXPECT_FALSE(branch.finished()) << "a 3 may follow";
  EXPECT_EQ(branch.sample(row.data(), vocabulary(), Sampling{}, 0.5, scratch).token, 2);
  branch.accept(byte_token('3'));
  EXPECT_TRUE(branch.finished());
  row[2] = -50;
  EXPECT_EQ(branch.sample(row.data(), vocabulary(), Sampling{}, 0.5, scratch).token, 2) << "nothing else is left";
}

TEST(Rules, GoTheirOwnWayAfterAFork) {
  SamplingRules asked = with_grammar("root ::= (\"1\" \"2\" | \"3\" \"4\")+");
  asked.penalties.repeat = 1.5f;
  BranchRules one = branch_of(asked);
  BranchRules other = one;
  one.accept(byte_token('1'));
  other.accept(byte_token('3'));
  std::vector<float> row(static_cast<std::size_t>(vocabulary()), 1.0f);
  RulesScratch scratch;
  EXPECT_EQ(one.sample(row.data(), vocabulary(), Sampling{}, 0.5, scratch).token, byte_token('2'));
  EXPECT_EQ(other.sample(row.data(), vocabulary(), Sampling{}, 0.5, scratch).token, byte_token('4'));
  EXPECT_NE(shaped(one, row), shaped(other, row));
  EXPECT_EQ(code_of([&] { one.accept(byte_token('4')); }), "INTEGRITY");
}

TEST(Rules, RefuseWhatIsOutOfRange) {
  const auto code = [](const std::function<void(SamplingRules&)>& change) {
    SamplingRules asked;
    change(asked);
    return code_of([&] { Rules::of(asked, speaking(), pieces()); });
  };
  const float nan = std::nanf("");
  for (const float value : {nan, 0.0f, -1.0f, 101.0f, kForbidden})
    EXPECT_EQ(code([&](SamplingRules& asked) { asked.penalties.repeat = value; }), "OPTION_INVALID") << value;
  for (const float value : {nan, -101.0f, kForbidden}) {
    EXPECT_EQ(code([&](SamplingRules& asked) { asked.penalties.frequency = value; }), "OPTION_INVALID") << value;
    EXPECT_EQ(code([&](SamplingRules& asked) { asked.penalties.presence = value; }), "OPTION_INVALID") << value;
    EXPECT_EQ(code([&](SamplingRules& asked) { asked.dry.multiplier = value; }), "OPTION_INVALID") << value;
    EXPECT_EQ(code([&](SamplingRules& asked) { asked.dry.base = value; }), "OPTION_INVALID") << value;
  }
  EXPECT_EQ(code([](SamplingRules& asked) { asked.penalties.last_n = -1; }), "OPTION_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.dry.last_n = 1 << 17; }), "OPTION_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.dry.allowed_length = -1; }), "OPTION_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.dry.breakers = {""}; }), "OPTION_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.biases = {{-1, 1.0f}}; }), "TOKEN_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.biases = {{1000, 1.0f}}; }), "TOKEN_INVALID");
  EXPECT_EQ(code([&](SamplingRules& asked) { asked.biases = {{1, nan}}; }), "OPTION_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.biases = {{1, -kForbidden}}; }), "OPTION_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.grammar.text = "root ::= ("; }), "GRAMMAR_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.grammar = {"root ::= \"a\"", "start"}; }), "GRAMMAR_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.grammar.text = "root ::= <no-such-token>"; }), "GRAMMAR_INVALID");
  EXPECT_EQ(code([](SamplingRules& asked) { asked.grammar.text = "root ::= <s>"; }), "");
}

TEST(Pieces, AreTheBytesAnAnswerShows) {
  EXPECT_EQ(pieces()->of(0), "");
  EXPECT_EQ(pieces()->of(byte_token('\xE9')), "\xE9");
  EXPECT_EQ(pieces()->of(259), " ");
  EXPECT_EQ(pieces()->of(260), "a");
  EXPECT_EQ(static_cast<int>(pieces()->sorted().size()), vocabulary() - 3) << "control tokens have none";
  EXPECT_EQ(code_of([] { Pieces none(*small()); }), "NO_TOKENIZER");
  for (std::size_t i = 1; i < pieces()->sorted().size(); ++i) {
    const std::string_view before = pieces()->of(pieces()->sorted()[i - 1]),
                           piece = pieces()->of(pieces()->sorted()[i]);
    ASSERT_LE(before, piece);
    const std::size_t shared = pieces()->shared()[i];
    ASSERT_EQ(before.substr(0, shared), piece.substr(0, shared));
    ASSERT_TRUE(shared == before.size() || shared == piece.size() || before[shared] != piece[shared]);
  }
}

}  // namespace
}  // namespace winnow::test
