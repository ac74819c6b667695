#include "deep_stack.h"

#include <gtest/gtest.h>

#include "fixture.h"

namespace winnow::test {
namespace {

// About a kilobyte a level; the array keeps the compiler from turning it into a loop.
int descend(int levels) {
  volatile char frame[1024] = {};
  frame[levels % 1024] = 1;
  return levels == 0 ? 0 : descend(levels - 1) + frame[levels % 1024];
}

TEST(DeepStack, HoldsARecursionThatTheUsualEightMebibytesDoNot) {
  int depth = 0;
  run_with_stack(std::size_t{256} << 20, [&] { depth = descend(60000); });
  EXPECT_EQ(depth, 60000);
}

TEST(DeepStack, PassesOnWhatTheWorkThrew) {
  EXPECT_EQ(
      code_of([] { run_with_stack(std::size_t{1} << 20, [] { throw EngineError("TOKEN_INVALID", "thrown below"); }); }),
      "TOKEN_INVALID");
}

}  // namespace
}  // namespace winnow::test
