#include "model.h"

#include <ggml-backend.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "backend.h"
#include "error.h"
#include "model_gate.h"
#include "rank_head.h"

namespace winnow {
namespace {

struct FreeModel {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
using ModelHandle = std::unique_ptr<llama_model, FreeModel>;

std::string meta(const llama_model* model, const std::string& key) {
  char text[256] = {};
  return llama_model_meta_val_str(model, key.c_str(), text, sizeof text) < 0 ? std::string() : std::string(text);
}

// Why a pool cannot fork and advance this model; empty when it can. Forking copies a per-token cache, which
// recurrent and hybrid models do not have, and the others here do not decode token after token.
std::string unsupported_reason(const llama_model* model) {
  const std::string architecture = meta(model, "general.architecture");
  static const std::set<std::string> encoders = {
      "bert",     "jina-bert-v2", "jina-bert-v3",    "nomic-bert",       "nomic-bert-moe", "neo-bert",
      "eurobert", "modern-bert",  "gemma-embedding", "wavtokenizer-dec", "t5encoder"};
  static const std::set<std::string> drafts = {"eagle3", "dflash", "gemma4-assistant"};
  if (llama_model_is_recurrent(model)) return "is recurrent";
  if (llama_model_is_hybrid(model)) return "is a hybrid with recurrent layers";
  if (llama_model_is_diffusion(model)) return "is a diffusion model";
  if (encoders.count(architecture) > 0 || !llama_model_has_decoder(model)) return "is an encoder only";
  if (drafts.count(architecture) > 0) return "is a draft that needs another model";
  if (llama_model_has_encoder(model)) return "is an encoder-decoder";
  if (meta(model, architecture + ".attention.causal") == "false") return "attends in both directions";
  return {};
}

std::vector<ggml_backend_dev_t> choose_devices(const std::vector<std::string>& names) {
  std::vector<ggml_backend_dev_t> chosen;
  for (const std::string& name : names) {
    ggml_backend_dev_t found = nullptr;
    std::string known;
    for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
      const ggml_backend_dev_t device = ggml_backend_dev_get(i);
      if (!known.empty()) known += ", ";
      known += ggml_backend_dev_name(device);
      if (name == ggml_backend_dev_name(device)) found = device;
    }
    if (found == nullptr)
      throw EngineError("DEVICE_UNKNOWN", "Expected one of " + known + " for device but received '" + name + "'");
    // The CPU is always there and is not named in llama.cpp's list of devices to offload to.
    if (ggml_backend_dev_type(found) == GGML_BACKEND_DEVICE_TYPE_CPU) continue;
    if (std::find(chosen.begin(), chosen.end(), found) != chosen.end()) {
      throw EngineError("OPTION_INVALID", "Expected each device once but received '" + name + "' twice");
    }
    chosen.push_back(found);
  }
  return chosen;
}

int gpu_count(const std::vector<ggml_backend_dev_t>& chosen) {
  if (!chosen.empty()) return static_cast<int>(chosen.size());
  int count = 0;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    count += ggml_backend_dev_type(ggml_backend_dev_get(i)) == GGML_BACKEND_DEVICE_TYPE_GPU ? 1 : 0;
  }
  return count;
}

struct Progress {
  const std::function<bool(float)>* report = nullptr;
  bool cancelled = false;
};

bool on_progress(float share, void* data) {
  Progress* progress = static_cast<Progress*>(data);
  if (!*progress->report) return true;
  try {
    progress->cancelled = !(*progress->report)(share);
  } catch (...) {
    progress->cancelled = true;  // the caller's exception may not cross llama.cpp
  }
  return !progress->cancelled;
}

// nullptr when llama.cpp refused; its reason is in last_log().
ModelHandle load_by_llama(const std::string& path, const llama_model_params& params) {
  const AssertGuard guard;
  clear_last_log();
  try {
    return ModelHandle(llama_model_load_from_file(path.c_str(), params));
  } catch (const std::exception& error) {
    throw_corrupt_model(path, std::string("one that llama.cpp cannot load: ") + error.what());
  }
}

}  // namespace

