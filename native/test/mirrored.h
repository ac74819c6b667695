// Mirrors, heads and requests for tests, and the score of a text that no mirror had a part in.
#pragma once

#include <ggml.h>
#include <gguf.h>

#include <memory>
#include <random>

#include "fixture.h"
#include "mirror.h"

namespace winnow::test {

using Texts = std::vector<std::vector<Token>>;

// A linear head of noise. `features` of the names in kFeatureNames, none by default.
inline std::shared_ptr<const Head> head_of(int width, const std::vector<const char*>& features = {}) {
  const std::size_t in = static_cast<std::size_t>(width) + features.size();
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  const std::unique_ptr<ggml_context, void (*)(ggml_context*)> tensors(
      ggml_init({in * 4 + 8 * ggml_tensor_overhead() + 1024, nullptr, false}), ggml_free);
  ggml_tensor* weight = ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F32, static_cast<std::int64_t>(in), 1);
  ggml_tensor* bias = ggml_new_tensor_1d(tensors.get(), GGML_TYPE_F32, 1);
  ggml_set_name(weight, "head.weight");
  ggml_set_name(bias, "head.bias");
  for (std::size_t i = 0; i < in; ++i) static_cast<float*>(weight->data)[i] = normal(random);
  static_cast<float*>(bias->data)[0] = 0.5f;
  const std::vector<float> means(features.size(), 0.0f), deviations(features.size(), 1.0f);

  const std::unique_ptr<gguf_context, void (*)(gguf_context*)> file(gguf_init_empty(), gguf_free);
  gguf_set_val_u32(file.get(), "winnow.head.version", 1);
  gguf_set_val_u32(file.get(), "winnow.head.width", static_cast<std::uint32_t>(width));
  gguf_set_val_str(file.get(), "winnow.head.layer", "final-norm");
  gguf_set_val_str(file.get(), "winnow.head.kind", "linear");
  gguf_set_val_str(file.get(), "winnow.head.output", "logit");
  gguf_set_val_u32(file.get(), "winnow.head.window", 16);
  gguf_set_val_str(file.get(), "winnow.head.trained_on", "noise");
  gguf_set_val_str(file.get(), "winnow.head.model_sha256", "");
  std::vector<const char*> names = features;
  gguf_set_arr_str(file.get(), "winnow.head.features", names.data(), names.size());
  gguf_set_arr_data(file.get(), "winnow.head.feature_mean", GGUF_TYPE_FLOAT32, means.data(), means.size());
  gguf_set_arr_data(file.get(), "winnow.head.feature_std", GGUF_TYPE_FLOAT32, deviations.data(), deviations.size());
  gguf_add_tensor(file.get(), weight);
  gguf_add_tensor(file.get(), bias);
  const std::string path = temp_path("mirror-head.gguf");
  EXPECT_TRUE(gguf_write_to_file(file.get(), path.c_str(), false));
  return Head::load(path);
}

inline std::shared_ptr<Model> exact(const std::string& architecture) {
  RandomModelParams params = small_model(architecture, "f32");
  params.tokenizer = "none";
  return load(model_file(params));
}

inline PoolParams mirror_of(int streams, int batch = 64, const std::string& kv_type = "f32", int cells = 256) {
  PoolParams params = pool_of(streams, cells);
  params.batch = batch;
  params.kv_type = kv_type;
  // Flash attention turns f32 cells into f16 before it uses them.
  if (kv_type == "f32") params.flash_attention = "off";
  return params;
}

// The score of one text, by a pool that decodes it as a prompt: none of the mirror's code takes part.
class FromScratch {
 public:
  FromScratch(const std::shared_ptr<Model>& model, std::shared_ptr<const Head> head, int cells = 256)
      : head_(std::move(head)), pool_(Solo::create(model, mirror_of(1, 64, "f32", cells))) {}

  float operator()(const std::vector<Token>& text) {
    pool_->prefill(text);
    pool_->fork(fork_of(1));
    const std::vector<float> state = pool_->states({0});
    float score = 0;
    head_->apply(state.data(), nullptr, 1, &score);
    return score;
  }

 private:
  std::shared_ptr<const Head> head_;
  std::unique_ptr<Solo> pool_;
};

// Branches in the order of the ids, each with its new tokens; nothing of what they hold removed.
inline MirrorRequest request_of(const std::vector<std::int32_t>& ids, const std::vector<int>& keep, const Texts& texts,
                                const std::vector<Token>& suffix = {}) {
  MirrorRequest request;
  request.ids = ids;
  request.keep.assign(keep.begin(), keep.end());
  request.offsets.push_back(0);
  for (const std::vector<Token>& text : texts) {
    request.tokens.insert(request.tokens.end(), text.begin(), text.end());
    request.offsets.push_back(static_cast<std::int32_t>(request.tokens.size()));
  }
  request.suffix = suffix;
  return request;
}

inline std::vector<Token> joined(std::vector<Token> text, const std::vector<Token>& more) {
  text.insert(text.end(), more.begin(), more.end());
  return text;
}

}  // namespace winnow::test
