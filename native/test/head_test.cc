#include "head.h"

#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "backend.h"
#include "confidence.h"
#include "head_spec.h"

namespace winnow::test {
namespace {

std::vector<float> naive(Spec spec, const std::vector<float>& states, const std::vector<float>& features,
                         std::size_t width, const std::vector<std::string>& names) {
  const std::size_t rows = states.size() / width;
  std::vector<float> scores;
  for (std::size_t row = 0; row < rows; ++row) {
    std::vector<double> input(states.begin() + static_cast<std::ptrdiff_t>(row * width),
                              states.begin() + static_cast<std::ptrdiff_t>((row + 1) * width));
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(std::find(kFeatureNames.begin(), kFeatureNames.end(), names[i]) -
                                                      kFeatureNames.begin());
      input.push_back((static_cast<double>(features[row * kFeatures + at]) - (0.25 * static_cast<double>(i) - 1)) /
                      (0.5 + static_cast<double>(i)));
    }
    const auto product = [&](const std::vector<float>& weight, std::size_t unit) {
      double sum = 0;
      for (std::size_t i = 0; i < input.size(); ++i)
        sum += static_cast<double>(weight[unit * input.size() + i]) * input[i];
      return sum;
    };
    if (!spec.tensor("head.weight").values.empty()) {
      scores.push_back(static_cast<float>(product(spec.tensor("head.weight").values, 0) + 0.5));
      continue;
    }
    double score = -0.25;
    for (std::size_t unit = 0; unit < spec.tensor("head.0.bias").values.size(); ++unit) {
      const double x = product(spec.tensor("head.0.weight").values, unit) +
                       static_cast<double>(spec.tensor("head.0.bias").values[unit]);
      score += static_cast<double>(spec.tensor("head.1.weight").values[unit]) * (x / (1 + std::exp(-x)));
    }
    scores.push_back(static_cast<float>(score));
  }
  return scores;
}

TEST(Head, LoadsWhatItsFileSays) {
  const std::shared_ptr<const Head> head = loaded(good("mlp"));
  EXPECT_EQ(head->facts().kind, "mlp");
  EXPECT_EQ(head->facts().activation, "silu");
  EXPECT_EQ(head->facts().width, 21);
  EXPECT_EQ(head->facts().hidden, 13);
  EXPECT_EQ(head->facts().features, kSome);
  EXPECT_EQ(head->facts().trained_on, "noise");
  EXPECT_EQ(loaded(good("linear"))->facts().hidden, 0);
}

TEST(Head, AgreesWithANaiveProductInDoublePrecision) {
  for (const std::string kind : {"linear", "mlp"}) {
    for (const std::uint32_t width : {1u, 7u, 8u, 21u, 256u}) {
      for (const std::vector<std::string>& names :
           {kSome, std::vector<std::string>(kFeatureNames.begin(), kFeatureNames.end()), std::vector<std::string>{}}) {
        const Spec spec = good(kind, width, 13, names);
        const std::shared_ptr<const Head> head = loaded(spec);
        const std::size_t rows = 9;
        const std::vector<float> states = noise(rows * width, 5), features = noise(rows * kFeatures, 6);
        std::vector<float> scores(rows);
        head->apply(states.data(), features.data(), rows, scores.data());
        const std::vector<float> expected = naive(spec, states, features, width, names);
        for (std::size_t row = 0; row < rows; ++row)
          ASSERT_NEAR(scores[row], expected[row], 2e-4) << kind << ' ' << width;
      }
    }
  }
}

TEST(Head, PutsALineByPositionOnItsLogits) {
  for (const std::string kind : {"linear", "mlp"}) {
    Spec spec = good(kind);
    const std::vector<float> states = noise(5 * 21, 5);
    std::vector<float> features = noise(5 * kFeatures, 6), plain(5), scores(5);
    const float at[] = {1, 2, 2.5f, 4, 9};  // before the first knot, on it, halfway, on the last, beyond it
    for (std::size_t row = 0; row < 5; ++row) features[row * kFeatures + kFeatures - 1] = at[row];
    loaded(spec)->apply(states.data(), features.data(), 5, plain.data());
    spec.u32("version", 2);
    spec.floats("position_log_tokens", {2, 3, 4});
    spec.floats("position_scale", {1, 2, 0.5f});
    spec.floats("position_bias", {0, -3, 10});
    loaded(spec)->apply(states.data(), features.data(), 5, scores.data());
    EXPECT_EQ(scores[0], plain[0]);
    EXPECT_EQ(scores[1], plain[1]);
    EXPECT_NEAR(scores[2], 1.5f * plain[2] - 1.5f, 1e-5);
    EXPECT_NEAR(scores[3], 0.5f * plain[3] + 10, 1e-5);
    EXPECT_NEAR(scores[4], 0.5f * plain[4] + 10, 1e-5);
  }
}

TEST(Head, TakesASingleKnotForAllPositions) {
  Spec spec = good("linear");
  const std::vector<float> states = noise(2 * 21, 5), features = noise(2 * kFeatures, 6);
  float plain[2], scores[2];
  loaded(spec)->apply(states.data(), features.data(), 2, plain);
  spec.u32("version", 2);
  spec.floats("position_log_tokens", {3});
  spec.floats("position_scale", {2});
  spec.floats("position_bias", {1});
  loaded(spec)->apply(states.data(), features.data(), 2, scores);
  EXPECT_NEAR(scores[0], 2 * plain[0] + 1, 1e-5);
  EXPECT_NEAR(scores[1], 2 * plain[1] + 1, 1e-5);
}

TEST(Head, AppliesTheRectifierWhereItIsNamed) {
  Spec spec = good("mlp", 1, 2, {});
  spec.text("activation", "relu");
  spec.tensor("head.0.weight").values = {1, -1};
  spec.tensor("head.0.bias").values = {0, 0};
  spec.tensor("head.1.weight").values = {2, 3};
  const float states[] = {5, -5};
  const float features[2 * kFeatures] = {};
  float scores[2];
  loaded(spec)->apply(states, features, 2, scores);
  EXPECT_EQ(scores[0], 10 - 0.25f);
  EXPECT_EQ(scores[1], 15 - 0.25f);
}

TEST(Head, ReadsAFileThatGgufWroteItself) {
  gguf_context* file = gguf_init_empty();
  gguf_set_val_u32(file, "winnow.head.version", 1);
  gguf_set_val_u32(file, "winnow.head.width", 4);
  gguf_set_val_str(file, "winnow.head.layer", "final-norm");
  gguf_set_val_str(file, "winnow.head.kind", "linear");
  gguf_set_val_str(file, "winnow.head.output", "logit");
  gguf_set_val_u32(file, "winnow.head.window", 16);
  const char* names[] = {"mean_logprob"};
  const float mean = 0, deviation = 1;
  gguf_set_arr_str(file, "winnow.head.features", names, 1);
  gguf_set_arr_data(file, "winnow.head.feature_mean", GGUF_TYPE_FLOAT32, &mean, 1);
  gguf_set_arr_data(file, "winnow.head.feature_std", GGUF_TYPE_FLOAT32, &deviation, 1);
  gguf_set_val_str(file, "winnow.head.trained_on", "");
  gguf_set_val_str(file, "winnow.head.model_sha256", "");
  ggml_context* memory = ggml_init({1 << 16, nullptr, false});
  ggml_tensor* weight = ggml_set_name(ggml_new_tensor_2d(memory, GGML_TYPE_F32, 5, 1), "head.weight");
  ggml_tensor* bias = ggml_set_name(ggml_new_tensor_1d(memory, GGML_TYPE_F32, 1), "head.bias");
  for (int i = 0; i < 5; ++i) static_cast<float*>(weight->data)[i] = static_cast<float>(i + 1);
  *static_cast<float*>(bias->data) = 100;
  gguf_add_tensor(file, weight);
  gguf_add_tensor(file, bias);
  const std::string path = temp_path("by-gguf.gguf");
  ASSERT_TRUE(gguf_write_to_file(file, path.c_str(), false));
  gguf_free(file);
  ggml_free(memory);
  const float states[] = {1, 10, 100, 1000};
  float features[kFeatures] = {-2};
  float score = 0;
  Head::load(path)->apply(states, features, 1, &score);
  EXPECT_EQ(score, 1 + 20 + 300 + 4000 - 10 + 100);
}

TEST(Head, SaysWhenThereIsNoFile) {
  EXPECT_EQ(code_of([] { Head::load(temp_path("nowhere.gguf")); }), "HEAD_NOT_FOUND");
  EXPECT_EQ(code_of([] { Head::load(""); }), "HEAD_NOT_FOUND");
  EXPECT_EQ(code_of([] { Head::load(temp_path("")); }), "HEAD_NOT_FOUND") << "a folder";
  EXPECT_EQ(code_of([] { Head::load(std::string("a\0b", 3)); }), "HEAD_NOT_FOUND");
}

TEST(Head, ScoresTheBranchesOfAPoolFromTheirStatesAndConfidence) {
  const std::unique_ptr<Solo> pool = Solo::create(small(), pool_of(4));
  pool->prefill({1, 2, 3});
  pool->fork(fork_of(4));
  pool->advance(5);
  const std::shared_ptr<const Head> head = loaded(good("mlp", 128));
  const std::vector<float> scores = pool->score(*head, {2, 0});
  const std::vector<float> states = pool->states({2, 0}), features = pool->confidence({2, 0});
  std::vector<float> expected(2);
  head->apply(states.data(), features.data(), 2, expected.data());
  EXPECT_EQ(scores, expected);
  EXPECT_NE(scores[0], scores[1]);
  EXPECT_EQ(code_of([&] { pool->score(*loaded(good("linear", 64)), {0}); }), "HEAD_WIDTH");
  EXPECT_EQ(code_of([&] { pool->score(*head, {9}); }), "BRANCH_UNKNOWN");
  EXPECT_TRUE(pool->score(*head, {}).empty());
}

}  // namespace
}  // namespace winnow::test
