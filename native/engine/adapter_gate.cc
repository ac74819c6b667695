#include "adapter_gate.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <llama.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <new>
#include <unordered_map>
#include <utility>

#include "error.h"
#include "gguf_file.h"
#include "model.h"
#include "sizes.h"

// Of llama.cpp's src/llama-model.h, which is no part of its public headers; see adapter.cc.
const std::vector<std::pair<std::string, ggml_tensor*>>& llama_internal_get_tensor_map(const llama_model*);

namespace winnow {
namespace {

constexpr const char* kEmbedding = "token_embd.weight";

struct Pair {
  const GgufTensor* a = nullptr;
  const GgufTensor* b = nullptr;
};

[[noreturn]] void throw_mismatch(const std::string& path, const Model& model, const std::string& received) {
  throw EngineError("ADAPTER_MISMATCH", "Expected a LoRA adapter made for '" + model.facts().path + "' but received '" +
                                            path + "', which has " + received);
}

[[noreturn]] void throw_unsupported(const std::string& path, const std::string& received) {
  throw EngineError("ADAPTER_UNSUPPORTED",
                    "Expected a LoRA adapter for every token but received '" + path + "', which " + received);
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Empty where the file has none. llama.cpp asserts that a key it reads has the type it expects.
std::string text_of(const std::string& path, const GgufFile& file, const std::string& key) {
  const GgufValue* const value = file.find(key);
  if (value == nullptr) return {};
  if (value->is_array || value->type != GgufType::string) throw_corrupt_adapter(path, "a " + key + " that is no text");
  return value->text;
}

void check_kind(const std::string& path, const GgufFile& file, const Model& model) {
  const std::string type = text_of(path, file, "general.type");
  if (type != "adapter") throw_corrupt_adapter(path, "a file of type '" + type + "'");
  const std::string kind = text_of(path, file, "adapter.type");
  if (kind != "lora") throw_unsupported(path, "is of type '" + kind + "'");
  const std::string architecture = text_of(path, file, "general.architecture");
  if (architecture != model.facts().architecture) {
    throw_mismatch(path, model, "architecture '" + architecture + "' and not '" + model.facts().architecture + "'");
  }
  // Such an adapter counts from these tokens on; llama.cpp leaves it to its caller to find them in every prompt.
  const GgufValue* const invocation = file.find("adapter.alora.invocation_tokens");
  if (invocation == nullptr) return;
  if (!invocation->is_array || invocation->type != GgufType::u32)
    throw_corrupt_adapter(path, "invocation tokens of another type");
  if (!invocation->numbers.empty()) throw_unsupported(path, "is an activated one (aLoRA), invoked by tokens");
}

float alpha_of(const std::string& path, const GgufFile& file) {
  const GgufValue* const alpha = file.find("adapter.lora.alpha");
  if (alpha == nullptr) return 0;
  if (alpha->is_array || alpha->type != GgufType::f32 || !std::isfinite(alpha->number))
    throw_corrupt_adapter(path, "an alpha that is no finite f32");
  return static_cast<float>(alpha->number);
}

// Those that every backend multiplies and takes rows of.
bool is_adapter_type(std::uint32_t type) {
  switch (type) {
    case GGML_TYPE_F32:
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q8_0: return true;
    default: return false;
  }
}

std::int64_t length(const GgufTensor& tensor, std::size_t dimension) {
  return dimension < tensor.shape.size() ? static_cast<std::int64_t>(tensor.shape[dimension]) : 1;
}

// Throws unless the tensor's bytes are in the file.
std::uint64_t bytes_of(const std::string& path, const GgufFile& file, const GgufTensor& tensor) {
  if (!is_adapter_type(tensor.type)) throw_corrupt_adapter(path, "the tensor '" + tensor.name + "' of no such type");
  const ggml_type type = static_cast<ggml_type>(tensor.type);
  std::uint64_t elements = 1;
  for (const std::uint64_t each : tensor.shape) elements *= each;  // cannot overflow: checked when it was read
  const std::uint64_t room = file.file_size > file.data_offset ? file.file_size - file.data_offset : 0;
  // No type has more than eight elements a byte.
  const bool possible = elements > 0 && elements / 8 <= room && length(tensor, 0) % ggml_blck_size(type) == 0;
  if (!possible) throw_corrupt_adapter(path, "the tensor '" + tensor.name + "' of an impossible shape");
  const std::uint64_t bytes = elements / static_cast<std::uint64_t>(ggml_blck_size(type)) * ggml_type_size(type);
  if (tensor.offset > room || bytes > room - tensor.offset)
    throw_corrupt_adapter(path, "the tensor '" + tensor.name + "' that lies outside the file");
  return bytes;
}

// By the names of the model's tensors.
std::map<std::string, Pair> pairs_of(const std::string& path, const GgufFile& file, AdapterFacts& facts) {
  std::map<std::string, Pair> pairs;
  for (const GgufTensor& tensor : file.tensors) {
    const std::string& name = tensor.name;
    // llama.cpp takes names to their first zero.
    if (name.empty() || name.size() >= GGML_MAX_NAME || name.find('\0') != std::string::npos)
      throw_corrupt_adapter(path, "a tensor name that llama.cpp cannot hold");
    const bool a = ends_with(name, ".lora_a"), b = ends_with(name, ".lora_b");
    if (!a && !b) {
      if (!ends_with(name, "_norm.weight")) throw_corrupt_adapter(path, "the tensor '" + name + "'");
      ++facts.ignored;
      continue;
    }
    const std::string base = name.substr(0, name.size() - 7);
    if (base.find(".lora_") != std::string::npos) throw_corrupt_adapter(path, "the tensor '" + name + "'");
    (a ? pairs[base].a : pairs[base].b) = &tensor;
  }
  for (const auto& [base, pair] : pairs) {
    if (pair.a == nullptr || pair.b == nullptr) throw_corrupt_adapter(path, "half a pair for '" + base + "'");
  }
  if (pairs.empty()) throw_corrupt_adapter(path, "no pair of tensors");
  return pairs;
}

// A: the rank in rows as wide as the model's tensor; B: as many rows as that has, as wide as the rank. Of token
// embeddings, which are looked up and not multiplied, A has a row for each token.
void check_shape(const std::string& path, const Model& model, const std::string& base, const Pair& pair,
                 const ggml_tensor& tensor) {
  const GgufTensor &a = *pair.a, &b = *pair.b;
  const bool embedding = base == kEmbedding;
  const bool outer = embedding ? length(b, 1) == tensor.ne[0] && length(a, 1) == tensor.ne[1]
                               : length(a, 0) == tensor.ne[0] && length(b, 1) == tensor.ne[1];
  const bool inner = embedding ? length(a, 0) == length(b, 0) : length(a, 1) == length(b, 0);
  bool experts = true;
  for (std::size_t i = 2; i < GGML_MAX_DIMS; ++i)
    experts = experts && length(a, i) == tensor.ne[i] && length(b, i) == tensor.ne[i];
  if (!outer || !inner || !experts) throw_mismatch(path, model, "a pair of another shape for '" + base + "'");
}

}  // namespace

void throw_corrupt_adapter(const std::string& path, const std::string& received) {
  throw EngineError("ADAPTER_CORRUPT", "Expected a GGUF LoRA adapter in '" + path + "' but received " + received);
}

AdapterFacts check_adapter_file(const std::string& path, const Model& model) {
  std::error_code failed;
  if (path.empty() || path.find('\0') != std::string::npos ||
      !std::filesystem::is_regular_file(std::filesystem::path(path), failed)) {
    throw EngineError("ADAPTER_NOT_FOUND",
                      "Expected a GGUF LoRA adapter but received '" + path + "', which is not a file");
  }
  try {
    const GgufFile file = read_gguf(path);
    check_kind(path, file, model);
    AdapterFacts facts;
    facts.path = path;
    facts.name = text_of(path, file, "general.name");
    facts.task = text_of(path, file, "adapter.lora.task_name");
    facts.alpha = alpha_of(path, file);
    const std::map<std::string, Pair> pairs = pairs_of(path, file, facts);
    facts.tensors = static_cast<int>(pairs.size());

    std::unordered_map<std::string, const ggml_tensor*> tensors;
    for (const auto& [name, tensor] : llama_internal_get_tensor_map(model.raw())) tensors.emplace(name, tensor);
    std::map<std::string, std::uint64_t> by_device;
    for (const auto& [base, pair] : pairs) {
      const std::uint64_t bytes = bytes_of(path, file, *pair.a) + bytes_of(path, file, *pair.b);
      const auto found = tensors.find(base);
      if (found == tensors.end() || found->second->buffer == nullptr)
        throw_mismatch(path, model, "'" + base + "', a tensor that the model has not");
      check_shape(path, model, base, pair, *found->second);
      // llama.cpp would take the pair and never use it.
      if (ggml_n_dims(found->second) < 2) throw_unsupported(path, "changes '" + base + "', which is no matrix");
      if (base == kEmbedding && tensors.count("output.weight") == 0)
        throw_unsupported(path, "changes token embeddings that are the model's output too");
      // llama.cpp asserts that there is none.
      if (found->second->type == GGML_TYPE_NVFP4 && base.find(".ffn_") != std::string::npos)
        throw_unsupported(path, "changes '" + base + "', whose weights are NVFP4");
      by_device[device_of(ggml_backend_buffer_get_type(found->second->buffer))] += bytes;
    }
    for (const auto& [device, bytes] : by_device) facts.devices.push_back({device, bytes});
    return facts;
  } catch (const GgufError& error) {
    throw_corrupt_adapter(path, error.what());
  } catch (const std::bad_alloc&) {
    throw_corrupt_adapter(path, "metadata larger than memory");
  }
}

}  // namespace winnow
