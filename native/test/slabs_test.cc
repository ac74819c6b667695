#include "slabs.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace winnow::test {
namespace {

TEST(Slabs, TakeEveryTokenOnceAndInOrder) {
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    std::vector<int> left(1 + random() % 12);
    for (int& length : left) length = static_cast<int>(random() % 9);
    const int most = static_cast<int>(left.size() + random() % 30);
    for (const Slab& slab : cut_slabs(left, most)) {
      ASSERT_GT(slab.streams * slab.tokens, 0);
      ASSERT_LE(slab.streams * slab.tokens, most);
      for (int stream = slab.first; stream < slab.first + slab.streams; ++stream)
        left[static_cast<std::size_t>(stream)] -= slab.tokens;
      for (const int length : left) ASSERT_GE(length, 0);
    }
    EXPECT_EQ(std::accumulate(left.begin(), left.end(), 0), 0);
  }
}

TEST(Slabs, AreFewForBranchesAlike) {
  EXPECT_EQ(cut_slabs(std::vector<int>(64, 32), 512).size(), 4u);
  EXPECT_EQ(cut_slabs(std::vector<int>(64, 32), 2048).size(), 1u);
  std::vector<int> lengths(64, 32);
  lengths[10] = lengths[40] = 5;  // two that ended early
  EXPECT_EQ(cut_slabs(lengths, 2048).size(), 4u);
  EXPECT_TRUE(cut_slabs({0, 0}, 8).empty());
}

}  // namespace
}  // namespace winnow::test
