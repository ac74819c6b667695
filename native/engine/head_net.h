// HeadNet: a reward head while it is being fitted: standardised inputs -> one logit, linear or one hidden layer of SiLU
// units, with gradients. Parameters lie flat, as the head file has them:
//   linear: weight [columns], bias;   mlp: weight [hidden x columns], bias [hidden], weight [hidden], bias.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace winnow {

struct HeadNet {
  int columns = 0;
  int hidden = 0;  // 0: linear
  std::vector<float> parameters;

  // Weights uniform in +-1/sqrt(inputs), biases 0; a linear net begins at 0.
  HeadNet(int inputs, int hidden_units, std::uint64_t seed);

  std::size_t units() const { return static_cast<std::size_t>(hidden); }
  std::size_t width() const { return static_cast<std::size_t>(columns); }

  // inputs: rows x columns. sums: rows x hidden, what each unit adds up before its SiLU (untouched when linear).
  void forward(const float* inputs, std::size_t rows, float* sums, float* logits) const;
  // Adds to `gradient` (as `parameters`) what `slopes`, the loss's derivative by each logit, make of it.
  void backward(const float* inputs, std::size_t rows, const float* sums, const float* slopes, float* gradient) const;
};

}  // namespace winnow
