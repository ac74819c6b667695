#include "random_model.h"

#include <ggml.h>
#include <gguf.h>

#include <cstddef>
#include <cstdio>
#include <memory>
#include <set>
#include <vector>

#include "backend.h"
#include "checks.h"
#include "error.h"
#include "tensor_type.h"

namespace winnow {
namespace {

struct FreeGguf {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
struct FreeGgml {
  void operator()(ggml_context* context) const { ggml_free(context); }
};
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// splitmix64 (Steele, Lea, Flood, 2014): fast, and any seed is a good one.
struct Bits {
  std::uint64_t state;
  std::uint64_t next() {
    state += 0x9E3779B97F4A7C15u;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  // Mean 0, deviation 1: the sum of four 16-bit uniforms (Irwin-Hall), near enough to normal for weights.
  float normal() {
    const std::uint64_t bits = next();
    const std::uint64_t sum = (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
    return (static_cast<float>(sum) / 65535.0f - 2.0f) * 1.7320508f;
  }
};

[[noreturn]] void invalid(const std::string& sentence) { throw EngineError("OPTION_INVALID", sentence); }

void check(const RandomModelParams& params) {
  static const std::set<std::string> architectures = {"llama", "qwen2", "qwen3", "mamba"};
  if (architectures.count(params.architecture) == 0)
    invalid("Expected llama, qwen2, qwen3 or mamba for architecture but received '" + params.architecture + "'");
  if (params.tokenizer != "bytes" && params.tokenizer != "none")
    invalid("Expected bytes or none for tokenizer but received '" + params.tokenizer + "'");
  check_range("vocabulary", params.vocabulary, params.tokenizer == "bytes" ? 259 : 2, 1 << 20);
  check_range("width", params.width, 1, 1 << 16);
  check_range("layers", params.layers, 1, 256);
  check_range("heads", params.heads, 1, 1 << 10);
  check_range("key-value heads", params.heads_kv, 1, params.heads);
  check_range("feed-forward width", params.feed_forward, 1, 1 << 18);
  check_range("context", params.context, 1, 1 << 24);
  if (params.width % params.heads != 0)
    invalid("Expected a width that the heads divide but received " + std::to_string(params.width) + " for " +
            std::to_string(params.heads) + " heads");
  if (params.width / params.heads % 2 != 0)
    invalid("Expected an even head width but received " + std::to_string(params.width / params.heads));
  if (params.heads % params.heads_kv != 0)
    invalid("Expected heads that the key-value heads divide but received " + std::to_string(params.heads) + " and " +
            std::to_string(params.heads_kv));
  if (!(params.spread > 0 && params.spread < 1000))
    invalid("Expected a spread between 0 and 1000 but received " + std::to_string(params.spread));
  const std::int64_t block = ggml_blck_size(tensor_type(params.weights, "weights"));
  const int attention = params.width / params.heads * params.heads_kv;
  for (const int row : {params.width, params.feed_forward, attention}) {
    if (row % block != 0)
      invalid("Expected widths that are multiples of " + std::to_string(block) + " for " + params.weights +
              " weights but received " + std::to_string(row));
  }
}

// Pieces of the filler: "▁" then a, b, .., z, aa, ab, .. (numbers in base 26 with the digits a-z and no zero).
std::string filler(int index) {
  if (index == 0) return "\xE2\x96\x81";
  std::string piece;
  for (int rest = index; rest > 0; rest = (rest - 1) / 26)
    piece.insert(piece.begin(), static_cast<char>('a' + (rest - 1) % 26));
  return piece;
}

void add_tokenizer(gguf_context* file, const RandomModelParams& params) {
  if (params.tokenizer == "none") {
    gguf_set_val_str(file, "tokenizer.ggml.model", "none");
    return;
  }
  // Values of llama.cpp's LLAMA_TOKEN_TYPE_*: what SentencePiece's own types map to.
  constexpr std::int32_t normal = 1, unknown = 2, control = 3, byte = 6;
  std::vector<std::string> pieces = {"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> types = {unknown, control, control};
  for (int value = 0; value < 256; ++value) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(value) & 0xFFu);
    pieces.push_back(text);
    types.push_back(byte);
  }
  for (int i = 0; static_cast<int>(pieces.size()) < params.vocabulary; ++i) {
    pieces.push_back(filler(i));
    types.push_back(normal);
  }
  std::vector<float> scores(pieces.size(), 0.0f);
  std::vector<const char*> texts;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    texts.push_back(pieces[i].c_str());
    if (types[i] == normal) scores[i] = -static_cast<float>(i);  // SPM merges the highest score first: the short pieces
  }
  gguf_set_val_str(file, "tokenizer.ggml.model", "llama");
  gguf_set_arr_str(file, "tokenizer.ggml.tokens", texts.data(), texts.size());
  gguf_set_arr_data(file, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
  gguf_set_arr_data(file, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
  gguf_set_val_u32(file, "tokenizer.ggml.unknown_token_id", 0);
  gguf_set_val_u32(file, "tokenizer.ggml.bos_token_id", 1);
  gguf_set_val_u32(file, "tokenizer.ggml.eos_token_id", 2);
  gguf_set_val_bool(file, "tokenizer.ggml.add_bos_token", true);
}

void add_metadata(gguf_context* file, const RandomModelParams& params) {
  const std::string& prefix = params.architecture;
  const auto set = [&](const char* key, int value) {
    gguf_set_val_u32(file, (prefix + key).c_str(), static_cast<std::uint32_t>(value));
  };
  gguf_set_val_str(file, "general.architecture", prefix.c_str());
  gguf_set_val_str(file, "general.name", "random weights");
  set(".vocab_size", params.vocabulary);
  set(".context_length", params.context);
  set(".embedding_length", params.width);
  set(".block_count", params.layers);
  gguf_set_val_f32(file, (prefix + ".attention.layer_norm_rms_epsilon").c_str(), 1e-5f);
  if (prefix == "mamba") {
    set(".ssm.conv_kernel", 4);
    set(".ssm.inner_size", 2 * params.width);
    set(".ssm.state_size", 16);
    set(".ssm.time_step_rank", params.width / 16 + 1);
  } else {
    set(".feed_forward_length", params.feed_forward);
    set(".attention.head_count", params.heads);
    set(".attention.head_count_kv", params.heads_kv);
    set(".attention.key_length", params.width / params.heads);
    set(".attention.value_length", params.width / params.heads);
    set(".rope.dimension_count", params.width / params.heads);
    gguf_set_val_f32(file, (prefix + ".rope.freq_base").c_str(), 10000.0f);
  }
  if (!params.chat_template.empty()) gguf_set_val_str(file, "tokenizer.chat_template", params.chat_template.c_str());
}

// Names and shapes, no memory: `plan` is a no-alloc context that outlives them.
std::vector<ggml_tensor*> plan_tensors(ggml_context* plan, const RandomModelParams& params) {
  const ggml_type type = tensor_type(params.weights, "weights");
  const std::int64_t width = params.width, forward = params.feed_forward, head = params.width / params.heads;
  const std::int64_t attention = head * params.heads_kv;
  std::vector<ggml_tensor*> tensors;
  const auto matrix = [&](const std::string& name, std::int64_t columns, std::int64_t rows) {
    tensors.push_back(ggml_set_name(ggml_new_tensor_2d(plan, type, columns, rows), name.c_str()));
  };
  const auto vector = [&](const std::string& name, std::int64_t length) {
    tensors.push_back(ggml_set_name(ggml_new_tensor_1d(plan, GGML_TYPE_F32, length), name.c_str()));
  };
  matrix("token_embd.weight", width, params.vocabulary);
  vector("output_norm.weight", width);
  matrix("output.weight", width, params.vocabulary);
  if (params.architecture == "mamba") return tensors;  // refused by its metadata; no layer is ever read
  for (int layer = 0; layer < params.layers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    vector(block + "attn_norm.weight", width);
    matrix(block + "attn_q.weight", width, width);
    matrix(block + "attn_k.weight", width, attention);
    matrix(block + "attn_v.weight", width, attention);
    matrix(block + "attn_output.weight", width, width);
    if (params.architecture == "qwen2") {
      vector(block + "attn_q.bias", width);
      vector(block + "attn_k.bias", attention);
      vector(block + "attn_v.bias", attention);
    }
    if (params.architecture == "qwen3") {
      vector(block + "attn_q_norm.weight", head);
      vector(block + "attn_k_norm.weight", head);
    }
    vector(block + "ffn_norm.weight", width);
    matrix(block + "ffn_gate.weight", width, forward);
    matrix(block + "ffn_up.weight", width, forward);
    matrix(block + "ffn_down.weight", forward, width);
  }
  return tensors;
}

void write(std::FILE* file, const void* bytes, std::size_t count, const std::string& path) {
  if (count > 0 && std::fwrite(bytes, 1, count, file) != count) {
    throw EngineError("WRITE_FAILED", "Expected to write the model to '" + path + "' but the disk took less");
  }
}

// Row by row, so that memory stays at one row whatever the model's size.
void write_tensor(std::FILE* file, const ggml_tensor* tensor, std::size_t index, const RandomModelParams& params) {
  Bits bits{params.seed * 0x9E3779B97F4A7C15u + index};
  const std::string name = tensor->name;
  const bool ones = name.find("norm") != std::string::npos;
  const std::int64_t columns = tensor->ne[0];
  std::vector<float> row(static_cast<std::size_t>(columns));
  std::vector<unsigned char> encoded(ggml_row_size(tensor->type, columns));
  for (std::int64_t i = 0; i < ggml_nrows(tensor); ++i) {
    for (float& value : row) value = ones ? 1.0f : params.spread * bits.normal();
    if (tensor->type == GGML_TYPE_F32)
      write(file, row.data(), encoded.size(), params.path);
    else {
      ggml_quantize_chunk(tensor->type, row.data(), encoded.data(), 0, 1, columns, nullptr);
      write(file, encoded.data(), encoded.size(), params.path);
    }
  }
  const std::size_t size = ggml_nbytes(tensor);
  const std::vector<unsigned char> padding(GGML_PAD(size, GGUF_DEFAULT_ALIGNMENT) - size, 0);
  write(file, padding.data(), padding.size(), params.path);
}

}  // namespace

void write_random_model(const RandomModelParams& params) {
  check(params);
  const AssertGuard guard;
  const std::unique_ptr<gguf_context, FreeGguf> header(gguf_init_empty());
  add_metadata(header.get(), params);
  add_tokenizer(header.get(), params);

  const std::size_t most = 8 + static_cast<std::size_t>(params.layers) * 16;
  const std::unique_ptr<ggml_context, FreeGgml> plan(ggml_init({ggml_tensor_overhead() * most, nullptr, true}));
  const std::vector<ggml_tensor*> tensors = plan_tensors(plan.get(), params);
  for (const ggml_tensor* tensor : tensors) gguf_add_tensor(header.get(), tensor);

  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(params.path.c_str(), "wb"));
  if (!file)
    throw EngineError("WRITE_FAILED", "Expected a path that can be written but received '" + params.path + "'");
  std::vector<unsigned char> bytes(gguf_get_meta_size(header.get()));
  gguf_get_meta_data(header.get(), bytes.data());
  write(file.get(), bytes.data(), bytes.size(), params.path);
  for (std::size_t i = 0; i < tensors.size(); ++i) write_tensor(file.get(), tensors[i], i, params);
  if (std::fflush(file.get()) != 0)
    throw EngineError("WRITE_FAILED", "Expected to write the model to '" + params.path + "' but the disk took less");
}

}  // namespace winnow
