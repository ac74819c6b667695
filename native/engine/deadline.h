// Deadline: a budget of seconds as the moment at which a call must stop.
#pragma once

#include <chrono>
#include <cmath>
#include <string>

#include "error.h"

namespace winnow {

// `seconds` from now; the end of time for 0. Throws OPTION_INVALID for a negative or infinite budget.
inline std::chrono::steady_clock::time_point deadline_in(double seconds) {
  using Clock = std::chrono::steady_clock;
  if (!std::isfinite(seconds) || seconds < 0) {
    throw EngineError("OPTION_INVALID",
                      "Expected 0 seconds or more for deadline but received " + std::to_string(seconds));
  }
  if (seconds == 0 || seconds > 1e8) return Clock::time_point::max();
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace winnow
