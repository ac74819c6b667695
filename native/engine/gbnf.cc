#include "gbnf.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "gbnf_text.h"

namespace winnow {
namespace {

using Kind = Grammar::Kind;
using Element = Grammar::Element;
using Range = Grammar::Range;
using Elements = std::vector<Element>;

constexpr std::uint64_t kUnbounded = std::numeric_limits<std::uint64_t>::max();

// Recursive descent, at most kMostNesting deep.
class Reader : private GbnfText {
 public:
  Reader(const std::string& text, const Grammar::TokenOf& token_of) : GbnfText(text), token_of_(token_of) {}

  void read() {
    spaces(true);
    while (at_ < text_.size()) rule();
  }

  GbnfRules result;

 private:
  std::int32_t id_of(const std::string& rule_name) {
    const auto [found, fresh] = result.ids.try_emplace(rule_name, static_cast<std::int32_t>(result.rules.size()));
    if (fresh) add_rule(rule_name);
    return found->second;
  }

  std::int32_t add_rule(const std::string& rule_name) {
    result.rules.emplace_back();
    result.names.push_back(rule_name);
    return static_cast<std::int32_t>(result.rules.size()) - 1;
  }

  void count(std::uint64_t elements) {
    elements_ += elements;
    if (elements_ > Grammar::kMostElements)
      fail("more than " + std::to_string(Grammar::kMostElements) + " elements, repetitions written out,");
  }

  void rule() {
    const std::string rule_name = name();
    spaces(false);
    if (peek() != ':' || peek(1) != ':' || peek(2) != '=') fail("no '::='");
    at_ += 3;
    spaces(true);
    const std::int32_t id = id_of(rule_name);
    Elements elements = alternatives(rule_name, 0);
    result.rules[static_cast<std::size_t>(id)] = std::move(elements);
    if (at_ < text_.size() && peek() != '\n' && peek() != '\r') fail("no end of the line");
    spaces(true);
  }

  Elements alternatives(const std::string& owner, int nesting) {
    Elements all;
    sequence(owner, nesting, all);
    while (take('|')) {
      count(1);
      all.push_back({Kind::alternative, 0, 0});
      spaces(true);
      sequence(owner, nesting, all);
    }
    count(1);
    all.push_back({Kind::end, 0, 0});
    return all;
  }

  void sequence(const std::string& owner, int nesting, Elements& out) {
    std::size_t symbol = out.size();  // where what a repetition repeats begins
    for (;;) {
      const char c = peek();
      const std::size_t before = out.size();
      if (at_ >= text_.size()) {
        return;
      } else if (c == '"') {
        ++at_;
        while (!take('"')) {
          const std::uint32_t code_point = character();
          out.push_back(characters({{code_point, code_point}}));
        }
      } else if (c == '[') {
        ++at_;
        out.push_back(character_class());
      } else if (c == '.') {
        ++at_;
        out.push_back(characters({{1, kLastCodePoint}}));
      } else if (c == '<' || c == '!') {
        out.push_back(token());
      } else if (is_word(c)) {
        out.push_back({Kind::rule, id_of(name()), 0});
      } else if (c == '(') {
        ++at_;
        if (nesting >= Grammar::kMostNesting) fail("groups more than " + std::to_string(nesting) + " deep");
        spaces(true);
        const std::int32_t id = add_rule(owner);
        Elements inner = alternatives(owner, nesting + 1);
        result.rules[static_cast<std::size_t>(id)] = std::move(inner);
        expect(')');
        out.push_back({Kind::rule, id, 0});
      } else if (c == '*' || c == '+' || c == '?' || c == '{') {
        repetition(owner, symbol, out);
        spaces(nesting > 0);
        continue;
      } else {
        return;
      }
      count(out.size() - before);
      symbol = before;
      spaces(nesting > 0);
    }
  }

