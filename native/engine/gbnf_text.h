// GbnfText: where in a grammar's text its reader is, and the smallest parts of it. All throws are GRAMMAR_INVALID.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace winnow {

constexpr std::uint32_t kLastCodePoint = 0x10FFFF;

[[noreturn]] void refuse_grammar(const std::string& received);

class GbnfText {
 protected:
  explicit GbnfText(const std::string& text) : text_(text) {}

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || is_digit(c); }

  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool take(char c);
  void expect(char c);
  // Comments too.
  void spaces(bool newlines);
  std::string name();
  std::uint64_t number();
  // A code point of a literal or class, an escape resolved.
  std::uint32_t character();
  [[noreturn]] void fail(const std::string& what) const;

  const std::string& text_;
  std::size_t at_ = 0;

 private:
  std::uint32_t hexadecimal(int digits);
};

}  // namespace winnow
