// What requests and options are held to; each throws OPTION_INVALID.
#pragma once

#include <string>

#include "error.h"

namespace winnow {

template <typename Number>
void expect(bool holds, const char* expected, Number received) {
  if (!holds)
    throw EngineError("OPTION_INVALID",
                      std::string("Expected ") + expected + " but received " + std::to_string(received));
}

inline void check_range(const char* name, int value, int least, int most) {
  if (value < least || value > most) {
    throw EngineError("OPTION_INVALID", "Expected " + std::to_string(least) + " to " + std::to_string(most) + " for " +
                                            name + " but received " + std::to_string(value));
  }
}

}  // namespace winnow
