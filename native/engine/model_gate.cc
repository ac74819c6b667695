#include "model_gate.h"

#include <ggml.h>

#include <cmath>
#include <filesystem>
#include <new>
#include <unordered_set>

#include "error.h"
#include "gguf_file.h"

namespace winnow {
namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// llama.cpp reads every per-token array by the token's index and asserts that token strings differ.
void check_vocabulary(const std::string& path, const GgufFile& file) {
  const GgufValue* tokens = file.find("tokenizer.ggml.tokens");
  if (tokens == nullptr) return;
  if (!tokens->is_array || tokens->type != GgufType::string) throw_corrupt_model(path, "token strings of another type");
  std::unordered_set<std::string> seen;
  seen.reserve(tokens->strings.size());
  for (const std::string& token : tokens->strings) {
    if (!seen.insert(token).second) throw_corrupt_model(path, "the token '" + token + "' twice");
  }
  const GgufValue* scores = file.find("tokenizer.ggml.scores");
  if (scores != nullptr &&
      (!scores->is_array || scores->type != GgufType::f32 || scores->numbers.size() != tokens->strings.size())) {
    throw_corrupt_model(path, "token scores that are not one f32 a token");
  }
  const GgufValue* types = file.find("tokenizer.ggml.token_type");
  if (types != nullptr &&
      (!types->is_array || types->type != GgufType::i32 || types->numbers.size() != tokens->strings.size())) {
    throw_corrupt_model(path, "token types that are not one i32 a token");
  }
}

// The norms assert that their epsilon is 0 or more, and a NaN is not.
void check_numbers(const std::string& path, const GgufFile& file) {
  for (const auto& [key, value] : file.values) {
    if (!ends_with(key, "_epsilon") || value.is_array || value.type == GgufType::string) continue;
    if (!(std::isfinite(value.number) && value.number >= 0)) {
      throw_corrupt_model(path, "a " + key + " of " + std::to_string(value.number));
    }
  }
}

// Types that have no product with a row of floats: ggml would call through an empty entry of its table.
bool is_weight_type(ggml_type type) {
  switch (type) {
    case GGML_TYPE_I8:
    case GGML_TYPE_I16:
    case GGML_TYPE_I32:
    case GGML_TYPE_I64:
    case GGML_TYPE_F64:
    case GGML_TYPE_Q8_1:
    case GGML_TYPE_Q8_K: return false;
    default: return true;
  }
}

void check_tensor_types(const std::string& path, const GgufFile& file) {
  for (const GgufTensor& tensor : file.tensors) {
    if (tensor.type >= GGML_TYPE_COUNT)
      throw_corrupt_model(path, "the tensor '" + tensor.name + "' of an unknown type");
    const ggml_type type = static_cast<ggml_type>(tensor.type);
    // Tables of ids, which some mixtures of experts carry, are no weights.
    if (type == GGML_TYPE_I32 && !ends_with(tensor.name, ".weight") && !ends_with(tensor.name, ".bias")) continue;
    // Norms, biases and an encoder's token types meet rows of F32 element by element, and ggml has that operation for
    // F32 only, whatever shape they are written in.
    const bool vector = tensor.shape.size() <= 1 || ends_with(tensor.name, ".bias") ||
                        tensor.name.find("_norm") != std::string::npos || tensor.name == "token_types.weight";
    const bool fits = vector ? type == GGML_TYPE_F32 : is_weight_type(type);
    if (!fits) {
      const char* name = ggml_type_name(type);
      throw_corrupt_model(path, "the tensor '" + tensor.name + "' of type " + (name == nullptr ? "unknown" : name));
    }
  }
}

}  // namespace

void throw_corrupt_model(const std::string& path, const std::string& received) {
  throw EngineError("MODEL_CORRUPT", "Expected a GGUF model in '" + path + "' but received " + received);
}

void check_model_file(const std::string& path) {
  std::error_code failed;
  if (path.empty() || path.find('\0') != std::string::npos ||
      !std::filesystem::is_regular_file(std::filesystem::path(path), failed)) {
    throw EngineError("MODEL_NOT_FOUND", "Expected a GGUF model file but received '" + path + "', which is not a file");
  }
  try {
    const GgufFile file = read_gguf(path);
    check_vocabulary(path, file);
    check_numbers(path, file);
    check_tensor_types(path, file);
  } catch (const GgufError& error) {
    throw_corrupt_model(path, error.what());
  } catch (const std::bad_alloc&) {
    throw_corrupt_model(path, "metadata larger than memory");
  }
}

}  // namespace winnow
