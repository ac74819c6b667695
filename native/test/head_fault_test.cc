// Head files with something wrong in them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>

#include "confidence.h"
#include "head_spec.h"

namespace winnow::test {
namespace {

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

}  // namespace
}  // namespace winnow::test
