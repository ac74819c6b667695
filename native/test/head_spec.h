// A head file byte by byte, so that every field can be wrong.
#pragma once

#include <memory>
#include <random>

#include "fixture.h"
#include "head.h"

namespace winnow::test {

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

inline std::vector<float> noise(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

inline const std::vector<std::string> kSome = {"recent_min_logprob", "mean_logprob", "log_tokens"};

inline Spec good(const std::string& kind, std::uint32_t width = 21, std::uint32_t hidden = 13,
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

inline std::string written(const std::string& bytes) {
  const std::string path = temp_path("head.gguf");
  write_file(path, bytes);
  return path;
}

inline std::shared_ptr<const Head> loaded(const Spec& spec) { return Head::load(written(spec.bytes())); }

}  // namespace winnow::test
