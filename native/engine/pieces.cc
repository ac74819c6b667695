#include "pieces.h"

#include <algorithm>
#include <limits>

namespace winnow {

Pieces::Pieces(const Model& model) {
  starts_.push_back(0);
  for (Token token = 0; token < model.facts().vocabulary; ++token) {
    bytes_ += model.detokenize(&token, 1);
    starts_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }
  sort();
}

Pieces::Pieces(const std::vector<std::string>& pieces) {
  starts_.push_back(0);
  for (const std::string& piece : pieces) {
    bytes_ += piece;
    starts_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }
  sort();
}

void Pieces::sort() {
  for (Token token = 0; token < size(); ++token) {
    if (!of(token).empty()) sorted_.push_back(token);
  }
  std::sort(sorted_.begin(), sorted_.end(), [&](Token a, Token b) {
    const int order = of(a).compare(of(b));
    return order < 0 || (order == 0 && a < b);
  });
  std::string_view before;
  for (const Token token : sorted_) {
    const std::string_view piece = of(token);
    const std::size_t most =
        std::min({piece.size(), before.size(), std::size_t{std::numeric_limits<std::uint16_t>::max()}});
    std::size_t same = 0;
    while (same < most && piece[same] == before[same]) ++same;
    shared_.push_back(static_cast<std::uint16_t>(same));
    before = piece;
  }
}

}  // namespace winnow
