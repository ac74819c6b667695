#include "rules.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "checks.h"
#include "error.h"
#include "softmax.h"

namespace winnow {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
constexpr float kMostPenalty = 100;
constexpr float kMostBias = 1e6f;  // keeps every sum finite
constexpr std::size_t kMostBreakers = 64;
constexpr std::size_t kMostMasks = 8;          // of a thread: a byte a token each
constexpr std::size_t kMostBreakerBytes = 40;  // llama.cpp cuts them there

bool within(float value, float low, float high) { return value >= low && value <= high; }  // false for NaN

void check(const SamplingRules& asked, int vocabulary) {
  const PenaltyParams& penalties = asked.penalties;
  expect(penalties.last_n >= 0 && penalties.last_n <= Rules::kMostLastN,
         "0 to 65536 for the tokens penalties look back", penalties.last_n);
  expect(within(penalties.repeat, 1 / kMostPenalty, kMostPenalty), "0.01 to 100 for the repeat penalty",
         penalties.repeat);
  expect(within(penalties.frequency, -kMostPenalty, kMostPenalty), "-100 to 100 for the frequency penalty",
         penalties.frequency);
  expect(within(penalties.presence, -kMostPenalty, kMostPenalty), "-100 to 100 for the presence penalty",
         penalties.presence);
  const DryParams& dry = asked.dry;
  expect(within(dry.multiplier, 0, kMostPenalty), "0 to 100 for DRY's multiplier", dry.multiplier);
  expect(within(dry.base, 1, kMostPenalty), "1 to 100 for DRY's base", dry.base);
  expect(dry.allowed_length >= 0, "0 or more for DRY's allowed length", dry.allowed_length);
  expect(dry.last_n >= 0 && dry.last_n <= Rules::kMostLastN, "0 to 65536 for the tokens DRY looks back", dry.last_n);
  expect(dry.breakers.size() <= kMostBreakers, "at most 64 sequence breakers", dry.breakers.size());
  for (const std::string& breaker : dry.breakers) {
    expect(!breaker.empty() && breaker.size() <= kMostBreakerBytes, "1 to 40 bytes for a sequence breaker",
           breaker.size());
  }
  for (const auto& [token, bias] : asked.biases) {
    if (token < 0 || token >= vocabulary) {
      throw EngineError("TOKEN_INVALID", "Expected token ids from 0 to " + std::to_string(vocabulary - 1) +
                                             " for logit biases but received " + std::to_string(token));
    }
    expect(bias == kForbidden || within(bias, -kMostBias, kMostBias), "-1e6 to 1e6, or -inf, for a logit bias", bias);
  }
}

bool uses_dry(const SamplingRules& asked) { return asked.dry.multiplier > 0 && asked.dry.last_n > 0; }

}  // namespace

bool Rules::needs_pieces(const SamplingRules& asked) { return uses_dry(asked) || !asked.grammar.text.empty(); }

std::shared_ptr<const Rules> Rules::of(const SamplingRules& asked, std::shared_ptr<const Model> model,
                                       std::shared_ptr<const Pieces> pieces) {
  check(asked, model->facts().vocabulary);
  auto rules = std::make_shared<Rules>();
  rules->asked_ = asked;
  if (rules->penalises()) rules->window_ = static_cast<std::size_t>(asked.penalties.last_n);
  if (uses_dry(asked)) {
    rules->window_ = std::max(rules->window_, static_cast<std::size_t>(asked.dry.last_n));
    rules->dry_.emplace(asked.dry, *model, *pieces);
  }
  if (!asked.grammar.text.empty()) {
    const Grammar::TokenOf token_of = [&](const std::string& text) {
      const std::vector<Token> tokens = model->tokenize(text, false, true);
      return tokens.size() == 1 ? tokens[0] : -1;
    };
    for (Token token = 0; token < model->facts().vocabulary; ++token) {
      if (model->is_end(token)) rules->ends_.push_back(token);
    }
    rules->start_.emplace(Grammar::read(asked.grammar.text, asked.grammar.root, token_of));
  }
  if (!rules->shapes() && !rules->start_) return nullptr;
  rules->model_ = std::move(model);
  rules->pieces_ = std::move(pieces);
  return rules;
}

