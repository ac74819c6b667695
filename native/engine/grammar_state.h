// GrammarState: where a branch is in its grammar: every way to read what it wrote, each a stack of positions in the
// rules. Copied on fork; the grammar itself is shared.
//
// Bounded: a token after which the ways to read the text would hold more than kMostPositions positions, those on the
// way counted, is refused like one that does not fit. Real grammars stay under a few hundred.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "grammar.h"
#include "pieces.h"

namespace winnow {

class GrammarState {
 public:
  static constexpr std::size_t kMostPositions = 1 << 16;

  // At the beginning of the text. Throws GRAMMAR_INVALID where even that exceeds the bound.
  explicit GrammarState(std::shared_ptr<const Grammar> grammar);

  // The text may end here.
  bool complete() const;
  // And nothing may follow.
  bool finished() const { return complete() && stacks_.size() == 1; }

  // What it is after one more token; empty() where the token does not fit. End tokens are not for it to judge.
  GrammarState after(Token token, std::string_view piece) const;
  bool empty() const { return stacks_.empty(); }

  // Sets `allowed` (one char a token) for the tokens that fit, end tokens aside. Where there is more to try than a
  // tenth of a second allows, the rest is refused: by count, not by the clock.
  void mask(const Pieces& pieces, std::vector<char>& allowed) const;

  bool operator==(const GrammarState& other) const;
  // Of the same grammar.
  bool operator<(const GrammarState& other) const;

 private:
  class Walk;
  struct Effort;
  using Stack = std::vector<std::int32_t>;
  // A character of which some bytes are still to come.
  struct Partial {
    std::uint32_t value = 0;
    std::int32_t missing = 0;  // bytes
    std::int32_t length = 0;   // bytes of the whole
  };

  GrammarState(const std::shared_ptr<const Grammar>& grammar, std::vector<Stack> stacks)
      : grammar_(grammar), stacks_(std::move(stacks)) {}
  const Grammar::Element& top(const Stack& stack) const {
    return grammar_->elements[static_cast<std::size_t>(stack.back())];
  }
  bool expand(Stack stack, Effort& effort, std::vector<Stack>& out) const;
  bool pass(const Stack& stack, Effort& effort, std::vector<Stack>& out) const;
  bool meets(const Stack& stack, std::uint32_t low, std::uint32_t high) const;
  GrammarState after_byte(unsigned char byte, Effort& work) const;
  GrammarState after_character(std::uint32_t character, Effort& work) const;
  GrammarState after_bytes(std::string_view bytes) const;
  void pass_token(Token token, bool shown, Effort& work, std::vector<Stack>& out) const;
  void order();

  std::shared_ptr<const Grammar> grammar_;
  std::vector<Stack> stacks_;  // ascending, no two alike; what is on top takes characters or a token
  Partial partial_;
};

}  // namespace winnow
