// libFuzzer: Head::load on any bytes either loads a head or throws HEAD_CORRUPT.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>
#include <vector>

#include "confidence.h"
#include "error.h"
#include "head.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string path = "/tmp/winnow-head-fuzz-" + std::to_string(getpid()) + ".gguf";
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size) std::abort();
  std::fclose(file);
  try {
    const std::shared_ptr<const winnow::Head> head = winnow::Head::load(path);
    const std::vector<float> state(static_cast<std::size_t>(head->facts().width), 1.0f),
        features(winnow::kFeatures, 1.0f);
    float score = 0;
    head->apply(state.data(), features.data(), 1, &score);
  } catch (const winnow::EngineError& error) {
    if (error.code() != "HEAD_CORRUPT") std::abort();
  }
  return 0;
}
