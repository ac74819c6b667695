// Remains: what must never be freed after a ggml assert in the middle of a graph. ggml's other compute threads still
// read the context and the weights then, and wait for the one that threw at a barrier it will never reach: freeing
// would pull memory from under them, and joining them would wait for ever.
#pragma once

#include <memory>
#include <vector>

namespace winnow {

// Until the process ends.
void keep_forever(std::vector<std::shared_ptr<void>> remains);

}  // namespace winnow
