// The accounts of streams and cells, held against llama.cpp's; what does not hold is INTEGRITY.
#pragma once

#include <cstdint>
#include <string>

#include "error.h"

namespace winnow {

inline void expect_account(bool holds, const std::string& what, std::int64_t expected, std::int64_t received) {
  if (!holds)
    throw EngineError("INTEGRITY", "Expected " + std::to_string(expected) + " for " + what + " but received " +
                                       std::to_string(received));
}

inline void expect_equal(const std::string& what, std::int64_t expected, std::int64_t received) {
  expect_account(expected == received, what, expected, received);
}

}  // namespace winnow
