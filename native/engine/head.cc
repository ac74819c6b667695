#include "head.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <new>
#include <set>
#include <utility>

#include "confidence.h"
#include "error.h"
#include "gguf_file.h"

namespace winnow {
namespace {

constexpr double kMaxWidth = 1 << 20;  // no model is near it; keeps sizes far from overflow

const GgufValue& need(const GgufFile& file, const std::string& key, GgufType type, bool is_array) {
  const GgufValue* value = file.find("winnow.head." + key);
  if (value == nullptr) throw GgufError("no winnow.head." + key);
  if (value->type != type || value->is_array != is_array) throw GgufError("winnow.head." + key + " of another type");
  return *value;
}

int need_size(const GgufFile& file, const std::string& key) {
  const double value = need(file, key, GgufType::u32, false).number;
  if (value < 1 || value > kMaxWidth) throw GgufError("winnow.head." + key + " = " + std::to_string(value));
  return static_cast<int>(value);
}

void need_text(const GgufFile& file, const std::string& key, const std::set<std::string>& allowed) {
  const std::string& value = need(file, key, GgufType::string, false).text;
  if (allowed.count(value) == 0) throw GgufError("winnow.head." + key + " = '" + value + "'");
}

// Shapes are in ggml order (row length first); trailing ones do not matter.
std::vector<float> need_tensor(const std::string& path, const GgufFile& file, const std::string& name,
                               std::uint64_t columns, std::uint64_t rows) {
  const GgufTensor* tensor = file.tensor(name);
  if (tensor == nullptr) throw GgufError("no tensor '" + name + "'");
  std::vector<std::uint64_t> shape = tensor->shape;
  while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
  std::vector<std::uint64_t> expected = {columns, rows};
  while (expected.size() > 1 && expected.back() == 1) expected.pop_back();
  if (shape != expected) {
    std::string received;
    for (const std::uint64_t length : tensor->shape)
      received += (received.empty() ? "" : " x ") + std::to_string(length);
    throw GgufError("tensor '" + name + "' of shape " + received + " where " + std::to_string(columns) + " x " +
                    std::to_string(rows) + " belongs");
  }
  std::vector<float> values = read_gguf_f32(path, file, *tensor);
  for (const float value : values) {
    if (!std::isfinite(value)) throw GgufError("a value in tensor '" + name + "' that is not finite");
  }
  return values;
}

// Throws where the knots could not be read as head.h has them.
PositionLine need_position(const GgufFile& file, const std::vector<std::string>& features) {
  const auto floats = [&](const std::string& key) {
    const std::vector<double>& numbers = need(file, "position_" + key, GgufType::f32, true).numbers;
    return std::vector<float>(numbers.begin(), numbers.end());
  };
  PositionLine line{floats("log_tokens"), floats("scale"), floats("bias")};
  const std::size_t knots = line.log_tokens.size();
  if (knots == 0 || line.scale.size() != knots || line.bias.size() != knots) {
    throw GgufError(std::to_string(knots) + " positions with " + std::to_string(line.scale.size()) + " scales and " +
                    std::to_string(line.bias.size()) + " biases");
  }
  for (std::size_t i = 0; i < knots; ++i) {
    if (!std::isfinite(line.log_tokens[i]) || (i > 0 && !(line.log_tokens[i] > line.log_tokens[i - 1])))
      throw GgufError("positions that are not finite and ascending");
    if (!std::isfinite(line.scale[i]) || line.scale[i] < std::numeric_limits<float>::min())
      throw GgufError("a scale by position that is not finite and positive");
    if (!std::isfinite(line.bias[i])) throw GgufError("a bias by position that is not finite");
  }
  if (std::find(features.begin(), features.end(), "log_tokens") == features.end())
    throw GgufError("scales by position without the feature 'log_tokens'");
  return line;
}

// Eight partial sums: the compiler may not reorder a single one, and vectorises these.
float dot(const float* a, const float* b, std::size_t count) {
  float lanes[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  float sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

float activate(float x, bool silu) { return silu ? x / (1.0f + std::exp(-x)) : std::max(x, 0.0f); }

}  // namespace

float PositionLine::score(float logit, float at_log_tokens) const {
  if (log_tokens.empty()) return logit;
  const std::size_t above = static_cast<std::size_t>(
      std::upper_bound(log_tokens.begin(), log_tokens.end(), at_log_tokens) - log_tokens.begin());
  const std::size_t high = std::min(above, log_tokens.size() - 1), low = above == 0 ? 0 : above - 1;
  const double from = static_cast<double>(log_tokens[low]), to = static_cast<double>(log_tokens[high]);
  const double part = high == low ? 0 : (static_cast<double>(at_log_tokens) - from) / (to - from);
  const auto between = [&](const std::vector<float>& line) {
    return static_cast<double>(line[low]) + part * (static_cast<double>(line[high]) - static_cast<double>(line[low]));
  };
  return static_cast<float>(between(scale) * static_cast<double>(logit) + between(bias));
}

std::shared_ptr<const Head> Head::load(const std::string& path) {
  std::error_code failed;
  if (path.find('\0') != std::string::npos || !std::filesystem::is_regular_file(std::filesystem::path(path), failed)) {
    throw EngineError("HEAD_NOT_FOUND", "Expected a head file (GGUF) but received '" + path + "', which is not a file");
  }
  try {
    const GgufFile file = read_gguf(path);
    const std::shared_ptr<Head> head = std::make_shared<Head>();
    HeadFacts& facts = head->facts_;
    facts.path = path;
    const double version = need(file, "version", GgufType::u32, false).number;
    if (version != 1 && version != 2)
      throw GgufError("winnow.head.version = " + std::to_string(static_cast<std::int64_t>(version)));
    need_text(file, "layer", {"final-norm"});
    need_text(file, "output", {"logit"});
    need_text(file, "kind", {"linear", "mlp"});
    const double window = need(file, "window", GgufType::u32, false).number;
    if (window != kWindow) throw GgufError("winnow.head.window = " + std::to_string(static_cast<std::int64_t>(window)));
    facts.kind = need(file, "kind", GgufType::string, false).text;
    facts.width = need_size(file, "width");
    facts.trained_on = need(file, "trained_on", GgufType::string, false).text;
    facts.model_sha256 = need(file, "model_sha256", GgufType::string, false).text;

    facts.features = need(file, "features", GgufType::string, true).strings;
    const std::vector<double>& means = need(file, "feature_mean", GgufType::f32, true).numbers;
    const std::vector<double>& deviations = need(file, "feature_std", GgufType::f32, true).numbers;
    if (means.size() != facts.features.size() || deviations.size() != facts.features.size()) {
      throw GgufError(std::to_string(facts.features.size()) + " features with " + std::to_string(means.size()) +
                      " means and " + std::to_string(deviations.size()) + " deviations");
    }
    for (std::size_t i = 0; i < facts.features.size(); ++i) {
      const auto at = std::find(kFeatureNames.begin(), kFeatureNames.end(), facts.features[i]);
      if (at == kFeatureNames.end()) throw GgufError("unknown feature '" + facts.features[i] + "'");
      const int index = static_cast<int>(at - kFeatureNames.begin());
      if (std::count(head->feature_index_.begin(), head->feature_index_.end(), index) > 0) {
        throw GgufError("feature '" + facts.features[i] + "' twice");
      }
      // The smallest normal float keeps 1 / std finite.
      if (!std::isfinite(means[i]) || !std::isfinite(deviations[i]) ||
          deviations[i] < static_cast<double>(std::numeric_limits<float>::min())) {
        throw GgufError("a mean or deviation of '" + facts.features[i] + "' that is not finite and positive");
      }
      head->feature_index_.push_back(index);
      head->feature_mean_.push_back(static_cast<float>(means[i]));
      head->feature_std_.push_back(static_cast<float>(deviations[i]));
    }

    if (version == 2) head->position_ = need_position(file, facts.features);
    const std::uint64_t in = static_cast<std::uint64_t>(facts.width) + facts.features.size();
    if (facts.kind == "linear") {
      head->weight0_ = need_tensor(path, file, "head.weight", in, 1);
      head->bias1_ = need_tensor(path, file, "head.bias", 1, 1)[0];
    } else {
      need_text(file, "activation", {"silu", "relu"});
      facts.activation = need(file, "activation", GgufType::string, false).text;
      facts.hidden = need_size(file, "hidden");
      const std::uint64_t hidden = static_cast<std::uint64_t>(facts.hidden);
      head->weight0_ = need_tensor(path, file, "head.0.weight", in, hidden);
      head->bias0_ = need_tensor(path, file, "head.0.bias", hidden, 1);
      head->weight1_ = need_tensor(path, file, "head.1.weight", hidden, 1);
      head->bias1_ = need_tensor(path, file, "head.1.bias", 1, 1)[0];
    }
    return head;
  } catch (const GgufError& error) {
    throw EngineError("HEAD_CORRUPT", "Expected a Winnow head in '" + path + "' but received " + error.what());
  } catch (const std::bad_alloc&) {
    throw EngineError("HEAD_CORRUPT", "Expected a Winnow head in '" + path + "' but received one larger than memory");
  }
}

std::shared_ptr<const Head> Head::linear(const std::string& path, std::vector<float> weight) {
  const std::shared_ptr<Head> head = std::make_shared<Head>();
  head->facts_.path = path;
  head->facts_.kind = "linear";
  head->facts_.width = static_cast<int>(weight.size());
  head->weight0_ = std::move(weight);
  return head;
}

void Head::apply(const float* states, const float* features, std::size_t rows, float* out) const {
  const std::size_t width = static_cast<std::size_t>(facts_.width);
  const std::size_t in = width + feature_index_.size();
  std::vector<float> input(in);
  const std::size_t log_tokens = static_cast<std::size_t>(
      std::find(kFeatureNames.begin(), kFeatureNames.end(), std::string("log_tokens")) - kFeatureNames.begin());
  // A head without knots may come without features: it does not look at them.
  const auto scored = [&](float logit, std::size_t row) {
    return position_.log_tokens.empty() ? logit : position_.score(logit, features[row * kFeatures + log_tokens]);
  };
  for (std::size_t row = 0; row < rows; ++row) {
    std::copy_n(states + row * width, width, input.begin());
    for (std::size_t i = 0; i < feature_index_.size(); ++i) {
      const float value = features[row * kFeatures + static_cast<std::size_t>(feature_index_[i])];
      input[width + i] = (value - feature_mean_[i]) / feature_std_[i];
    }
    if (facts_.hidden == 0) {
      out[row] = scored(dot(weight0_.data(), input.data(), in) + bias1_, row);
      continue;
    }
    float sum = bias1_;
    const bool silu = facts_.activation == "silu";
    for (std::size_t unit = 0; unit < bias0_.size(); ++unit) {
      sum += weight1_[unit] * activate(dot(weight0_.data() + unit * in, input.data(), in) + bias0_[unit], silu);
    }
    out[row] = scored(sum, row);
  }
}

}  // namespace winnow
