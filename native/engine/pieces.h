// Pieces: the bytes of every token as an answer shows them, made once for a vocabulary. Asking llama.cpp for one costs
// 0.1 microseconds and an allocation; grammars and stop strings ask for a hundred thousand at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model.h"

namespace winnow {

class Pieces {
 public:
  // Throws NO_TOKENIZER.
  explicit Pieces(const Model& model);
  explicit Pieces(const std::vector<std::string>& pieces);

  int size() const { return static_cast<int>(starts_.size()) - 1; }
  // Empty for control tokens, which an answer does not show. Lives as long as this object.
  std::string_view of(Token token) const {
    const std::size_t start = starts_[static_cast<std::size_t>(token)];
    return {bytes_.data() + start, starts_[static_cast<std::size_t>(token) + 1] - start};
  }

  // Tokens with a piece, in the order of their bytes; `shared` of each: bytes it has in common with the one before.
  const std::vector<Token>& sorted() const { return sorted_; }
  const std::vector<std::uint16_t>& shared() const { return shared_; }

 private:
  void sort();

  std::string bytes_;
  std::vector<std::uint32_t> starts_;  // size + 1
  std::vector<Token> sorted_;
  std::vector<std::uint16_t> shared_;
};

}  // namespace winnow
