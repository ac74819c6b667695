#include "head.h"

#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>

#include "backend.h"
#include "confidence.h"
#include "fixture.h"

namespace winnow::test {
namespace {

// Little endian GGUF, byte by byte, so that every field can be wrong.
struct Bytes {
  std::string text;
  template <typename T>
  Bytes& put(T value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& string(const std::string& value) {
    put<std::uint64_t>(value.size());
    text += value;
    return *this;
  }
};

struct Entry {
  std::string key;
  std::uint32_t type;
  std::string value;
};

struct Spec {
  std::uint32_t version = 3;
  std::vector<Entry> entries;
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> shape;
    std::uint32_t type = 0;
    std::vector<float> values;
    std::int64_t shift = 0;  // added to the right offset
  };
  std::vector<Tensor> tensors;

  void set(const std::string& key, std::uint32_t type, const Bytes& value) {
    for (Entry& entry : entries) {
      if (entry.key == key) {
        entry.type = type;
        entry.value = value.text;
        return;
      }
    }
    entries.push_back({key, type, value.text});
  }
  void u32(const std::string& key, std::uint32_t value) { set("winnow.head." + key, 4, Bytes().put(value)); }
  void text(const std::string& key, const std::string& value) { set("winnow.head." + key, 8, Bytes().string(value)); }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    Bytes bytes;
    bytes.put<std::uint32_t>(8).put<std::uint64_t>(values.size());
    for (const std::string& value : values) bytes.string(value);
    set("winnow.head." + key, 9, bytes);
  }
  void floats(const std::string& key, const std::vector<float>& values) {
    Bytes bytes;
    bytes.put<std::uint32_t>(6).put<std::uint64_t>(values.size());
    for (const float value : values) bytes.put(value);
    set("winnow.head." + key, 9, bytes);
  }
  void remove(const std::string& key) {
    std::erase_if(entries, [&](const Entry& entry) { return entry.key == "winnow.head." + key; });
  }
  Tensor& tensor(const std::string& name) {
    for (Tensor& each : tensors) {
      if (each.name == name) return each;
    }
    tensors.push_back({name, {}, 0, {}, 0});
    return tensors.back();
  }

