#include "head_net.h"

#include <cmath>

#include "lanes.h"
#include "philox.h"

namespace winnow {
namespace {

// Partial sums in a fixed order: the compiler vectorises these, and every vector width adds them up alike.
WINNOW_WIDE float dot(const float* a, const float* b, std::size_t count) {
  float lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  float sum = 0;
  for (; i < count; ++i) sum += a[i] * b[i];
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return sum + lanes[0];
}

WINNOW_WIDE void add_scaled(float* to, const float* from, float scale, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] += scale * from[i];
}

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

}  // namespace

HeadNet::HeadNet(int inputs, int hidden_units, std::uint64_t seed) : columns(inputs), hidden(hidden_units) {
  if (hidden == 0) {
    parameters.assign(width() + 1, 0.0f);
    return;
  }
  parameters.assign(units() * width() + 2 * units() + 1, 0.0f);
  const auto fill = [&](std::size_t begin, std::size_t count, std::size_t fan_in) {
    const double reach = 1.0 / std::sqrt(static_cast<double>(fan_in));
    for (std::size_t i = begin; i < begin + count; ++i) {
      parameters[i] = static_cast<float>(reach * (2 * draw(seed, 0, 0, static_cast<std::uint32_t>(i)) - 1));
    }
  };
  fill(0, units() * width(), width());
  fill(units() * width() + units(), units(), units());
}

void HeadNet::forward(const float* inputs, std::size_t rows, float* sums, float* logits) const {
  const float* first = parameters.data();
  if (hidden == 0) {
    for (std::size_t row = 0; row < rows; ++row) {
      logits[row] = dot(first, inputs + row * width(), width()) + first[width()];
    }
    return;
  }
  const float* biases = first + units() * width();
  const float* second = biases + units();
  for (std::size_t row = 0; row < rows; ++row) {
    float logit = second[units()];
    for (std::size_t unit = 0; unit < units(); ++unit) {
      const float sum = dot(first + unit * width(), inputs + row * width(), width()) + biases[unit];
      sums[row * units() + unit] = sum;
      logit += second[unit] * sum * sigmoid(sum);
    }
    logits[row] = logit;
  }
}

void HeadNet::backward(const float* inputs, std::size_t rows, const float* sums, const float* slopes,
                       float* gradient) const {
  if (hidden == 0) {
    for (std::size_t row = 0; row < rows; ++row) {
      add_scaled(gradient, inputs + row * width(), slopes[row], width());
      gradient[width()] += slopes[row];
    }
    return;
  }
  const float* second = parameters.data() + units() * width() + units();
  float* first_gradient = gradient;
  float* bias_gradient = gradient + units() * width();
  float* second_gradient = bias_gradient + units();
  for (std::size_t row = 0; row < rows; ++row) {
    second_gradient[units()] += slopes[row];
    for (std::size_t unit = 0; unit < units(); ++unit) {
      const float sum = sums[row * units() + unit];
      const float gate = sigmoid(sum);
      second_gradient[unit] += slopes[row] * sum * gate;
      const float slope = slopes[row] * second[unit] * gate * (1 + sum * (1 - gate));
      bias_gradient[unit] += slope;
      add_scaled(first_gradient + unit * width(), inputs + row * width(), slope, width());
    }
  }
}

}  // namespace winnow