  // S{m,n} is written out as m times S, then a rule that is S and the next such rule, or nothing; S{m,} as a rule
  // that is S and itself, or nothing.
  void repetition(const std::string& owner, std::size_t symbol, Elements& out) {
    std::uint64_t least = 0, most = kUnbounded;
    const char c = peek();
    if (symbol == out.size()) fail(std::string("nothing to repeat before '") + c + "'");
    ++at_;
    if (c == '+') least = 1;
    if (c == '?') most = 1;
    if (c == '{') {
      spaces(true);
      least = most = number();
      spaces(true);
      if (take(',')) {
        spaces(true);
        most = is_digit(peek()) ? number() : kUnbounded;
        spaces(true);
      }
      expect('}');
      if (most < least)
        fail("a repetition of at least " + std::to_string(least) + " and at most " + std::to_string(most));
    }
    const Elements repeated(out.begin() + static_cast<std::ptrdiff_t>(symbol), out.end());
    const std::uint64_t optional = most == kUnbounded ? 1 : most - least;
    count(repeated.size() * least + (repeated.size() + 3) * optional);
    out.resize(symbol);
    for (std::uint64_t i = 0; i < least; ++i) out.insert(out.end(), repeated.begin(), repeated.end());
    std::int32_t rest = -1;
    for (std::uint64_t i = 0; i < optional; ++i) {
      const std::int32_t id = add_rule(owner);
      Elements elements = repeated;
      if (most == kUnbounded) rest = id;
      if (rest >= 0) elements.push_back({Kind::rule, rest, 0});
      elements.push_back({Kind::alternative, 0, 0});
      elements.push_back({Kind::end, 0, 0});
      result.rules[static_cast<std::size_t>(id)] = std::move(elements);
      rest = id;
    }
    if (rest >= 0) out.push_back({Kind::rule, rest, 0});
  }

  Element characters(std::vector<Range> set) {
    const Element element{Kind::characters, static_cast<std::int32_t>(result.ranges.size()),
                          static_cast<std::int32_t>(set.size())};
    result.ranges.insert(result.ranges.end(), set.begin(), set.end());
    return element;
  }

  Element character_class() {
    const bool inverse = take('^');
    if (peek() == ']') fail("an empty class");
    std::vector<Range> listed;
    while (!take(']')) {
      Range range;
      range.low = range.high = character();
      if (peek() == '-' && peek(1) != ']') {
        ++at_;
        range.high = character();
      }
      if (range.low <= range.high) listed.push_back(range);
    }
    std::sort(listed.begin(), listed.end(), [](const Range& a, const Range& b) { return a.low < b.low; });
    std::vector<Range> joined;
    for (const Range& range : listed) {
      if (!joined.empty() && range.low <= joined.back().high + 1)
        joined.back().high = std::max(joined.back().high, range.high);
      else
        joined.push_back(range);
    }
    if (!inverse) return characters(std::move(joined));
    std::vector<Range> others;
    std::uint32_t low = 1;
    for (const Range& range : joined) {
      if (range.low > low) others.push_back({low, range.low - 1});
      low = std::max(low, range.high + 1);
    }
    if (low <= kLastCodePoint) others.push_back({low, kLastCodePoint});
    return characters(std::move(others));
  }

  Element token() {
    const Kind kind = take('!') ? Kind::other_token : Kind::token;
    const std::size_t start = at_;
    expect('<');
    if (take('[')) {
      const std::uint64_t id = number();
      expect(']');
      expect('>');
      if (id >= (1u << 31)) fail("a token id of 2^31 or more");
      return {kind, static_cast<std::int32_t>(id), 0};
    }
    const std::size_t close = text_.find('>', at_);
    if (close == std::string::npos || close - start > 256) fail("no '>'");
    const std::string text = text_.substr(start, close + 1 - start);
    const Token id = token_of_(text);
    if (id < 0) fail("'" + text + "', which is not one token of the model,");
    at_ = close + 1;
    return {kind, id, 0};
  }

  const Grammar::TokenOf& token_of_;
  std::uint64_t elements_ = 0;
};

}  // namespace

GbnfRules read_gbnf(const std::string& text, const Grammar::TokenOf& token_of) {
  Reader reader(text, token_of);
  reader.read();
  return std::move(reader.result);
}

}  // namespace winnow
