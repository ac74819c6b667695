// What a LoRA adapter's file must hold before llama.cpp sees it: like model_gate.h, and against the model it is for.
// llama.cpp itself compares two lengths of each pair of tensors with those of the model's tensor. What else does not
// fit ends in an assert while a graph is laid out, or, for a mixture of experts, in a read beyond the tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace winnow {

class Model;

struct AdapterBytes {
  std::string device;  // as sizes.h names it
  std::uint64_t bytes = 0;
};

struct AdapterFacts {
  std::string path;
  std::string name;                   // of the file's metadata; empty where it has none
  std::string task;                   // likewise
  float alpha = 0;                    // 0: a product counts by its scale alone, else by alpha over its rank too
  int tensors = 0;                    // tensors of the model that it changes
  int ignored = 0;                    // norms in the file, which llama.cpp leaves out
  std::vector<AdapterBytes> devices;  // where the tensors lie that it changes
};

// Of a model opened without weights too. Throws EngineError ADAPTER_NOT_FOUND, ADAPTER_CORRUPT (no adapter, or a
// broken one), ADAPTER_MISMATCH (made for another model), ADAPTER_UNSUPPORTED.
AdapterFacts check_adapter_file(const std::string& path, const Model& model);

[[noreturn]] void throw_corrupt_adapter(const std::string& path, const std::string& received);

}  // namespace winnow
