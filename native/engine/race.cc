#include "race.h"

#include <algorithm>
#include <string>

#include "error.h"

namespace winnow {

Branch& Race::find(std::int32_t wanted) {
  const auto found = std::lower_bound(branches.begin(), branches.end(), wanted,
                                      [](const Branch& branch, std::int32_t value) { return branch.id < value; });
  if (found == branches.end() || found->id != wanted) {
    throw EngineError("BRANCH_UNKNOWN",
                      "Expected the id of a branch of this race but received " + std::to_string(wanted));
  }
  return *found;
}

const Branch& Race::find(std::int32_t wanted) const { return const_cast<Race*>(this)->find(wanted); }

}  // namespace winnow
