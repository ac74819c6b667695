// Head: a reward head. One row (hidden state after the final norm, then named confidence features) -> one
// number, the logit. Linear or one hidden layer. Lives in a small GGUF beside the model:
//   winnow.head.version u32 = 1, .width u32, .layer "final-norm", .kind "linear" | "mlp", .hidden u32,
//   .activation "silu" | "relu", .output "logit", .window u32 = 16, .features string[], .feature_mean f32[],
//   .feature_std f32[] (same length), .trained_on string, .model_sha256 string.
//   tensors, F32: linear "head.weight" [1, in], "head.bias" [1];
//   mlp "head.0.weight" [hidden, in], "head.0.bias" [hidden], "head.1.weight" [1, hidden], "head.1.bias" [1].
// in = width + features; the state comes first and raw, a feature enters as (x - mean) / std.
// A file of version 2 also holds the score's line by position, and names log_tokens among its features:
//   winnow.head.position_log_tokens f32[] (ascending, at least one), .position_scale f32[] (positive), .position_bias
//   f32[], of one length: score = scale(x) * logit + bias(x) at x = log(1 + tokens). Both are linear in x between the
//   knots and constant beyond them. Every scale is positive, so candidates of equal length never change their order.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace winnow {

// The score's line by position, as the file has it; without knots a score is the logit.
struct PositionLine {
  std::vector<float> log_tokens, scale, bias;

  float score(float logit, float at_log_tokens) const;
};

struct HeadFacts {
  std::string path, kind, activation, trained_on, model_sha256;
  int width = 0;
  int hidden = 0;  // 0 for linear
  std::vector<std::string> features;
};

class Head {
 public:
  // Throws EngineError HEAD_NOT_FOUND or HEAD_CORRUPT (not a GGUF, missing key or tensor, wrong type or shape,
  // unknown feature or kind, a weight or std that is not finite, std <= 0, knots out of order). Never aborts on any
  // bytes.
  static std::shared_ptr<const Head> load(const std::string& path);

  // One weight for each column of the state and no bias, out of a model's own file.
  static std::shared_ptr<const Head> linear(const std::string& path, std::vector<float> weight);

  const HeadFacts& facts() const { return facts_; }
  // states: rows x width; features: rows x kFeatures in kFeatureNames order (the head picks what it names).
  // out: rows. Pure; safe from any thread.
  void apply(const float* states, const float* features, std::size_t rows, float* out) const;

 private:
  HeadFacts facts_;
  std::vector<int> feature_index_;  // position of each named feature in kFeatureNames
  std::vector<float> feature_mean_, feature_std_;
  std::vector<float> weight0_, bias0_, weight1_;  // linear: weight0_ is [in], bias0_ and weight1_ empty
  float bias1_ = 0;
  PositionLine position_;
};

}  // namespace winnow
