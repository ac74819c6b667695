#include "host_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace winnow {
namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// The number in a file of one; kUnlimited where there is none ("max", or no such file).
std::uint64_t number_in(const char* path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  return file >> value ? value : kUnlimited;
}

std::uint64_t available_to_kernel() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::uint64_t kib = 0;
  std::string unit;
  while (file >> key >> kib) {
    std::getline(file, unit);
    if (key == "MemAvailable:") return kib * 1024;
  }
  return kUnlimited;
}

std::uint64_t left_of(const char* limit_path, const char* usage_path) {
  const std::uint64_t limit = number_in(limit_path), usage = number_in(usage_path);
  if (limit == kUnlimited || usage == kUnlimited) return kUnlimited;
  return limit > usage ? limit - usage : 0;
}

}  // namespace

std::uint64_t host_memory_available() {
  const std::uint64_t available =
      std::min({available_to_kernel(), left_of("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
                left_of("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes")});
  return available == kUnlimited ? 0 : available;
}

}  // namespace winnow
