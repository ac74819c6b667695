// The process-wide part of llama.cpp: backends, devices, versions, log, and the assert hook.
//
// Everything here is process-global because llama.cpp makes it so. `load_backends` runs once; the
// first folder wins, and a second call with another folder is an error (one variant per process).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace winnow {

struct Device {
  std::string name;                // "CPU", "CUDA0", "Vulkan0"
  std::string description;         // "NVIDIA H200"
  std::string type;                // "cpu" | "gpu" | "igpu" | "accel"
  std::uint64_t memory_free = 0;   // bytes
  std::uint64_t memory_total = 0;  // bytes
};

// Loads every ggml backend library found in `folder` and initialises llama.cpp. Idempotent for the
// same folder. Throws EngineError BACKEND_LOAD when no backend could be loaded.
void load_backends(const std::string& folder);
bool backends_loaded();

std::vector<Device> devices();
std::string llama_version_text();      // what the loaded library says of itself
std::string compiled_llama_version();  // what the headers we compiled against said (CMake passes it)
std::string system_info();

// llama.cpp's log is global. Messages of the last failed operation on this thread are kept, so that an
// EngineError can say what llama.cpp said. `sink` (may be empty) receives every line; it is called on
// whichever thread logs.
void set_log_sink(std::function<void(int level, const std::string& text)> sink);
void clear_last_log();
std::string last_log();  // warnings and errors logged by this thread since clear_last_log()

// While an AssertGuard lives on a thread, a ggml assert on that same thread throws EngineError
// NATIVE_ASSERT instead of ending the process. On any other thread it still ends the process, after the
// reason was written to stderr. Whatever context was in use when it threw must never be used again.
class AssertGuard {
 public:
  AssertGuard();
  ~AssertGuard();
  AssertGuard(const AssertGuard&) = delete;
  AssertGuard& operator=(const AssertGuard&) = delete;
};

}  // namespace winnow
