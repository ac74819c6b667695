#include "remains.h"

#include <mutex>

namespace winnow {

void keep_forever(std::vector<std::shared_ptr<void>> remains) {
  static std::mutex mutex;
  // Never destroyed, not even at exit; still reachable, so that no leak is reported.
  static auto* const kept = new std::vector<std::shared_ptr<void>>();
  const std::lock_guard<std::mutex> lock(mutex);
  kept->insert(kept->end(), remains.begin(), remains.end());
}

}  // namespace winnow
