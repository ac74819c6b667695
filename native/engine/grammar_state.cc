#include "grammar_state.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>

#include "error.h"

namespace winnow {
namespace {

using Kind = Grammar::Kind;

constexpr std::size_t kMostMaskWork = 1 << 19;  // stacks looked at, some 0.1 microseconds each
constexpr std::size_t kCopied = 32;             // positions that are copied in that time

// Whether an answer shows the token at all, as far as llama.cpp's grammars go: a zero byte ends a text there.
bool shows(std::string_view piece) { return !piece.empty() && piece.front() != '\0'; }

}  // namespace

struct GrammarState::Effort {
  std::size_t stacks = 0;
  std::size_t positions = 0;  // in them

  void add(const Effort& other) {
    stacks += other.stacks;
    positions += other.positions;
  }
  bool spent() const { return stacks + positions / kCopied > kMostMaskWork; }
};

GrammarState::GrammarState(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)) {
  // The root as if another rule named it: each of its alternatives is a way to begin.
  const Grammar& rules = *grammar_;
  Effort effort;
  bool within = true;
  std::int32_t position = rules.rules[static_cast<std::size_t>(rules.root)];
  for (bool more = true; more && within;) {
    within = expand(rules.ends(position) ? Stack{} : Stack{position}, effort, stacks_);
    while (!rules.ends(position)) ++position;
    more = rules.elements[static_cast<std::size_t>(position++)].kind == Kind::alternative;
  }
  if (!within) {
    throw EngineError("GRAMMAR_INVALID", "Expected a GBNF grammar with at most " + std::to_string(kMostPositions) +
                                             " places to begin but received one with more");
  }
  order();
}

void GrammarState::order() {
  std::sort(stacks_.begin(), stacks_.end());
  stacks_.erase(std::unique(stacks_.begin(), stacks_.end()), stacks_.end());
}

bool GrammarState::complete() const {
  return partial_.missing == 0 && !stacks_.empty() && stacks_.front().empty();  // the empty stack sorts first
}

bool GrammarState::operator==(const GrammarState& other) const {
  return grammar_ == other.grammar_ && !(*this < other) && !(other < *this);
}

bool GrammarState::operator<(const GrammarState& other) const {
  return std::tie(partial_.value, partial_.missing, partial_.length, stacks_) <
         std::tie(other.partial_.value, other.partial_.missing, other.partial_.length, other.stacks_);
}

// Replaces a rule on top by what it begins with, until what is on top takes characters or a token. False: over the
// bound.
bool GrammarState::expand(Stack stack, Effort& effort, std::vector<Stack>& out) const {
  const Grammar& rules = *grammar_;
  std::vector<Stack> todo;
  // Counted before they are there: a rule may have very many alternatives.
  const auto add = [&](Stack next) {
    effort.stacks += 1;
    effort.positions += next.size() + 1;
    if (effort.positions > kMostPositions) return false;
    todo.push_back(std::move(next));
    return true;
  };
  if (!add(std::move(stack))) return false;
  std::set<Stack> seen;
  while (!todo.empty()) {
    Stack current = std::move(todo.back());
    todo.pop_back();
    if (current.empty() || top(current).kind != Kind::rule) {
      out.push_back(std::move(current));
      continue;
    }
    if (!seen.insert(current).second) continue;
    const std::int32_t rest = current.back() + 1;
    std::int32_t position = rules.rules[static_cast<std::size_t>(top(current).value)];
    current.pop_back();
    if (!rules.ends(rest)) current.push_back(rest);
    for (bool more = true; more;) {
      Stack next = current;
      if (!rules.ends(position)) next.push_back(position);
      if (!add(std::move(next))) return false;
      while (!rules.ends(position)) ++position;
      more = rules.elements[static_cast<std::size_t>(position++)].kind == Kind::alternative;
    }
  }
  return true;
}

// `out` gains what `stack` becomes once what is on top was taken.
bool GrammarState::pass(const Stack& stack, Effort& effort, std::vector<Stack>& out) const {
  Stack rest(stack.begin(), stack.end() - 1);
  if (!grammar_->ends(stack.back() + 1)) rest.push_back(stack.back() + 1);
  return expand(std::move(rest), effort, out);
}

// Whether its next character may lie in [low, high].
bool GrammarState::meets(const Stack& stack, std::uint32_t low, std::uint32_t high) const {
  if (stack.empty() || top(stack).kind != Kind::characters) return false;
  const auto first = grammar_->ranges.begin() + top(stack).value;
  const auto last = first + top(stack).count;
  const auto at = std::lower_bound(first, last, low,
                                   [](const Grammar::Range& range, std::uint32_t value) { return range.high < value; });
  return at != last && at->low <= high;
}

GrammarState GrammarState::after_character(std::uint32_t character, Effort& work) const {
  GrammarState next(grammar_, {});
  Effort effort;
  bool within = true;
  for (const Stack& stack : stacks_) {
    if (within && meets(stack, character, character)) within = pass(stack, effort, next.stacks_);
  }
  work.add(effort);
  work.stacks += stacks_.size();
  if (!within) next.stacks_.clear();
  next.order();
  return next;
}

