// Grammar: which texts a branch may write, in llama.cpp's GBNF (grammars/README.md there), as rules of elements.
//
// Not llama.cpp's own reader and sampler, measured on release 0.5.0: a text it cannot read is printed to stderr without
// a reason for the caller; its test for left recursion doubles with every rule (`a ::= b | b`); and what it holds
// of an ambiguous grammar (`s ::= "a" s "b" | "a" s "c"`) doubles with every character, 12 s for the thirteenth, with
// no way to stop it. Masking a vocabulary of 152k tokens takes it 17 to 165 ms. Here every step is bounded, the rules
// are shared by all branches, and the tests compare what is allowed with llama.cpp's answer.
//
// GBNF: `name ::= ...` with literals, [classes], [^classes], `.`, (groups), |, * + ? {m} {m,} {m,n}, # comments, and
// tokens: <text>, <[id]>, !<text>, !<[id]>. A rule given twice counts as it was given last.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model.h"

namespace winnow {

struct Grammar {
  static constexpr std::size_t kMostText = 1 << 20;      // bytes
  static constexpr std::size_t kMostElements = 1 << 18;  // once repetitions are written out
  static constexpr int kMostNesting = 256;               // groups within groups
  static constexpr std::size_t kMostName = 256;          // letters of a rule's name

  enum class Kind : std::uint8_t { end, alternative, rule, characters, token, other_token };
  struct Element {
    Kind kind = Kind::end;
    std::int32_t value = 0;  // rule; first of its ranges; token
    std::int32_t count = 0;  // ranges
  };
  struct Range {
    std::uint32_t low = 0, high = 0;  // Unicode code points, both included; ascending and apart within an element
  };

  // Turns the text of a special token into its id, -1 where it is not exactly one.
  using TokenOf = std::function<Token(const std::string& text)>;

  // Throws GRAMMAR_INVALID: a text that is not GBNF, left recursion, an unknown rule, more than the above.
  static std::shared_ptr<const Grammar> read(const std::string& text, const std::string& root, const TokenOf& token_of);

  std::vector<Element> elements;    // each rule: alternatives parted by `alternative`, then `end`
  std::vector<std::int32_t> rules;  // where each begins
  std::vector<Range> ranges;
  std::int32_t root = 0;  // a rule

  bool ends(std::int32_t position) const {
    const Kind kind = elements[static_cast<std::size_t>(position)].kind;
    return kind == Kind::end || kind == Kind::alternative;
  }
};

}  // namespace winnow
