#include "gbnf.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "error.h"

namespace winnow {
namespace {

using Kind = Grammar::Kind;
using Element = Grammar::Element;
using Range = Grammar::Range;
using Elements = std::vector<Element>;

constexpr std::uint32_t kLastCodePoint = 0x10FFFF;
constexpr std::uint64_t kUnbounded = std::numeric_limits<std::uint64_t>::max();

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || is_digit(c); }

// Recursive descent, at most kMostNesting deep.
class Reader {
 public:
  Reader(const std::string& text, const Grammar::TokenOf& token_of) : text_(text), token_of_(token_of) {}

  void read() {
    spaces(true);
    while (at_ < text_.size()) rule();
  }

  GbnfRules result;

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  [[noreturn]] void fail(const std::string& what) const {
    const std::size_t place = std::min(at_, text_.size());
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(place), '\n');
    const std::size_t newline = place == 0 ? std::string::npos : text_.rfind('\n', place - 1);
    const std::size_t column = newline == std::string::npos ? place + 1 : place - newline;
    refuse_grammar(what + " at line " + std::to_string(line) + ", column " + std::to_string(column));
  }

  void spaces(bool newlines) {
    while (at_ < text_.size()) {
      const char c = peek();
      if (c == '#') {
        while (at_ < text_.size() && peek() != '\n' && peek() != '\r') ++at_;
      } else if (c == ' ' || c == '\t' || (newlines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  bool take(char c) {
    if (at_ >= text_.size() || peek() != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!take(c)) fail(std::string("no '") + c + "'");
  }

  std::string name() {
    const std::size_t start = at_;
    while (is_word(peek())) ++at_;
    if (at_ == start) fail("no rule name");
    if (at_ - start > Grammar::kMostName) fail("a rule name of more than 256 letters");
    return text_.substr(start, at_ - start);
  }

  std::uint64_t number() {
    if (!is_digit(peek())) fail("no number");
    std::uint64_t value = 0;
    for (; is_digit(peek()); ++at_)
      value = std::min<std::uint64_t>(value * 10 + static_cast<unsigned>(peek() - '0'), 1u << 31);
    return value;
  }

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

  std::uint32_t hexadecimal(int digits) {
    std::uint32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!letter && !is_digit(c)) fail("no " + std::to_string(digits) + " hexadecimal digits");
      value = value * 16 + static_cast<std::uint32_t>(letter ? (c | 0x20) - 'a' + 10 : c - '0');
    }
    if (value > kLastCodePoint) fail("a character beyond U+10FFFF");
    return value;
  }

  // A code point of a literal or class, an escape resolved.
  std::uint32_t character() {
    if (at_ >= text_.size()) fail("an end within quotes or brackets");
    const unsigned char first = static_cast<unsigned char>(text_[at_++]);
    if (first == '\\') {
      const char escape = peek();
      ++at_;
      switch (escape) {
        case 'x': return hexadecimal(2);
        case 'u': return hexadecimal(4);
        case 'U': return hexadecimal(8);
        case 't': return '\t';
        case 'r': return '\r';
        case 'n': return '\n';
        case '\\':
        case '"':
        case '[':
        case ']':
        case '-': return static_cast<unsigned char>(escape);
        default: fail("an unknown escape");
      }
    }
    if (first < 0x80) return first;
    const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    std::uint32_t value = first & (0x3Fu >> more);
    for (int i = 0; i < more; ++i, ++at_) {
      const unsigned char next = static_cast<unsigned char>(peek());
      if (first < 0xC2 || first > 0xF4 || (next & 0xC0) != 0x80) fail("bytes that are not UTF-8");
      value = value << 6 | (next & 0x3Fu);
    }
    return value;
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

  const std::string& text_;
  const Grammar::TokenOf& token_of_;
  std::size_t at_ = 0;
  std::uint64_t elements_ = 0;
};

}  // namespace

void refuse_grammar(const std::string& received) {
  throw EngineError("GRAMMAR_INVALID", "Expected a GBNF grammar but received " + received);
}

GbnfRules read_gbnf(const std::string& text, const Grammar::TokenOf& token_of) {
  Reader reader(text, token_of);
  reader.read();
  return std::move(reader.result);
}

}  // namespace winnow
