#include "fit_loss.h"

#include <cmath>

namespace winnow {
namespace {

double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Calls visit(high, low) for every pair of a group of which the first has the higher label.
template <typename Visit>
void for_pairs(const std::vector<Span>& groups, const std::vector<float>& labels, const Visit& visit) {
  for (const Span& group : groups) {
    for (std::size_t high = group.begin; high < group.end; ++high) {
      for (std::size_t low = group.begin; low < group.end; ++low) {
        if (labels[high] > labels[low]) visit(high, low);
      }
    }
  }
}

}  // namespace

double row_loss(double logit, double label, bool binary) {
  return binary ? softplus(logit) - label * logit : 0.5 * (logit - label) * (logit - label);
}

double fit_loss(const std::vector<float>& logits, const std::vector<float>& labels, const std::vector<Span>& groups,
                bool binary, double ranking, std::vector<float>& slopes) {
  const double rows = static_cast<double>(logits.size());
  double own = 0, ranked = 0, pairs = 0;
  slopes.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double z = static_cast<double>(logits[i]), y = static_cast<double>(labels[i]);
    own += row_loss(z, y, binary);
    slopes[i] = static_cast<float>((binary ? sigmoid(z) - y : z - y) / rows);
  }
  for_pairs(groups, labels, [&](std::size_t, std::size_t) { ++pairs; });
  if (ranking <= 0 || pairs == 0) return own / rows;
  for_pairs(groups, labels, [&](std::size_t high, std::size_t low) {
    const double gap = static_cast<double>(logits[high]) - static_cast<double>(logits[low]);
    ranked += softplus(-gap);
    const float slope = static_cast<float>(ranking / pairs * sigmoid(-gap));
    slopes[high] -= slope;
    slopes[low] += slope;
  });
  return own / rows + ranking * ranked / pairs;
}

}  // namespace winnow