BranchRules::BranchRules(std::shared_ptr<const Rules> rules, const std::vector<Token>& prompt)
    : rules_(std::move(rules)), state_(rules_->start_) {
  const std::size_t count = std::min(prompt.size(), rules_->window_);
  written_.assign(prompt.end() - static_cast<std::ptrdiff_t>(count), prompt.end());
}

void BranchRules::accept(Token token) {
  if (rules_->window_ > 0) {
    written_.push_back(token);
    // Twice the window, so that moving it costs one token's work per token.
    if (written_.size() > 2 * rules_->window_)
      written_.erase(written_.begin(), written_.end() - static_cast<std::ptrdiff_t>(rules_->window_));
  }
  if (!state_) return;
  state_ = state_->after(token, rules_->pieces_->of(token));
  if (state_->empty())
    throw EngineError("INTEGRITY", "Expected a token that the grammar allows but received " + std::to_string(token));
}

bool BranchRules::fits(Token token) const {
  if (rules_->model_->is_end(token)) return state_->complete();
  return !state_->after(token, rules_->pieces_->of(token)).empty();
}

void BranchRules::shape(float* row, int vocabulary, RulesScratch& scratch) const {
  const SamplingRules& asked = rules_->asked_;
  for (const auto& [token, bias] : asked.biases) row[token] += bias;
  if (rules_->penalises()) {
    const std::size_t count = std::min(written_.size(), static_cast<std::size_t>(asked.penalties.last_n));
    scratch.counts.resize(static_cast<std::size_t>(vocabulary), 0);
    scratch.seen.clear();
    for (std::size_t i = written_.size() - count; i < written_.size(); ++i) {
      if (scratch.counts[static_cast<std::size_t>(written_[i])]++ == 0) scratch.seen.push_back(written_[i]);
    }
    for (const Token token : scratch.seen) {
      float& logit = row[token];
      logit = logit <= 0 ? logit * asked.penalties.repeat : logit / asked.penalties.repeat;
      logit -= static_cast<float>(std::exchange(scratch.counts[static_cast<std::size_t>(token)], 0)) *
                   asked.penalties.frequency +
               asked.penalties.presence;
    }
  }
  if (rules_->dry_) {
    scratch.dry.clear();
    rules_->dry_->penalties(written_, scratch.dry);
    for (const auto& [token, penalty] : scratch.dry) row[token] -= penalty;
  }
}

// One char a token.
const std::vector<char>& BranchRules::allowed(RulesScratch& scratch) const {
  for (const RulesScratch::Mask& known : scratch.masks) {
    if (known.state == *state_) return known.allowed;
  }
  RulesScratch::Mask mask{*state_, {}};
  state_->mask(*rules_->pieces_, mask.allowed);
  for (const Token end : rules_->ends_) mask.allowed[static_cast<std::size_t>(end)] = state_->complete();
  if (scratch.masks.size() < kMostMasks) return scratch.masks.emplace_back(std::move(mask)).allowed;
  scratch.oldest_mask = (scratch.oldest_mask + 1) % kMostMasks;
  return (scratch.masks[scratch.oldest_mask] = std::move(mask)).allowed;
}

Sampled BranchRules::sample(const float* logits, int vocabulary, const Sampling& sampling, double uniform,
                            RulesScratch& scratch) const {
  const float* row = logits;
  if (rules_->shapes()) {
    scratch.row.assign(logits, logits + vocabulary);
    shape(scratch.row.data(), vocabulary, scratch);
    row = scratch.row.data();
    if (largest_logit(row, vocabulary) == kForbidden) return Sampled{};
  }
  Sampled sampled = winnow::sample(row, vocabulary, sampling, uniform, scratch.sampler);
  if (state_ && !fits(sampled.token)) {
    if (row == logits) scratch.row.assign(logits, logits + vocabulary);
    row = scratch.row.data();
    const std::vector<char>& fitting = allowed(scratch);
    for (std::size_t token = 0; token < fitting.size(); ++token) {
      if (!fitting[token]) scratch.row[token] = kForbidden;
    }
    if (largest_logit(row, vocabulary) == kForbidden) return Sampled{};
    sampled = winnow::sample(row, vocabulary, sampling, uniform, scratch.sampler);
  }
  return row == logits ? sampled : measure(logits, vocabulary, sampled.token);
}

}  // namespace winnow
