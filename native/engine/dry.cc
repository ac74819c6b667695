#include "dry.h"

#include <algorithm>
#include <cmath>

namespace winnow {
namespace {

constexpr std::size_t kMostTail = 20;  // tokens

}  // namespace

Dry::Dry(const DryParams& params, const Model& model, const Pieces& pieces) : params_(params) {
  for (const std::string& breaker : params.breakers) {
    std::unordered_map<std::size_t, std::vector<Token>> tails;  // by the breaker's bytes before them
    for (Token token = 0; token < pieces.size(); ++token) {
      const std::string_view piece = pieces.of(token);
      std::vector<std::vector<Token>>* found = nullptr;
      const auto note = [&](const std::vector<Token>& tail) {
        if (found == nullptr) found = &breakers_[token];
        if (std::find(found->begin(), found->end(), tail) == found->end()) found->push_back(tail);
      };
      if (piece.find(breaker) != std::string_view::npos) {
        note({});
        continue;
      }
      // The piece ends with the beginning of the breaker.
      for (std::size_t bytes = std::min(piece.size(), breaker.size() - 1); bytes > 0; --bytes) {
        if (piece.substr(piece.size() - bytes) != std::string_view(breaker).substr(0, bytes)) continue;
        const auto [tail, fresh] = tails.try_emplace(bytes);
        if (fresh) {
          tail->second = model.tokenize(std::string_view(breaker).substr(bytes), false, false);
          if (tail->second.size() > kMostTail) tail->second.resize(kMostTail);
        }
        note(tail->second);
      }
    }
  }
}

// Tokens since the last breaker, `newest` being the last of `count`.
int Dry::unbroken(const Token* newest, int count) const {
  for (int i = 0; i < count; ++i) {
    const auto begins = breakers_.find(newest[-i]);
    if (begins == breakers_.end()) continue;
    int longest = -1;
    for (const std::vector<Token>& tail : begins->second) {
      const int length = static_cast<int>(tail.size());
      if (length > longest && length <= i && std::equal(tail.begin(), tail.end(), newest - i + 1)) longest = length;
    }
    if (longest >= 0) return i - longest;
  }
  return count;
}

void Dry::penalties(const std::vector<Token>& written, std::vector<std::pair<Token, float>>& out) const {
  const int count = static_cast<int>(std::min(written.size(), static_cast<std::size_t>(params_.last_n)));
  if (params_.multiplier == 0 || count <= params_.allowed_length) return;
  const Token* newest = written.data() + written.size() - 1;
  const int most = unbroken(newest, count);
  if (most < params_.allowed_length) return;

  // How many of the last tokens also stand before the token k back, by the Z-algorithm from the newest token backwards
  // (Gusfield, "Algorithms on Strings, Trees and Sequences", 1997, 1.4).
  std::vector<int> repeats(static_cast<std::size_t>(count), 0);
  int left = 0, right = 0;  // [left, right): the match that reaches furthest back
  for (int k = 1; k < count; ++k) {
    int length = k < right ? std::min(right - k, repeats[static_cast<std::size_t>(k - left)]) : 0;
    while (k + length < count && newest[-length] == newest[-k - length]) ++length;
    repeats[static_cast<std::size_t>(k)] = length;
    if (k + length > right) {
      left = k;
      right = k + length;
    }
  }

  // The token after each such place would make the repetition one longer.
  std::unordered_map<Token, int> longest;
  for (int k = count - 1; k >= 1; --k) {
    const int length = std::min(repeats[static_cast<std::size_t>(k)], most);
    if (length < params_.allowed_length) continue;
    int& known = longest[newest[1 - k]];
    known = std::max(known, length);
  }
  // What a float can hold of base^exponent.
  const int most_exponent = params_.base > 1.000001f ? static_cast<int>(88.7228391f / std::log(params_.base)) : 0;
  for (const auto& [token, length] : longest) {
    const auto breaks = breakers_.find(token);
    if (breaks != breakers_.end() && std::any_of(breaks->second.begin(), breaks->second.end(),
                                                 [](const std::vector<Token>& tail) { return tail.empty(); }))
      continue;
    int exponent = length - params_.allowed_length;
    if (most_exponent > 0) exponent = std::min(exponent, most_exponent);
    out.emplace_back(token, static_cast<float>(static_cast<double>(params_.multiplier) *
                                               std::pow(static_cast<double>(params_.base), exponent)));
  }
}

}  // namespace winnow
