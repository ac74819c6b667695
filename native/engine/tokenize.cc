// Model's way from text to tokens and what stands between a stranger's text and llama.cpp's tokenizers.
#include <llama.h>

#include <algorithm>
#include <limits>

#include "backend.h"
#include "deep_stack.h"
#include "error.h"
#include "model.h"
#include "pieces.h"

namespace winnow {
namespace {

// Stack that splitting takes for each byte of a match: 0.2 to 0.4 KiB measured, with room to spare.
constexpr std::size_t kStackPerByte = 1024;
constexpr std::size_t kStackBase = std::size_t{1} << 20;
constexpr std::size_t kShallowRun = 4096;                  // fits any thread
constexpr std::size_t kLongestRun = std::size_t{1} << 19;  // half a gigabyte of stack

// Bytes of the longest stretch that is all space or has none: no match of a tokenizer's pattern is longer.
std::size_t longest_run(const std::string& text) {
  std::size_t longest = 0, run = 0;
  bool spaces = false;
  for (const char each : text) {
    const bool space = each == ' ' || (each >= '\t' && each <= '\r');
    run = space == spaces ? run + 1 : 1;
    spaces = space;
    longest = std::max(longest, run);
  }
  return longest;
}

bool continues(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// Bytes of the well-formed UTF-8 sequence at `at`, 0 where there is none (Unicode 15, table 3-7).
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const auto follows = [&](std::size_t i) { return continues(static_cast<unsigned char>(byte(i))); };
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F)) return 0;
    return follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F)) return 0;
    return follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

// llama.cpp's pre-tokenizers throw on broken UTF-8; each broken byte becomes U+FFFD, as a TextDecoder would do.
std::string well_formed(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = sequence_length(text, i);
    if (length == 0) {
      clean += "\xEF\xBF\xBD";
      ++i;
    } else {
      clean += text.substr(i, length);
      i += length;
    }
  }
  return clean;
}

}  // namespace

std::vector<Token> Model::tokenize(std::string_view text, bool add_special, bool parse_special) const {
  if (!facts_.has_tokenizer)
    throw EngineError("NO_TOKENIZER",
                      "Expected a model with a tokenizer but received '" + facts_.path + "', which has none");
  // A token per byte plus the special ones must fit llama.cpp's int32 counts.
  if (text.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max() / 4)) {
    throw EngineError("OPTION_INVALID",
                      "Expected text of at most 512 MiB but received " + std::to_string(text.size()) + " bytes");
  }
  const std::string clean = well_formed(text);
  const std::size_t run = longest_run(clean);
  if (run > kLongestRun) {
    throw EngineError("OPTION_INVALID", "Expected text with a space at least every " + std::to_string(kLongestRun) +
                                            " bytes but received " + std::to_string(run) + " bytes without one");
  }
  std::vector<Token> tokens;
  const auto work = [&] { tokens = split(clean, add_special, parse_special); };
  if (run < kShallowRun) {
    work();
  } else {
    run_with_stack(run * kStackPerByte + kStackBase, work);
  }
  return tokens;
}

std::vector<Token> Model::split(const std::string& clean, bool add_special, bool parse_special) const {
  const AssertGuard guard;  // of the thread that calls llama.cpp
  try {
    std::vector<Token> tokens(clean.size() / 3 + 16);
    const std::int32_t length = static_cast<std::int32_t>(clean.size());
    std::int32_t count = llama_tokenize(vocab_, clean.data(), length, tokens.data(),
                                        static_cast<std::int32_t>(tokens.size()), add_special, parse_special);
    if (count < 0 && count != std::numeric_limits<std::int32_t>::min()) {
      tokens.resize(static_cast<std::size_t>(-count));
      count = llama_tokenize(vocab_, clean.data(), length, tokens.data(), static_cast<std::int32_t>(tokens.size()),
                             add_special, parse_special);
    }
    if (count < 0)
      throw EngineError("OPTION_INVALID", "Expected text that makes fewer than 2^31 tokens but received more");
    tokens.resize(static_cast<std::size_t>(count));
    return tokens;
  } catch (const EngineError&) {
    throw;
  } catch (const std::exception& error) {
    throw EngineError("OPTION_INVALID",
                      std::string("Expected text the tokenizer can read but received: ") + error.what());
  }
}

std::shared_ptr<const Pieces> Model::pieces() const {
  const std::lock_guard<std::mutex> lock(pieces_mutex_);
  if (pieces_ == nullptr) pieces_ = std::make_shared<const Pieces>(*this);
  return pieces_;
}

}  // namespace winnow
