#include "philox.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>

namespace winnow {
namespace {

using Block = std::array<std::uint32_t, 4>;

// kat_vectors of Random123 (Salmon et al.), philox4x32 with 10 rounds.
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(philox4x32({0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}, {0xffffffffu, 0xffffffffu}),
            (Block{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
            (Block{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Philox, DrawsTheTopFiftyThreeBitsOfTheFirstTwoWords) {
  EXPECT_EQ(draw(0, 0, 0, 0), static_cast<double>(0x6627e8d5e169c58du >> 11) * 0x1.0p-53);
}

TEST(Philox, DrawsUniformlyBelowOne) {
  double sum = 0, squares = 0;
  constexpr int count = 200000;
  for (std::uint32_t i = 0; i < count; ++i) {
    const double uniform = draw(42, 43, i % 64, i / 64);
    ASSERT_GE(uniform, 0);
    ASSERT_LT(uniform, 1);
    sum += uniform;
    squares += uniform * uniform;
  }
  // Five standard errors: 1/sqrt(12 n) and about 0.3/sqrt(n).
  EXPECT_NEAR(sum / count, 1.0 / 2, 5 * 0.289 / 447);
  EXPECT_NEAR(squares / count, 1.0 / 3, 5 * 0.298 / 447);
}

TEST(Philox, DependsOnEachPartOfItsKey) {
  std::set<double> draws;
  for (std::uint64_t seed : {std::uint64_t{1}, std::uint64_t{1} << 40}) {
    for (std::uint64_t prompt : {std::uint64_t{1}, std::uint64_t{1} << 40}) {
      for (std::uint32_t candidate : {0u, 1u}) {
        for (std::uint32_t position : {0u, 1u}) draws.insert(draw(seed, prompt, candidate, position));
      }
    }
  }
  EXPECT_EQ(draws.size(), 16u);
}

}  // namespace
}  // namespace winnow
