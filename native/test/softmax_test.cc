#include "softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace winnow::test {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

std::vector<float> normal_row(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> row(size);
  for (float& logit : row) logit = normal(random);
  return row;
}

TEST(Softmax, FindsTheLargestLogitWhereverItStands) {
  for (const int size : {1, 15, 16, 17, 300}) {
    for (int at = 0; at < size; ++at) {
      std::vector<float> row(static_cast<std::size_t>(size), -3.0f);
      row[static_cast<std::size_t>(at)] = -2.5f;
      ASSERT_EQ(largest_logit(row.data(), size), -2.5f) << size << ' ' << at;
      row[static_cast<std::size_t>(at)] = std::nanf("");
      ASSERT_TRUE(std::isnan(largest_logit(row.data(), size))) << size << ' ' << at;
    }
  }
  const std::vector<float> none(40, kForbidden);
  EXPECT_EQ(largest_logit(none.data(), 40), kForbidden);
}

TEST(Softmax, WeighsWithinTwoPartsInTenMillionAndNothingBeyondItsReach) {
  std::vector<float> row;
  for (float distance = 0; distance > -86.9f; distance -= 0.00137f) row.push_back(distance);
  std::vector<float> weights(row.size());
  exponentials(row.data(), static_cast<int>(row.size()), 0, 1, weights.data());
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double expected = std::exp(static_cast<double>(row[i]));
    ASSERT_NEAR(static_cast<double>(weights[i]) / expected, 1, 2e-7) << row[i];
  }
  const std::vector<float> far = {-87.5f, -1000.0f, kForbidden};
  exponentials(far.data(), 3, 0, 1, weights.data());
  EXPECT_EQ(weights[0], 0);
  EXPECT_EQ(weights[1], 0);
  EXPECT_EQ(weights[2], 0);
}

TEST(Softmax, AddsUpMassAndMomentOfTheWholeRowAndOfEachBlock) {
  for (const int size : {1, 255, 256, 257, 5000}) {
    std::vector<float> row = normal_row(static_cast<std::size_t>(size), static_cast<unsigned>(size));
    if (size > 1) row[0] = kForbidden;
    const float top = largest_logit(row.data(), size);
    for (const float inverse : {1.0f, 0.5f, 2.0f}) {
      double mass = 0, moment = 0;
      std::vector<double> expected(static_cast<std::size_t>((size + kBlock - 1) / kBlock));
      for (int i = 0; i < size; ++i) {
        const double x = (static_cast<double>(row[static_cast<std::size_t>(i)]) - static_cast<double>(top)) *
                         static_cast<double>(inverse);
        const double weight = std::exp(x);
        mass += weight;
        if (weight > 0) moment += weight * x;
        expected[static_cast<std::size_t>(i / kBlock)] += weight;
      }
      std::vector<double> blocks;
      const RowSum sum = sum_row(row.data(), size, top, inverse, &blocks);
      EXPECT_NEAR(sum.mass, mass, 1e-6 * mass) << size;
      EXPECT_NEAR(sum.moment, moment, 1e-6 * (1 + std::abs(moment))) << size;
      ASSERT_EQ(blocks.size(), expected.size());
      for (std::size_t i = 0; i < blocks.size(); ++i) EXPECT_NEAR(blocks[i], expected[i], 1e-6 * mass) << size;
    }
  }
}

}  // namespace
}  // namespace winnow::test
