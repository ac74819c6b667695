#include "softmax.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "lanes.h"

namespace winnow {
namespace {

constexpr float kNegligible = -87.0f;  // exp of it is just above the smallest normal float

// exp(x) for x <= 0, without a branch or a call so that loops over it vectorise. Range reduction to
// |r| <= ln(2)/2 and the polynomial of Cephes' expf (Moshier, 1989).
inline float exp_nonpositive(float x) {
  const float clamped = x < kNegligible ? kNegligible : x;
  constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it leaves round(x) in the low mantissa bits
  const float shifted = clamped * 1.44269504088896341f + magic;
  const float whole = shifted - magic;
  const float r = (clamped - whole * 0.693359375f) - whole * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(magic) + 127u)
                                 << 23;
  const float scaled = p * std::bit_cast<float>(exponent);
  return x < kNegligible ? 0.0f : scaled;
}

struct BlockSum {
  float mass = 0;
  float moment = 0;  // sum of weight * (logit - top) * inverse
};

WINNOW_WIDE BlockSum sum_block(const float* logits, float top, float inverse) {
  float mass[kLanes] = {}, moment[kLanes] = {};
  for (int i = 0; i < kBlock; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float x = (logits[i + lane] - top) * inverse;
      const float distance = x < kNegligible ? kNegligible : x;  // keeps 0 * -inf out of the moment
      const float weight = exp_nonpositive(x);
      mass[lane] += weight;
      moment[lane] += weight * distance;
    }
  }
  BlockSum sum;
  for (int lane = 0; lane < kLanes; ++lane) {
    sum.mass += mass[lane];
    sum.moment += moment[lane];
  }
  return sum;
}

BlockSum sum_tail(const float* logits, int count, float top, float inverse) {
  BlockSum sum;
  for (int i = 0; i < count; ++i) {
    const float x = (logits[i] - top) * inverse;
    const float weight = exp_nonpositive(x);
    sum.mass += weight;
    sum.moment += weight * std::max(x, kNegligible);
  }
  return sum;
}

}  // namespace

WINNOW_WIDE float largest_logit(const float* logits, int count) {
  float top[kLanes];
  int unordered[kLanes] = {};
  for (int lane = 0; lane < kLanes; ++lane) top[lane] = -std::numeric_limits<float>::infinity();
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float x = logits[i + lane];
      top[lane] = x > top[lane] ? x : top[lane];
      unordered[lane] |= x != x ? 1 : 0;
    }
  }
  for (int lane = 0; i < count; ++i, ++lane) {
    top[lane] = logits[i] > top[lane] ? logits[i] : top[lane];
    unordered[lane] |= logits[i] != logits[i] ? 1 : 0;
  }
  float best = top[0];
  int any = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    best = std::max(best, top[lane]);
    any |= unordered[lane];
  }
  return any != 0 ? std::numeric_limits<float>::quiet_NaN() : best;
}

WINNOW_WIDE void exponentials(const float* logits, int count, float top, float inverse, float* out) {
  for (int i = 0; i < count; ++i) out[i] = exp_nonpositive((logits[i] - top) * inverse);
}

RowSum sum_row(const float* logits, int count, float top, float inverse, std::vector<double>* blocks) {
  RowSum row;
  for (int start = 0; start < count; start += kBlock) {
    const int length = std::min(kBlock, count - start);
    const BlockSum sum =
        length == kBlock ? sum_block(logits + start, top, inverse) : sum_tail(logits + start, length, top, inverse);
    row.mass += static_cast<double>(sum.mass);
    row.moment += static_cast<double>(sum.moment);
    if (blocks != nullptr) blocks->push_back(static_cast<double>(sum.mass));
  }
  return row;
}

int first_beyond(const float* weights, int count, double target) {
  double sum = 0;
  int last = -1;
  for (int i = 0; i < count; ++i) {
    if (weights[i] <= 0) continue;
    sum += static_cast<double>(weights[i]);
    last = i;
    if (sum > target) break;
  }
  return last;
}

}  // namespace winnow
