// AdamW: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019; betas 0.9 and 0.999.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace winnow {

class AdamW {
 public:
  explicit AdamW(std::size_t count) : mean_(count, 0.0f), square_(count, 0.0f) {}

  void step(std::vector<float>& parameters, const std::vector<float>& gradient, double rate, double decay) {
    ++steps_;
    const double first = 1 - std::pow(0.9, steps_), second = 1 - std::pow(0.999, steps_);
    const float scale = static_cast<float>(rate / first), keep = static_cast<float>(1 - rate * decay);
    const float unbias = static_cast<float>(1 / second);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      mean_[i] = 0.9f * mean_[i] + 0.1f * gradient[i];
      square_[i] = 0.999f * square_[i] + 0.001f * gradient[i] * gradient[i];
      parameters[i] = keep * parameters[i] - scale * mean_[i] / (std::sqrt(square_[i] * unbias) + 1e-8f);
    }
  }

 private:
  std::vector<float> mean_, square_;
  int steps_ = 0;
};

}  // namespace winnow
