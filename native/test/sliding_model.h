// A model with a sliding window.
#pragma once

#include <ggml.h>
#include <gguf.h>

#include <memory>
#include <random>

#include "fixture.h"

namespace winnow::test {

// Cohere 2 with a window of 16 cells in three layers of four.
inline std::shared_ptr<Model> sliding() {
  constexpr int width = 64, vocabulary = 512, forward = 128, head = 32, heads = 2, layers = 4;
  const std::unique_ptr<ggml_context, void (*)(ggml_context*)> tensors(
      ggml_init({std::size_t{4} << 20, nullptr, false}), ggml_free);
  const std::unique_ptr<gguf_context, void (*)(gguf_context*)> file(gguf_init_empty(), gguf_free);
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.15f);
  const auto add = [&](const std::string& name, int columns, int rows) {
    ggml_tensor* tensor = rows == 0 ? ggml_new_tensor_1d(tensors.get(), GGML_TYPE_F32, columns)
                                    : ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F32, columns, rows);
    float* values = static_cast<float*>(tensor->data);
    for (std::int64_t i = 0; i < ggml_nelements(tensor); ++i) values[i] = rows == 0 ? 1.0f : normal(random);
    ggml_set_name(tensor, (name + ".weight").c_str());
    gguf_add_tensor(file.get(), tensor);
  };
  const auto set = [&](const char* key, std::uint32_t value) {
    gguf_set_val_u32(file.get(), (std::string("cohere2.") + key).c_str(), value);
  };
  gguf_set_val_str(file.get(), "general.architecture", "cohere2");
  gguf_set_val_str(file.get(), "tokenizer.ggml.model", "none");
  set("vocab_size", vocabulary);
  set("context_length", 512);
  set("embedding_length", width);
  set("block_count", layers);
  set("feed_forward_length", forward);
  set("attention.head_count", heads);
  set("attention.head_count_kv", 1);
  set("attention.key_length", head);
  set("attention.value_length", head);
  set("attention.sliding_window", 16);
  gguf_set_val_f32(file.get(), "cohere2.attention.layer_norm_epsilon", 1e-5f);
  gguf_set_val_f32(file.get(), "cohere2.logit_scale", 1.0f);
  add("token_embd", width, vocabulary);
  add("output_norm", width, 0);
  for (int layer = 0; layer < layers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    add(block + "attn_norm", width, 0);
    add(block + "attn_q", width, head * heads);
    add(block + "attn_k", width, head);
    add(block + "attn_v", width, head);
    add(block + "attn_output", head * heads, width);
    add(block + "ffn_gate", width, forward);
    add(block + "ffn_up", width, forward);
    add(block + "ffn_down", forward, width);
  }
  const std::string path = temp_path("sliding.gguf");
  EXPECT_TRUE(gguf_write_to_file(file.get(), path.c_str(), false));
  return load(path);
}

}  // namespace winnow::test
