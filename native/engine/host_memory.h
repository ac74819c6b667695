// What this process may still take of the host's memory. ggml's CPU device calls all of it free, and the kernel
// does not refuse an allocation: it ends the process once the pages are touched.
#pragma once

#include <cstdint>

namespace winnow {

// Bytes: what the kernel calls available, or what the control group leaves if that is less. 0 where neither can be
// read (not Linux).
std::uint64_t host_memory_available();

}  // namespace winnow
