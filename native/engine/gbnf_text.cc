#include "gbnf_text.h"

#include <algorithm>

#include "error.h"
#include "grammar.h"

namespace winnow {

void refuse_grammar(const std::string& received) {
  throw EngineError("GRAMMAR_INVALID", "Expected a GBNF grammar but received " + received);
}

void GbnfText::fail(const std::string& what) const {
  const std::size_t place = std::min(at_, text_.size());
  const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(place), '\n');
  const std::size_t newline = place == 0 ? std::string::npos : text_.rfind('\n', place - 1);
  const std::size_t column = newline == std::string::npos ? place + 1 : place - newline;
  refuse_grammar(what + " at line " + std::to_string(line) + ", column " + std::to_string(column));
}

void GbnfText::spaces(bool newlines) {
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

bool GbnfText::take(char c) {
  if (at_ >= text_.size() || peek() != c) return false;
  ++at_;
  return true;
}

void GbnfText::expect(char c) {
  if (!take(c)) fail(std::string("no '") + c + "'");
}

std::string GbnfText::name() {
  const std::size_t start = at_;
  while (is_word(peek())) ++at_;
  if (at_ == start) fail("no rule name");
  if (at_ - start > Grammar::kMostName) fail("a rule name of more than 256 letters");
  return text_.substr(start, at_ - start);
}

std::uint64_t GbnfText::number() {
  if (!is_digit(peek())) fail("no number");
  std::uint64_t value = 0;
  for (; is_digit(peek()); ++at_)
    value = std::min<std::uint64_t>(value * 10 + static_cast<unsigned>(peek() - '0'), 1u << 31);
  return value;
}

std::uint32_t GbnfText::hexadecimal(int digits) {
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

std::uint32_t GbnfText::character() {
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

}  // namespace winnow
