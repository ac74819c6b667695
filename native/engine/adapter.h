// Adapter: a LoRA adapter's matrices beside the weights of the one model it was opened for. Immutable once loaded.
// Held by std::shared_ptr: whoever decodes with it keeps it, and it keeps the model.
//
// A context computes all its rows with one set of adapters, each at a scale s: W x + s alpha/rank B A x for every
// matrix W that the adapter has a pair for (Hu et al. 2021, arXiv 2106.09685; llama.cpp's build_lora_mm). Of several in
// a set the order of these sums, and so the last bits, may differ from process to process: llama.cpp adds them in the
// order of their addresses' hashes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "adapter_gate.h"
#include "model.h"

struct llama_adapter_lora;
struct llama_context;

namespace winnow {

class Adapter {
 public:
  // Of a model without weights it serves to lay contexts out. Throws what check_adapter_file does, and OUT_OF_MEMORY.
  static std::shared_ptr<const Adapter> load(std::shared_ptr<Model> model, const std::string& path);
  ~Adapter();
  Adapter(const Adapter&) = delete;
  Adapter& operator=(const Adapter&) = delete;

  const AdapterFacts& facts() const { return facts_; }
  const Model& model() const { return *model_; }
  llama_adapter_lora* raw() const { return adapter_; }

 private:
  Adapter() = default;
  std::shared_ptr<Model> model_;
  AdapterFacts facts_;
  llama_adapter_lora* adapter_ = nullptr;
};

struct ScaledAdapter {
  std::shared_ptr<const Adapter> adapter;
  float scale = 1;  // 0: as if it were not there
};
using AdapterSet = std::vector<ScaledAdapter>;

// What the context computes with from now on, in place of what it had; its buffers are laid out anew at once. The
// caller keeps the adapters for as long. Throws OPTION_INVALID (one of another model, one twice, a scale that is not
// finite), OUT_OF_MEMORY, NATIVE_ASSERT: after the last two the context is of no more use.
void set_adapters(llama_context* context, const Model& model, const AdapterSet& adapters);

}  // namespace winnow
