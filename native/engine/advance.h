// Advance: what every branch took during one call, from the branches into the flat arrays that the caller gets.
#pragma once

#include <vector>

#include "branch.h"
#include "pool.h"

namespace winnow {

// At the start of a call.
void forget_taken(std::vector<Branch>& branches);

// At its end: appends the branches that took tokens or ended, in the order they come in.
void report_taken(const std::vector<Branch>& branches, Advance& into);

}  // namespace winnow
