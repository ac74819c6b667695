// Advance: what every branch took during one call, from the branches into the flat arrays that the caller gets.
#pragma once

#include "pool.h"
#include "race.h"

namespace winnow {

// What the race took since this was last asked, as the end of a turn with this reason; branches by id.
Advance take_untold(Race& race, AdvanceReason reason);

}  // namespace winnow
