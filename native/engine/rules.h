// Rules: what else than the model and the sampling decides a branch's tokens: logit biases, penalties, DRY, a grammar.
//
// In llama.cpp's order (common/sampling): biases, penalties, DRY, then top-k, top-p, min-p and temperature as ever.
// Penalties and biases touch the few tokens they name in a copy of the row, where llama.cpp's samplers build an array
// of the vocabulary. The grammar comes last: the token drawn is tested, and only where it does not fit is the row
// masked and the token drawn again with the same uniform, from what is left of the distribution. As in llama.cpp.
//
// The log-probability and entropy reported are the model's own, of the untouched row (sampler.h). A token stays a
// pure function of the row, what the branch wrote, and the uniform.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dry.h"
#include "grammar_state.h"
#include "model.h"
#include "pieces.h"
#include "sampler.h"

namespace winnow {

// Of the last `last_n` tokens, prompt included: logit / repeat where it is positive, * repeat otherwise; then
// - frequency * (times it occurred) - presence.
struct PenaltyParams {
  int last_n = 64;
  float repeat = 1.0f;     // 1: off
  float frequency = 0.0f;  // 0: off
  float presence = 0.0f;   // 0: off

  bool operator==(const PenaltyParams&) const = default;
};

struct GrammarParams {
  std::string text;  // GBNF; empty: none
  std::string root = "root";

  bool operator==(const GrammarParams&) const = default;
};

// What a fork may ask for. The default asks for nothing.
struct SamplingRules {
  PenaltyParams penalties;
  DryParams dry;
  std::vector<std::pair<Token, float>> biases;  // added to the logit; -inf forbids the token
  GrammarParams grammar;

  bool operator==(const SamplingRules&) const = default;
};

// Of one fork, shared by its branches.
class Rules {
 public:
  static constexpr int kMostLastN = 1 << 16;

  // Null where nothing is asked. `pieces`, of the same model, may be null unless needs_pieces(asked).
  // Throws OPTION_INVALID, TOKEN_INVALID, GRAMMAR_INVALID.
  static std::shared_ptr<const Rules> of(const SamplingRules& asked, std::shared_ptr<const Model> model,
                                         std::shared_ptr<const Pieces> pieces);
  static bool needs_pieces(const SamplingRules& asked);

 private:
  friend class BranchRules;
  bool penalises() const {
    return asked_.penalties.repeat != 1 || asked_.penalties.frequency != 0 || asked_.penalties.presence != 0;
  }
  bool shapes() const { return !asked_.biases.empty() || window_ > 0; }

  SamplingRules asked_;
  std::size_t window_ = 0;  // tokens that penalties and DRY look back
  std::optional<Dry> dry_;
  std::optional<GrammarState> start_;  // of the grammar
  std::vector<Token> ends_;            // where there is a grammar: the model's end tokens
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Pieces> pieces_;
};

// Scratch of one thread, for any number of forks of one model.
struct RulesScratch {
  // What a grammar allows in a state. The branches of a fork are often in the same few.
  struct Mask {
    GrammarState state;
    std::vector<char> allowed;
  };
  std::vector<float> row;
  std::vector<std::int32_t> counts;  // of the vocabulary; zero between calls
  std::vector<Token> seen;
  std::vector<std::pair<Token, float>> dry;
  std::vector<Mask> masks;
  std::size_t oldest_mask = 0;
  SamplerScratch sampler;
};

// Of one branch: what it wrote, as far as the rules look back, and where it is in the grammar. Copied on fork.
class BranchRules {
 public:
  // The prompt's last tokens count for the penalties, as in llama.cpp, not for the grammar.
  BranchRules(std::shared_ptr<const Rules> rules, const std::vector<Token>& prompt);

  // A token of -1: the rules allow none. Throws LOGITS_INVALID as winnow::sample does.
  Sampled sample(const float* logits, int vocabulary, const Sampling& sampling, double uniform,
                 RulesScratch& scratch) const;
  // Biases, penalties and DRY put into a row of the whole vocabulary; `sample` does so in a copy.
  void shape(float* row, int vocabulary, RulesScratch& scratch) const;
  // After it was taken; a token that the grammar refuses is a bug of the caller's (INTEGRITY).
  void accept(Token token);
  // The grammar is complete and nothing may follow: only an end token is left to sample.
  bool finished() const { return state_ && state_->finished(); }

 private:
  bool fits(Token token) const;
  const std::vector<char>& allowed(RulesScratch& scratch) const;

  std::shared_ptr<const Rules> rules_;
  std::vector<Token> written_;
  std::optional<GrammarState> state_;
};

}  // namespace winnow