std::shared_ptr<Model> Model::load(const ModelParams& params) {
  if (!backends_loaded())
    throw EngineError("BACKEND_LOAD", "Expected load_backends() before a model is loaded but received none");
  check_model_file(params.path);
  const std::shared_ptr<const RankHead> rank = params.ranker ? read_rank_head(params.path) : nullptr;

  static const std::set<std::string> splits = {"none", "layer", "row"};
  if (splits.count(params.split) == 0)
    throw EngineError("OPTION_INVALID", "Expected none, layer or row for split but received '" + params.split + "'");
  std::vector<ggml_backend_dev_t> chosen = choose_devices(params.devices);
  const bool cpu_only = !params.devices.empty() && chosen.empty();
  const int gpus = cpu_only ? 0 : gpu_count(chosen);
  if (gpus > 0 && (params.main_gpu < 0 || params.main_gpu >= gpus)) {
    throw EngineError("OPTION_INVALID", "Expected 0 to " + std::to_string(gpus - 1) + " for main GPU but received " +
                                            std::to_string(params.main_gpu));
  }
  std::vector<float> shares(llama_max_devices() + 1, 0.0f);
  if (params.tensor_split.size() > llama_max_devices()) {
    throw EngineError("OPTION_INVALID", "Expected at most " + std::to_string(llama_max_devices()) +
                                            " shares for tensor split but received " +
                                            std::to_string(params.tensor_split.size()));
  }
  for (std::size_t i = 0; i < params.tensor_split.size(); ++i) {
    if (!std::isfinite(params.tensor_split[i]) || params.tensor_split[i] < 0) {
      throw EngineError("OPTION_INVALID", "Expected shares of 0 or more for tensor split but received " +
                                              std::to_string(params.tensor_split[i]));
    }
    shares[i] = params.tensor_split[i];
  }
  chosen.push_back(nullptr);

  // What the model is stands in its metadata; a model of the wrong kind is refused before its weights are read.
  llama_model_params options = llama_model_default_params();
  options.vocab_only = true;
  {
    const ModelHandle header = load_by_llama(params.path, options);
    if (!header) throw_corrupt_model(params.path, "one that llama.cpp cannot load: " + last_log());
    const bool encoder = rank != nullptr && rank->encoder;
    const std::string reason = encoder ? std::string() : unsupported_reason(header.get());
    if (!reason.empty()) {
      throw EngineError("MODEL_UNSUPPORTED",
                        "Expected a decoder whose cache can be forked but received architecture '" +
                            meta(header.get(), "general.architecture") + "', which " + reason);
    }
  }

  Progress progress;
  progress.report = &params.progress;
  options = llama_model_default_params();
  options.n_gpu_layers = cpu_only ? 0 : params.gpu_layers;
  options.devices = params.devices.empty() ? nullptr : chosen.data();
  options.split_mode = gpus == 0 || params.split == "layer" ? LLAMA_SPLIT_MODE_LAYER
                       : params.split == "row"              ? LLAMA_SPLIT_MODE_ROW
                                                            : LLAMA_SPLIT_MODE_NONE;
  options.main_gpu = gpus == 0 ? 0 : params.main_gpu;
  options.tensor_split = params.tensor_split.empty() ? nullptr : shares.data();
  options.load_mode = params.mmap ? (params.mlock ? LLAMA_LOAD_MODE_MMAP_MLOCK : LLAMA_LOAD_MODE_MMAP)
                                  : (params.mlock ? LLAMA_LOAD_MODE_MLOCK : LLAMA_LOAD_MODE_NONE);
  options.check_tensors = params.check_tensors;
  if (!params.weights) {
    options.no_alloc = true;
    options.load_mode = LLAMA_LOAD_MODE_NONE;
    options.check_tensors = false;
  }
  options.progress_callback = on_progress;
  options.progress_callback_user_data = &progress;
  ModelHandle handle = load_by_llama(params.path, options);
  if (progress.cancelled)
    throw EngineError("LOAD_CANCELLED", "Expected the load of '" + params.path + "' to finish but it was cancelled");
  if (!handle) throw_corrupt_model(params.path, "one that llama.cpp cannot load: " + last_log());

  // From here on Model owns the handle.
  const std::shared_ptr<Model> model(new Model());
  model->model_ = handle.release();
  model->has_weights_ = params.weights;
  model->vocab_ = llama_model_get_vocab(model->model_);
  ModelFacts& facts = model->facts_;
  facts.path = params.path;
  facts.architecture = meta(model->model_, "general.architecture");
  char description[256] = {};
  llama_model_desc(model->model_, description, sizeof description);
  facts.description = description;
  facts.parameters = llama_model_n_params(model->model_);
  facts.bytes = llama_model_size(model->model_);
  facts.context_train = llama_model_n_ctx_train(model->model_);
  facts.width = llama_model_n_embd_out(model->model_);
  facts.layers = llama_model_n_layer(model->model_);
  facts.heads = llama_model_n_head(model->model_);
  facts.heads_kv = llama_model_n_head_kv(model->model_);
  facts.vocabulary = llama_vocab_n_tokens(model->vocab_);
  facts.bos = llama_vocab_bos(model->vocab_);
  facts.eos = llama_vocab_eos(model->vocab_);
  facts.eot = llama_vocab_eot(model->vocab_);
  facts.has_tokenizer = llama_vocab_type(model->vocab_) != LLAMA_VOCAB_TYPE_NONE;
  facts.add_bos = facts.has_tokenizer && llama_vocab_get_add_bos(model->vocab_) && facts.bos >= 0;
  if (const char* chat_template = llama_model_chat_template(model->model_, nullptr))
    facts.chat_template = chat_template;
  if (facts.vocabulary < 1 || facts.context_train < 1 || facts.width < 1)
    throw_corrupt_model(params.path, "a vocabulary, context or width of zero");
  facts.rank = rank;
  if (rank != nullptr && rank->head != nullptr && rank->head->facts().width != facts.width) {
    throw_corrupt_model(params.path, "a rank head of width " + std::to_string(rank->head->facts().width) +
                                         " for states of width " + std::to_string(facts.width));
  }
  return model;
}