  std::string bytes() const {
    Bytes out;
    out.text = "GGUF";
    out.put(version).put<std::uint64_t>(tensors.size()).put<std::uint64_t>(entries.size());
    for (const Entry& entry : entries) {
      out.string(entry.key).put(entry.type);
      out.text += entry.value;
    }
    std::uint64_t offset = 0;
    for (const Tensor& each : tensors) {
      out.string(each.name).put<std::uint32_t>(static_cast<std::uint32_t>(each.shape.size()));
      for (const std::uint64_t length : each.shape) out.put(length);
      out.put(each.type).put<std::uint64_t>(offset + static_cast<std::uint64_t>(each.shift));
      offset += (each.values.size() * 4 + 31) / 32 * 32;
    }
    out.text.resize((out.text.size() + 31) / 32 * 32, '\0');
    for (const Tensor& each : tensors) {
      for (const float value : each.values) out.put(value);
      out.text.resize((out.text.size() + 31) / 32 * 32, '\0');
    }
    return out.text;
  }
};

std::vector<float> noise(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

const std::vector<std::string> kSome = {"recent_min_logprob", "mean_logprob", "log_tokens"};

Spec good(const std::string& kind, std::uint32_t width = 21, std::uint32_t hidden = 13,
          const std::vector<std::string>& features = kSome) {
  Spec spec;
  spec.u32("version", 1);
  spec.u32("width", width);
  spec.text("layer", "final-norm");
  spec.text("kind", kind);
  spec.text("output", "logit");
  spec.u32("window", 16);
  spec.texts("features", features);
  std::vector<float> means, deviations;
  for (std::size_t i = 0; i < features.size(); ++i) {
    means.push_back(0.25f * static_cast<float>(i) - 1);
    deviations.push_back(0.5f + static_cast<float>(i));
  }
  spec.floats("feature_mean", means);
  spec.floats("feature_std", deviations);
  spec.text("trained_on", "noise");
  spec.text("model_sha256", "00");
  const std::uint64_t in = width + features.size();
  if (kind == "linear") {
    spec.tensor("head.weight") = {"head.weight", {in, 1}, 0, noise(in, 1), 0};
    spec.tensor("head.bias") = {"head.bias", {1}, 0, {0.5f}, 0};
  } else {
    spec.u32("hidden", hidden);
    spec.text("activation", "silu");
    spec.tensor("head.0.weight") = {"head.0.weight", {in, hidden}, 0, noise(in * hidden, 2), 0};
    spec.tensor("head.0.bias") = {"head.0.bias", {hidden}, 0, noise(hidden, 3), 0};
    spec.tensor("head.1.weight") = {"head.1.weight", {hidden, 1}, 0, noise(hidden, 4), 0};
    spec.tensor("head.1.bias") = {"head.1.bias", {1}, 0, {-0.25f}, 0};
  }
  return spec;
}

std::string written(const std::string& bytes) {
  const std::string path = temp_path("head.gguf");
  write_file(path, bytes);
  return path;
}

std::shared_ptr<const Head> loaded(const Spec& spec) { return Head::load(written(spec.bytes())); }

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

void by_position(Spec& spec, const std::vector<float>& at, const std::vector<float>& scale,
                 const std::vector<float>& bias) {
  spec.u32("version", 2);
  spec.floats("position_log_tokens", at);
  spec.floats("position_scale", scale);
  spec.floats("position_bias", bias);
}

struct Fault {
  std::string name;
  std::function<void(Spec&)> make;
};

TEST(Head, RefusesEveryHandmadeFault) {
  const float infinite = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const std::vector<Fault> faults = {
      {"no version", [](Spec& s) { s.remove("version"); }},
      {"version 2 without positions", [](Spec& s) { s.u32("version", 2); }},
      {"version 3", [](Spec& s) { s.u32("version", 3); }},
      {"no positions", [](Spec& s) { by_position(s, {}, {}, {}); }},
      {"positions that fall",
       [](Spec& s) {
         by_position(s, {2, 1}, {1, 1}, {0, 0});
       }},
      {"a position twice",
       [](Spec& s) {
         by_position(s, {1, 1}, {1, 1}, {0, 0});
       }},
      {"a position that is not a number", [=](Spec& s) { by_position(s, {nan}, {1}, {0}); }},
      {"fewer scales than positions",
       [](Spec& s) {
         by_position(s, {1, 2}, {1}, {0, 0});
       }},
      {"more biases than positions",
       [](Spec& s) {
         by_position(s, {1}, {1}, {0, 0});
       }},
      {"a scale of 0", [](Spec& s) { by_position(s, {1}, {0}, {0}); }},
      {"a scale below 0", [](Spec& s) { by_position(s, {1}, {-1}, {0}); }},
      {"an infinite scale", [=](Spec& s) { by_position(s, {1}, {infinite}, {0}); }},
      {"an infinite bias", [=](Spec& s) { by_position(s, {1}, {1}, {infinite}); }},
      {"positions without the tokens",
       [](Spec& s) {
         by_position(s, {1}, {1}, {0});
         s.texts("features", {"mean_logprob", "min_logprob", "recent_min_logprob"});
       }},
      {"version as text", [](Spec& s) { s.text("version", "1"); }},
      {"version as u64", [](Spec& s) { s.set("winnow.head.version", 10, Bytes().put<std::uint64_t>(1)); }},
      {"no width", [](Spec& s) { s.remove("width"); }},
      {"width 0", [](Spec& s) { s.u32("width", 0); }},
      {"width 2^32-1", [](Spec& s) { s.u32("width", 0xFFFFFFFFu); }},
      {"another width", [](Spec& s) { s.u32("width", 22); }},
      {"no layer", [](Spec& s) { s.remove("layer"); }},
      {"another layer", [](Spec& s) { s.text("layer", "last"); }},
      {"no kind", [](Spec& s) { s.remove("kind"); }},
      {"unknown kind", [](Spec& s) { s.text("kind", "transformer"); }},
      {"the other kind", [](Spec& s) { s.text("kind", "linear"); }},
      {"no hidden", [](Spec& s) { s.remove("hidden"); }},
      {"hidden 0", [](Spec& s) { s.u32("hidden", 0); }},
      {"another hidden", [](Spec& s) { s.u32("hidden", 14); }},
      {"no activation", [](Spec& s) { s.remove("activation"); }},
      {"unknown activation", [](Spec& s) { s.text("activation", "tanh"); }},
      {"another output", [](Spec& s) { s.text("output", "probability"); }},
      {"another window", [](Spec& s) { s.u32("window", 17); }},
      {"no features", [](Spec& s) { s.remove("features"); }},
      {"features as floats",
       [](Spec& s) {
         s.floats("features", {1, 2, 3});
       }},
      {"an unknown feature",
       [](Spec& s) {
         s.texts("features", {"mean_logprob", "luck", "log_tokens"});
       }},
      {"a feature twice",
       [](Spec& s) {
         s.texts("features", {"mean_logprob", "mean_logprob", "log_tokens"});
       }},
      {"fewer features", [](Spec& s) { s.texts("features", {"mean_logprob"}); }},
      {"no means", [](Spec& s) { s.remove("feature_mean"); }},
      {"fewer means", [](Spec& s) { s.floats("feature_mean", {1}); }},
      {"a mean of infinity",
       [=](Spec& s) {
         s.floats("feature_mean", {1, infinite, 1});
       }},
      {"no deviations", [](Spec& s) { s.remove("feature_std"); }},
      {"a deviation of 0",
       [](Spec& s) {
         s.floats("feature_std", {1, 0, 1});
       }},
      {"a deviation under 0",
       [](Spec& s) {
         s.floats("feature_std", {1, -1, 1});
       }},
      {"a deviation of NaN",
       [=](Spec& s) {
         s.floats("feature_std", {1, nan, 1});
       }},
      {"a denormal deviation",
       [](Spec& s) {
         s.floats("feature_std", {1, 1e-42f, 1});
       }},
      {"no trained_on", [](Spec& s) { s.remove("trained_on"); }},
      {"no sha", [](Spec& s) { s.remove("model_sha256"); }},
      {"no tensors", [](Spec& s) { s.tensors.clear(); }},
      {"a tensor missing", [](Spec& s) { s.tensors.pop_back(); }},
      {"a tensor twice", [](Spec& s) { s.tensors.push_back(s.tensors[0]); }},
      {"a tensor turned",
       [](Spec& s) {
         s.tensors[0].shape = {13, 24};
       }},
      {"a flat tensor", [](Spec& s) { s.tensors[0].shape = {24 * 13}; }},
      {"a tensor of no dimension", [](Spec& s) { s.tensors[3].shape = {}; }},
      {"a tensor of five dimensions",
       [](Spec& s) {
         s.tensors[3].shape = {1, 1, 1, 1, 1};
       }},
      {"a tensor of zero length", [](Spec& s) { s.tensors[3].shape = {0}; }},
      {"a tensor of 2^63", [](Spec& s) { s.tensors[3].shape = {std::uint64_t{1} << 63}; }},
      {"a tensor that overflows",
       [](Spec& s) {
         s.tensors[3].shape = {std::uint64_t{1} << 33, std::uint64_t{1} << 33};
       }},
      {"an F16 tensor", [](Spec& s) { s.tensors[0].type = 1; }},
      {"a tensor of unknown type", [](Spec& s) { s.tensors[0].type = 4000; }},
      {"a tensor beyond the end", [](Spec& s) { s.tensors[0].shift = 1 << 20; }},
      {"a tensor before the start", [](Spec& s) { s.tensors[0].shift = -64; }},
      {"a tensor with a long name", [](Spec& s) { s.tensors[0].name = std::string(1000, 'x'); }},
      {"a weight of NaN", [=](Spec& s) { s.tensors[0].values[5] = nan; }},
      {"a bias of infinity", [=](Spec& s) { s.tensors[3].values[0] = infinite; }},
      {"GGUF version 1", [](Spec& s) { s.version = 1; }},
      {"GGUF version 99", [](Spec& s) { s.version = 99; }},
      {"a big endian version", [](Spec& s) { s.version = 0x03000000; }},
      {"an alignment of 3", [](Spec& s) { s.set("general.alignment", 4, Bytes().put<std::uint32_t>(3)); }},
      {"an alignment of 0", [](Spec& s) { s.set("general.alignment", 4, Bytes().put<std::uint32_t>(0)); }},
      {"an alignment of 2^31", [](Spec& s) { s.set("general.alignment", 4, Bytes().put<std::uint32_t>(1u << 31)); }},
      {"a key twice", [](Spec& s) { s.entries.push_back(s.entries[0]); }},
      {"an empty key",
       [](Spec& s) {
         s.entries.push_back({"", 4, std::string(4, '\0')});
       }},
      {"a value of unknown type",
       [](Spec& s) {
         s.entries.push_back({"x", 77, std::string(4, '\0')});
       }},
      {"an array of arrays",
       [](Spec& s) {
         s.entries.push_back({"x", 9, Bytes().put<std::uint32_t>(9).put<std::uint64_t>(1).text});
       }},
      {"an array of 2^60",
       [](Spec& s) {
         s.entries.push_back({"x", 9, Bytes().put<std::uint32_t>(0).put(std::uint64_t{1} << 60).text});
       }},
      {"an array of 2^60 strings",
       [](Spec& s) {
         s.entries.push_back({"x", 9, Bytes().put<std::uint32_t>(8).put(std::uint64_t{1} << 60).text});
       }},
      {"a string of 2^60",
       [](Spec& s) {
         s.entries.push_back({"x", 8, Bytes().put(std::uint64_t{1} << 60).text});
       }},
  };
  ASSERT_GE(faults.size(), 30u);
  for (const Fault& fault : faults) {
    Spec spec = good("mlp");
    fault.make(spec);
    EXPECT_EQ(code_of([&] { loaded(spec); }), "HEAD_CORRUPT") << fault.name;
  }
  const std::string whole = good("mlp").bytes();
  EXPECT_NO_THROW(Head::load(written(whole)));
  for (std::string bytes : {std::string(), std::string("G"), std::string("GGUF"), std::string("GGML") + whole.substr(4),
                            std::string(4096, '\0'), std::string(4096, '\xFF')}) {
    EXPECT_EQ(code_of([&] { Head::load(written(bytes)); }), "HEAD_CORRUPT");
  }
  // Counts of 2^60 in the header.
  for (const std::size_t at : {std::size_t{8}, std::size_t{16}}) {
    std::string bytes = whole;
    const std::uint64_t huge = std::uint64_t{1} << 60;
    std::memcpy(bytes.data() + at, &huge, sizeof huge);
    EXPECT_EQ(code_of([&] { Head::load(written(bytes)); }), "HEAD_CORRUPT");
  }
}

TEST(Head, RefusesTheFileCutAtAnyLength) {
  const std::string whole = good("mlp", 3, 2).bytes();
  const std::size_t data = whole.size() - 32;  // the last tensor is one value and its padding
  for (std::size_t length = 0; length <= data; ++length) {
    ASSERT_EQ(code_of([&] { Head::load(written(whole.substr(0, length))); }), "HEAD_CORRUPT") << length;
  }
}

TEST(Head, SurvivesRandomMutations) {
  std::mt19937 random(4);
  const std::string whole = good("mlp", 5, 3).bytes();
  int refused = 0, accepted = 0;
  for (int trial = 0; trial < 1500; ++trial) {
    std::string bytes = whole;
    for (unsigned change = 1 + random() % 4; change > 0; --change) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0: bytes[at] = static_cast<char>(random()); break;
        case 1: bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8))); break;
        case 2: bytes.erase(at, random() % 9); break;
        default: bytes.insert(at, std::string(random() % 9, static_cast<char>(random())));
      }
    }
    const std::string path = written(bytes);
    const std::string code = code_of([&] {
      const std::shared_ptr<const Head> head = Head::load(path);
      const std::size_t width = static_cast<std::size_t>(head->facts().width);
      const std::vector<float> state(width, 1.0f), features(kFeatures, 1.0f);
      float score = 0;
      head->apply(state.data(), features.data(), 1, &score);
    });
    ASSERT_TRUE(code.empty() || code == "HEAD_CORRUPT") << code;
    ++(code.empty() ? accepted : refused);
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(accepted, 50) << "a changed weight is still a head";
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
