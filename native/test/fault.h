// Faults in llama_decode and llama_encode, which no use of the API can bring about. The test binary defines both
// itself, and the function that ggml's rotary embedding begins with (an executable's symbols come before a library's),
// and passes the call on unless a fault is armed.
#pragma once

#include <string>

namespace winnow::test {

// "" (none), "code" (returns `code`), "exception" (throws std::runtime_error), "assert" (a ggml assert before the
// graph), "graph" (one in its middle, on the calling thread, while the others wait for it). Armed once: the next
// decode clears it.
void arm_fault(const std::string& kind, int code = 0);

}  // namespace winnow::test