// UTF-8 as in Unicode 15, table 3-7.
GrammarState GrammarState::after_byte(unsigned char byte, Effort& work) const {
  GrammarState next(grammar_, {});
  Partial& partial = next.partial_;
  if (partial_.missing == 0) {
    if (byte == 0 || (byte >= 0x80 && byte < 0xC2) || byte > 0xF4) return next;
    if (byte < 0x80) return after_character(byte, work);
    partial.missing = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
    partial.length = partial.missing + 1;
    partial.value = byte & (0x3Fu >> partial.missing);
  } else {
    if ((byte & 0xC0) != 0x80) return next;
    partial = partial_;
    partial.value = partial_.value << 6 | (byte & 0x3Fu);
    --partial.missing;
  }
  std::uint32_t low = partial.value << (6 * partial.missing);
  std::uint32_t high = low | ((1u << (6 * partial.missing)) - 1);
  low = std::max(low, partial.length == 4 ? 0x10000u : partial.length == 3 ? 0x800u : 0x80u);
  high = std::min(high, 0x10FFFFu);
  const bool surrogate = low >= 0xD800 && high <= 0xDFFF;
  if (low > high || surrogate) return GrammarState(grammar_, {});
  if (partial.missing == 0) return after_character(partial.value, work);
  for (const Stack& stack : stacks_) {
    work.stacks += 1;
    work.positions += stack.size();
    if (meets(stack, low, high)) next.stacks_.push_back(stack);
  }
  return next.empty() ? GrammarState(grammar_, {}) : next;
}

GrammarState GrammarState::after_bytes(std::string_view bytes) const {
  Effort work;
  GrammarState next(grammar_, {});
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    next = (i == 0 ? *this : next).after_byte(static_cast<unsigned char>(bytes[i]), work);
    if (next.empty()) break;
  }
  return next;
}

// `out` gains what is left of the stacks whose top takes the token as such; nothing where that exceeds the bound.
void GrammarState::pass_token(Token token, bool shown, Effort& work, std::vector<Stack>& out) const {
  if (partial_.missing > 0) return;
  std::vector<Stack> passed;
  Effort effort;
  bool within = true;
  for (const Stack& stack : stacks_) {
    if (stack.empty()) continue;
    const Grammar::Element& element = top(stack);
    const bool fits = element.kind == Kind::token         ? element.value == token
                      : element.kind == Kind::other_token ? element.value != token && shown
                                                          : false;
    within = within && (!fits || pass(stack, effort, passed));
  }
  work.add(effort);
  work.stacks += stacks_.size();
  if (within) out.insert(out.end(), passed.begin(), passed.end());
}

GrammarState GrammarState::after(Token token, std::string_view piece) const {
  GrammarState next = after_bytes(piece);
  if (next.partial_.missing > 0) return next;
  const std::size_t by_bytes = next.stacks_.size();
  Effort work;
  pass_token(token, shows(piece), work, next.stacks_);
  if (next.stacks_.size() > by_bytes) next.order();
  return next;
}

// The states that the pieces lead to, each found once: most of a vocabulary leads to a few dozen.
class GrammarState::Walk {
 public:
  explicit Walk(const GrammarState& start) { number(start); }

  // -1: no way on.
  std::int32_t step(std::int32_t from, unsigned char byte) {
    std::int32_t& known = next_[static_cast<std::size_t>(from)][byte];
    if (known != kUnknown) return known;
    const GrammarState state = states_[static_cast<std::size_t>(from)]->first.after_byte(byte, work_);
    const std::int32_t found = state.empty() ? -1 : number(state);
    return next_[static_cast<std::size_t>(from)][byte] = found;  // number() may have moved `known`
  }
  bool spent() const { return work_.spent(); }

 private:
  static constexpr std::int32_t kUnknown = -2;

  std::int32_t number(const GrammarState& state) {
    const auto [found, fresh] = numbers_.try_emplace(state, static_cast<std::int32_t>(states_.size()));
    if (fresh) {
      states_.push_back(found);
      next_.emplace_back().fill(kUnknown);
      work_.positions += 256;
    }
    return found->second;
  }

  std::map<GrammarState, std::int32_t> numbers_;
  std::vector<std::map<GrammarState, std::int32_t>::const_iterator> states_;
  std::vector<std::array<std::int32_t, 256>> next_;
  Effort work_;
};

void GrammarState::mask(const Pieces& pieces, std::vector<char>& allowed) const {
  allowed.assign(static_cast<std::size_t>(pieces.size()), 0);
  Walk walk(*this);
  std::vector<std::int32_t> path{0};  // the states after 0, 1, 2.. bytes of the piece at hand, as far as it fits
  for (std::size_t i = 0; i < pieces.sorted().size() && !walk.spent(); ++i) {
    const Token token = pieces.sorted()[i];
    const std::string_view piece = pieces.of(token);
    if (pieces.shared()[i] >= path.size()) continue;  // has the byte that did not fit in one before
    path.resize(pieces.shared()[i] + std::size_t{1});
    while (path.size() <= piece.size() && !walk.spent()) {
      const std::int32_t next = walk.step(path.back(), static_cast<unsigned char>(piece[path.size() - 1]));
      if (next < 0) break;
      path.push_back(next);
    }
    if (path.size() > piece.size()) allowed[static_cast<std::size_t>(token)] = 1;
  }
  // Tokens as such: those that are named, one by one, and what every other one leads to.
  std::set<Token> named;
  bool others = false;
  for (const Stack& stack : stacks_) {
    if (stack.empty() || (top(stack).kind != Kind::token && top(stack).kind != Kind::other_token)) continue;
    others = others || top(stack).kind == Kind::other_token;
    if (top(stack).value < pieces.size()) named.insert(top(stack).value);
  }
  Effort work;
  std::vector<Stack> passed;
  const auto passes = [&](Token token, bool shown) {
    passed.clear();
    if (!work.spent()) pass_token(token, shown, work, passed);
    return !passed.empty();
  };
  for (const Token token : named) {
    if (passes(token, shows(pieces.of(token)))) allowed[static_cast<std::size_t>(token)] = 1;
  }
  if (!others || !passes(-1, true)) return;
  for (const Token token : pieces.sorted()) {
    if (shows(pieces.of(token)) && named.count(token) == 0) allowed[static_cast<std::size_t>(token)] = 1;
  }
}

}  // namespace winnow
