// Model: GGUF weights and vocabulary. Immutable once loaded and safe to share between threads.
// Held by std::shared_ptr; every Pool and job keeps one, so weights outlive whoever uses them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct llama_model;
struct llama_vocab;

namespace winnow {

struct RankHead;
using Token = std::int32_t;

struct ModelParams {
  std::string path;
  int gpu_layers = -1;               // -1: all that the device takes
  std::vector<std::string> devices;  // names from devices(); empty: llama.cpp's choice; {"CPU"}: none
  std::string split = "layer";       // "none" | "layer" | "row"
  int main_gpu = 0;
  std::vector<float> tensor_split;  // share of each device; empty: by free memory
  bool mmap = true;
  bool mlock = false;
  bool check_tensors = false;
  bool ranker = false;  // to be read by its rank head; the only way to open an encoder
  bool weights = true;  // false: nothing is allocated; such a model has a vocabulary and sizes (sizes.h), and no pool
  std::function<bool(float)> progress;  // 0..1; returning false cancels the load
};

struct ModelFacts {
  std::string path;
  std::string architecture;
  std::string description;
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
  int context_train = 0;
  int width = 0;  // n_embd of the state after the final norm
  int layers = 0;
  int heads = 0;
  int heads_kv = 0;
  int vocabulary = 0;
  Token bos = -1, eos = -1, eot = -1;
  bool add_bos = false;
  bool has_tokenizer = true;
  std::optional<std::string> chat_template;
  std::shared_ptr<const RankHead> rank;  // of a model opened as a ranker; null otherwise
};

class Pieces;

class Model {
 public:
  // Throws EngineError: MODEL_NOT_FOUND, MODEL_CORRUPT, MODEL_UNSUPPORTED (recurrent, hybrid, encoder,
  // diffusion; the message says which; or as a ranker, without a rank head), DEVICE_UNKNOWN, LOAD_CANCELLED.
  static std::shared_ptr<Model> load(const ModelParams& params);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelFacts& facts() const { return facts_; }

  // Throws NO_TOKENIZER for a model whose vocabulary cannot turn text into tokens.
  // Throws OPTION_INVALID for a stretch of more than half a mebibyte without a space (or of spaces only).
  std::vector<Token> tokenize(std::string_view text, bool add_special, bool parse_special) const;
  // Bytes of the tokens; may end inside a UTF-8 sequence. Control tokens are rendered only if asked.
  std::string detokenize(const Token* tokens, std::size_t count, bool render_special = false) const;
  // Text of one token for display ("<eos>" for control tokens).
  std::string token_text(Token token) const;
  bool is_end(Token token) const;  // any end-of-generation token
  // Made at the first call; takes tens of milliseconds for a large vocabulary. Throws NO_TOKENIZER. Thread-safe.
  std::shared_ptr<const Pieces> pieces() const;
  bool has_weights() const { return has_weights_; }
  // Held while a context is laid out or an adapter comes or goes: llama.cpp counts a model's adapters for the one, and
  // changes their list for the other, on whichever threads these are.
  std::mutex& layout_mutex() const { return layout_mutex_; }

  llama_model* raw() const { return model_; }
  const llama_vocab* vocab() const { return vocab_; }

 private:
  Model() = default;
  std::vector<Token> split(const std::string& clean, bool add_special, bool parse_special) const;
  llama_model* model_ = nullptr;
  const llama_vocab* vocab_ = nullptr;
  ModelFacts facts_;
  bool has_weights_ = true;
  mutable std::mutex layout_mutex_;
  mutable std::mutex pieces_mutex_;
  mutable std::shared_ptr<const Pieces> pieces_;
};

}  // namespace winnow
