#include "rank_head.h"

#include <ggml.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <utility>

#include "error.h"
#include "model_gate.h"

namespace winnow {
namespace {

constexpr std::uint64_t kMaxWidth = 1 << 20;  // no model is near it; keeps sizes far from overflow

[[noreturn]] void throw_unsupported(const std::string& path, const std::string& architecture,
                                    const std::string& received) {
  throw EngineError("MODEL_UNSUPPORTED", "Expected a reranker in '" + path + "' but received architecture '" +
                                             architecture + "', which " + received);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string text_of(const GgufFile& file, const std::string& key) {
  const GgufValue* value = file.find(key);
  return value == nullptr || value->is_array || value->type != GgufType::string ? std::string() : value->text;
}

// Outputs by the labels the file names: which is the score, which is taken off it.
void name_outputs(const std::string& path, const std::string& architecture, RankHead& rank) {
  if (rank.labels.size() < 2) return;
  rank.yes = -1;
  for (std::size_t i = 0; i < rank.labels.size(); ++i) {
    const std::string label = lower(rank.labels[i]);
    if (label == "yes") rank.yes = static_cast<int>(i);
    if (label == "no") rank.no = static_cast<int>(i);
  }
  if (rank.labels.size() == 2 && rank.yes >= 0 && rank.no >= 0) return;
  std::string named;
  for (std::size_t i = 0; i < std::min<std::size_t>(rank.labels.size(), 4); ++i)
    named += (named.empty() ? "'" : ", '") + rank.labels[i].substr(0, 40) + "'";
  if (rank.labels.size() > 4) named += " and " + std::to_string(rank.labels.size() - 4) + " more";
  throw_unsupported(path, architecture, "has the labels " + named + ", not one or yes and no");
}

std::vector<float> weights_of(const std::string& path, const GgufFile& file, const GgufTensor& tensor,
                              std::uint64_t columns, std::uint64_t rows) {
  const ggml_type type = static_cast<ggml_type>(tensor.type);  // a known one: the model gate has seen the file
  if (type == GGML_TYPE_F32) return read_gguf_f32(path, file, tensor);
  const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
  const std::int64_t width = static_cast<std::int64_t>(columns);
  if (to_float == nullptr || width % ggml_blck_size(type) != 0)
    throw GgufError("tensor '" + tensor.name + "' of a type that cannot be read");
  const std::vector<char> bytes = read_gguf_bytes(path, file, tensor, ggml_row_size(type, width) * rows);
  std::vector<float> values(static_cast<std::size_t>(columns * rows));
  to_float(bytes.data(), values.data(), static_cast<std::int64_t>(values.size()));
  return values;
}

std::shared_ptr<const Head> decoder_head(const std::string& path, const GgufFile& file, const GgufTensor& tensor,
                                         std::uint64_t columns, const RankHead& rank) {
  const std::uint64_t rows = std::max<std::uint64_t>(rank.labels.size(), 1);
  const std::vector<float> values = weights_of(path, file, tensor, columns, rows);
  std::vector<float> weight(static_cast<std::size_t>(columns));
  for (std::size_t i = 0; i < weight.size(); ++i) {
    weight[i] = values[static_cast<std::size_t>(rank.yes) * weight.size() + i];
    if (rank.no >= 0) weight[i] -= values[static_cast<std::size_t>(rank.no) * weight.size() + i];
    if (!std::isfinite(weight[i])) throw GgufError("a value in tensor '" + tensor.name + "' that is not finite");
  }
  return Head::linear(path, std::move(weight));
}

}  // namespace

bool is_ranking_encoder(const std::string& architecture) {
  return architecture == "bert" || architecture == "modern-bert" || architecture == "neo-bert" ||
         architecture == "jina-bert-v2";
}

std::shared_ptr<const RankHead> read_rank_head(const std::string& path) {
  try {
    const GgufFile file = read_gguf(path);
    const std::string architecture = text_of(file, "general.architecture");
    const std::shared_ptr<RankHead> rank = std::make_shared<RankHead>();
    rank->encoder = is_ranking_encoder(architecture);
    rank->rerank_template = text_of(file, "tokenizer.chat_template.rerank");
    const std::string name = architecture == "jina-bert-v2" ? "cls.weight" : "cls.output.weight";
    const GgufTensor* tensor = file.tensor(name);
    if (tensor == nullptr) throw_unsupported(path, architecture, "has no rank head (no tensor " + name + ")");
    if (const GgufValue* labels = file.find(architecture + ".classifier.output_labels")) rank->labels = labels->strings;
    name_outputs(path, architecture, *rank);
    // llama.cpp checks the shape of a head it loads; but it takes what rank pooling made of Jina's for that many
    // labels.
    std::vector<std::uint64_t> shape = tensor->shape;
    shape.resize(4, 1);
    if (tensor->shape.empty() || shape[0] < 1 || shape[0] > kMaxWidth ||
        shape[1] != std::max<std::size_t>(rank->labels.size(), 1) || shape[2] != 1 || shape[3] != 1) {
      throw GgufError("tensor '" + name + "' of " + std::to_string(shape[0]) + " x " + std::to_string(shape[1]) +
                      " for " + std::to_string(std::max<std::size_t>(rank->labels.size(), 1)) + " labels");
    }
    if (!rank->encoder) rank->head = decoder_head(path, file, *tensor, shape[0], *rank);
    return rank;
  } catch (const GgufError& error) {
    throw_corrupt_model(path, error.what());
  }
}

}  // namespace winnow