Model::~Model() {
  if (model_ != nullptr) llama_model_free(model_);
}

std::string Model::detokenize(const Token* tokens, std::size_t count, bool render_special) const {
  if (!facts_.has_tokenizer)
    throw EngineError("NO_TOKENIZER",
                      "Expected a model with a tokenizer but received '" + facts_.path + "', which has none");
  std::string text;
  std::string piece(64, '\0');
  const AssertGuard guard;
  for (std::size_t i = 0; i < count; ++i) {
    if (tokens[i] < 0 || tokens[i] >= facts_.vocabulary) {
      throw EngineError("TOKEN_INVALID", "Expected token ids from 0 to " + std::to_string(facts_.vocabulary - 1) +
                                             " but received " + std::to_string(tokens[i]));
    }
    std::int32_t length = llama_token_to_piece(vocab_, tokens[i], piece.data(), static_cast<std::int32_t>(piece.size()),
                                               0, render_special);
    if (length < 0) {
      piece.resize(static_cast<std::size_t>(-length));
      length = llama_token_to_piece(vocab_, tokens[i], piece.data(), static_cast<std::int32_t>(piece.size()), 0,
                                    render_special);
    }
    text.append(piece, 0, static_cast<std::size_t>(std::max(length, 0)));
  }
  return text;
}

std::string Model::token_text(Token token) const {
  if (token < 0 || token >= facts_.vocabulary) {
    throw EngineError("TOKEN_INVALID", "Expected token ids from 0 to " + std::to_string(facts_.vocabulary - 1) +
                                           " but received " + std::to_string(token));
  }
  if (!facts_.has_tokenizer) return std::string("<").append(std::to_string(token)).append(">");
  return detokenize(&token, 1, true);
}

bool Model::is_end(Token token) const { return llama_vocab_is_eog(vocab_, token); }

}  // namespace winnow
