#include "prompt.h"

#include <gtest/gtest.h>

#include <set>

namespace winnow::test {
namespace {

// FNV-1a of "" and of "foob", from the reference's test vectors; the token holds those four bytes.
TEST(Prompt, HashesTheBytesOfItsTokens) {
  EXPECT_EQ(hash_prompt({}), 0xcbf29ce484222325u);
  EXPECT_EQ(hash_prompt({0x626f6f66}), 0xdd120e790c2512afu);
}

TEST(Prompt, HashesOtherTokensOrdersAndLengthsOtherwise) {
  const std::set<std::uint64_t> hashes = {hash_prompt({1, 2}), hash_prompt({2, 1}), hash_prompt({1}),
                                          hash_prompt({1, 2, 0}), hash_prompt({258})};
  EXPECT_EQ(hashes.size(), 5u);
}

}  // namespace
}  // namespace winnow::test
