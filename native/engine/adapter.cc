#include "adapter.h"

#include <llama.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "backend.h"
#include "error.h"

// Of llama.cpp's src/llama-context.h, which is no part of its public headers: what a decode does first after the
// adapters changed. Here it is done while there is nothing to lose, and for contexts that never decode (sizes.h). The
// pinned release's libraries export it, see sizes.cc; those for Windows would not, which mark what they export.
struct llama_context {
  void sched_reserve();
};

namespace winnow {

std::shared_ptr<const Adapter> Adapter::load(std::shared_ptr<Model> model, const std::string& path) {
  const std::shared_ptr<Adapter> adapter(new Adapter());
  adapter->facts_ = check_adapter_file(path, *model);
  adapter->model_ = std::move(model);
  const std::lock_guard lock(adapter->model_->layout_mutex());
  const AssertGuard guard;
  clear_last_log();
  // Catches what it throws, an assert of this thread included.
  adapter->adapter_ = llama_adapter_lora_init(adapter->model_->raw(), path.c_str());
  if (adapter->adapter_ != nullptr) return adapter;
  const std::string words = last_log();
  if (words.find("allocate") == std::string::npos)
    throw_corrupt_adapter(path, "one that llama.cpp cannot load: " + words);
  throw EngineError("OUT_OF_MEMORY", "Expected memory for the LoRA adapter '" + path + "' but received none: " + words);
}

Adapter::~Adapter() {
  if (adapter_ == nullptr) return;
  const std::lock_guard lock(model_->layout_mutex());
  llama_adapter_lora_free(adapter_);
}

void set_adapters(llama_context* context, const Model& model, const AdapterSet& adapters) {
  std::vector<llama_adapter_lora*> raw;
  std::vector<float> scales;
  for (const auto& [adapter, scale] : adapters) {
    const std::string& path = adapter->facts().path;
    if (&adapter->model() != &model)
      throw EngineError("OPTION_INVALID", "Expected an adapter of this model but received '" + path + "' of another");
    if (std::find(raw.begin(), raw.end(), adapter->raw()) != raw.end())
      throw EngineError("OPTION_INVALID", "Expected each adapter once but received '" + path + "' twice");
    if (!std::isfinite(scale)) {
      throw EngineError("OPTION_INVALID",
                        "Expected a finite scale for '" + path + "' but received " + std::to_string(scale));
    }
    raw.push_back(adapter->raw());
    scales.push_back(scale);
  }
  const std::lock_guard lock(model.layout_mutex());
  const AssertGuard guard;
  clear_last_log();
  try {
    llama_set_adapters_lora(context, raw.data(), raw.size(), scales.data());
    context->sched_reserve();
  } catch (const EngineError&) {
    throw;
  } catch (const std::exception& error) {
    throw EngineError("OUT_OF_MEMORY", std::string("Expected buffers to compute with adapters in but received: ") +
                                           error.what() + ". " + last_log());
  }
}

}  // namespace winnow
