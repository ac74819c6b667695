#include "leader_sampler.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

#include <stdexcept>
#include <utility>

struct LeaderSampler::Leader {
  float temperature = 1;
  std::int64_t width = 0;
  ggml_context* tensors = nullptr;
  ggml_backend_buffer_t buffer = nullptr;
  ggml_tensor* head = nullptr;
  ggml_tensor* draws = nullptr;  // of the graph that was built last
  std::vector<float> values;

  ~Leader() {
    ggml_backend_buffer_free(buffer);
    ggml_free(tensors);
  }

  // data.logits is a view of the logits of all rows, padded; of those, src[1] is the state. When llama.cpp asks what
  // the backend can do, it is a lone row with nothing behind it.
  void build(ggml_context* context, llama_sampler_data* data) {
    ggml_tensor* const padded = data->logits->view_src;
    ggml_tensor* const logits =
        padded != nullptr ? padded->src[0] : ggml_reshape_2d(context, data->logits, data->logits->ne[0], 1);
    ggml_tensor* const state =
        padded != nullptr ? logits->src[1] : ggml_new_tensor_2d(context, GGML_TYPE_F32, width, 1);
    const std::int64_t vocabulary = logits->ne[0], rows = logits->ne[1];
    ggml_tensor* const sums =
        ggml_cumsum(context, ggml_soft_max_ext(context, logits, nullptr, 1.0f / temperature, 0.0f));
    draws = ggml_new_tensor_2d(context, GGML_TYPE_F32, 1, rows);
    ggml_set_input(draws);
    ggml_set_name(draws, "winnow_draws");
    // 1 where the running sum exceeds the draw; the first such token is as many places before the end.
    ggml_tensor* const above = ggml_step(context, ggml_sub(context, sums, ggml_repeat(context, draws, sums)));
    ggml_tensor* const count = ggml_sum_rows(context, above);
    ggml_tensor* const token =
        ggml_clamp(context, ggml_scale_bias(context, count, -1.0f, static_cast<float>(vocabulary)), 0.0f,
                   static_cast<float>(vocabulary - 1));
    ggml_tensor* const score = ggml_mul_mat(context, head, state);
    data->probs = ggml_concat(context, ggml_reshape_1d(context, token, rows), ggml_reshape_1d(context, score, rows), 0);
    data->logits = data->candidates = data->sampled = nullptr;
  }
};

namespace {

const char* sampler_name(const llama_sampler*) { return "winnow-leader"; }
void sample_on_host(llama_sampler*, llama_token_data_array*) {}
bool always_supported(llama_sampler*, ggml_backend_buffer_type_t, std::uint32_t) { return true; }
void leave_out(llama_sampler*, ggml_context*, ggml_cgraph*, llama_sampler_data* data) { data->logits = nullptr; }

}  // namespace

LeaderSampler::LeaderSampler(const winnow::Model& model, const winnow::Device& device, int streams, float temperature,
                             const std::vector<float>& head)
    : leader_(std::make_unique<Leader>()) {
  leader_->temperature = temperature;
  leader_->width = model.facts().width;
  leader_->tensors = ggml_init({ggml_tensor_overhead() * 2, nullptr, true});
  leader_->head = ggml_new_tensor_2d(leader_->tensors, GGML_TYPE_F32, leader_->width, 1);
  ggml_backend_dev_t const backend = ggml_backend_dev_by_name(device.name.c_str());
  leader_->buffer = ggml_backend_alloc_ctx_tensors_from_buft(leader_->tensors, ggml_backend_dev_buffer_type(backend));
  if (leader_->buffer == nullptr || head.size() != static_cast<std::size_t>(leader_->width))
    throw std::runtime_error("Expected a head as wide as the model, and room for it on the device");
  ggml_backend_tensor_set(leader_->head, head.data(), 0, ggml_nbytes(leader_->head));

  static llama_sampler_i lead{};
  lead.name = sampler_name;
  lead.apply = sample_on_host;
  lead.backend_init = always_supported;
  lead.backend_apply = [](llama_sampler* sampler, ggml_context* context, ggml_cgraph*, llama_sampler_data* data) {
    static_cast<Leader*>(sampler->ctx)->build(context, data);
  };
  lead.backend_set_input = [](llama_sampler* sampler) {
    const Leader& leader = *static_cast<Leader*>(sampler->ctx);
    ggml_backend_tensor_set(leader.draws, leader.values.data(), 0, ggml_nbytes(leader.draws));
  };
  // Without a clone and with a context llama.cpp must not copy it, and the context is ours to free.
  static llama_sampler_i follow{};
  follow.name = sampler_name;
  follow.apply = sample_on_host;
  follow.backend_init = always_supported;
  follow.backend_apply = leave_out;
  for (int stream = 0; stream < streams; ++stream) {
    llama_sampler* const chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(
        chain, stream == 0 ? llama_sampler_init(&lead, leader_.get()) : llama_sampler_init(&follow, nullptr));
    chains_.push_back(chain);
  }
}

LeaderSampler::~LeaderSampler() {
  for (llama_sampler* chain : chains_) llama_sampler_free(chain);
}

std::vector<llama_sampler_seq_config> LeaderSampler::configs() const {
  std::vector<llama_sampler_seq_config> configs;
  for (std::size_t stream = 0; stream < chains_.size(); ++stream)
    configs.push_back({static_cast<llama_seq_id>(stream), chains_[stream]});
  return configs;
}

void LeaderSampler::set_draws(std::vector<float> draws) { leader_->values = std::move(draws); }

const float* LeaderSampler::read(llama_context* context, int rows) const {
  if (llama_get_sampled_probs_count_ith(context, 0) != static_cast<std::uint32_t>(2 * rows))
    throw std::runtime_error("Expected the leader sampler's results after a decode but llama.cpp has none");
  return llama_get_sampled_probs_ith(context, 0);
}

std::vector<winnow::Token> LeaderSampler::tokens(llama_context* context, int rows) const {
  const float* const found = read(context, rows);
  return {found, found + rows};
}

std::vector<float> LeaderSampler::scores(llama_context* context, int rows) const {
  const float* const found = read(context, rows);
  return {found + rows, found + 2 * rows};
}
