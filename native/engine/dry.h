// DRY: a penalty on tokens that would continue a repetition of what was written before, exponential in its length
// (p-e-w, text-generation-webui pull request 5677; the numbers are those of llama.cpp's sampler, which the tests
// compare with). A sequence breaker ends every repetition.
//
// Not llama.cpp's own sampler: it looks through the vocabulary anew for each request and copies what it found into
// every clone, 90 ms and 0.6 ms a branch at 152k tokens. Here what was found is shared.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model.h"
#include "pieces.h"

namespace winnow {

struct DryParams {
  float multiplier = 0.0f;  // 0: off
  float base = 1.75f;       // at least 1
  int allowed_length = 2;   // tokens that may repeat without penalty
  int last_n = 1024;        // tokens looked back
  std::vector<std::string> breakers = {"\n", ":", "\"", "*"};

  bool operator==(const DryParams&) const = default;
};

class Dry {
 public:
  // `model` turns what is left of a breaker after a token into tokens.
  Dry(const DryParams& params, const Model& model, const Pieces& pieces);

  // Appends to `out` what to take off the logits of the tokens that would go on repeating, each once, given what was
  // written before (its last `last_n` tokens count).
  void penalties(const std::vector<Token>& written, std::vector<std::pair<Token, float>>& out) const;

 private:
  int unbroken(const Token* newest, int count) const;

  DryParams params_;
  // By the token a breaker begins in: the tokens that follow it where it goes on.
  std::unordered_map<Token, std::vector<std::vector<Token>>> breakers_;
};

}  // namespace winnow
