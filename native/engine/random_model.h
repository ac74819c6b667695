// Writes a GGUF of random weights at a shape of choice: for tests, and for throughput at realistic sizes
// where no trained weights can be had. Deterministic by seed.
#pragma once

#include <cstdint>
#include <string>

namespace winnow {

struct RandomModelParams {
  std::string path;
  std::string architecture = "llama";  // "llama" | "qwen2" | "qwen3" | "mamba" (refused at load; for tests)
  std::string weights = "f16";         // "f32" | "f16" | "q8_0" | "q4_0"
  std::string tokenizer = "bytes";     // "bytes": SPM with 256 byte tokens and filler pieces | "none"
  int vocabulary = 512;                // at least 259 for "bytes"
  int width = 128;
  int layers = 2;
  int heads = 2;
  int heads_kv = 1;
  int feed_forward = 256;
  int context = 2048;
  float spread = 0.15f;  // standard deviation of the weights; larger makes sharper distributions
  std::uint64_t seed = 1;
  std::string chat_template;  // empty: none
};

// Throws EngineError OPTION_INVALID or WRITE_FAILED.
void write_random_model(const RandomModelParams& params);

}  // namespace winnow
