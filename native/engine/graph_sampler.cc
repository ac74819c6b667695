#include "graph_sampler.h"

#include <ggml-backend.h>
#include <ggml.h>

#include <algorithm>
#include <utility>

#include "softmax.h"

namespace winnow {
namespace {

constexpr float kTiny = 1e-37f;  // keeps the logarithm of a share of zero finite
constexpr int kNumbers = 5;      // of a digest, before the sums and the logits of a block

GraphSampler& sampler_of(const llama_sampler* sampler) { return *static_cast<GraphSampler*>(sampler->ctx); }

}  // namespace

llama_sampler_i GraphSampler::interface() {
  llama_sampler_i calls{};
  calls.name = [](const llama_sampler*) { return "winnow-graph"; };
  calls.apply = [](llama_sampler*, llama_token_data_array*) {};
  calls.backend_init = [](llama_sampler*, ggml_backend_buffer_type_t, std::uint32_t) { return true; };
  calls.backend_reset = [](llama_sampler* sampler) { sampler_of(sampler).graph_ = {}; };
  calls.backend_set_input = [](llama_sampler* sampler) { sampler_of(sampler).set_inputs(); };
  calls.backend_apply = [](llama_sampler* sampler, ggml_context* context, ggml_cgraph* graph,
                           llama_sampler_data* data) {
    GraphSampler& own = sampler_of(sampler);
    // `logits` is a view of one row of those of the graph, padded; or a row by itself, when llama.cpp counts the nodes
    // of each chain: one is enough to tell of them.
    if (ggml_tensor* const padded = data->logits->view_src) {
      ggml_tensor* const logits = padded->src[0];
      if (own.graph_.logits == nullptr && logits->ne[1] > 0) own.build(context, graph, logits);
    } else if (!std::exchange(own.counted_, true)) {
      own.build(context, graph, ggml_reshape_2d(context, data->logits, data->logits->ne[0], 1));
    }
    data->logits = nullptr;
  };
  return calls;
}

GraphSampler::GraphSampler(int streams, int vocabulary)
    : vocabulary_(vocabulary),
      blocks_((vocabulary + kBlock - 1) / kBlock),
      asks_(static_cast<std::size_t>(streams)),
      interface_(interface()) {
  for (int stream = 0; stream < streams; ++stream) {
    chains_.emplace_back(llama_sampler_chain_init(llama_sampler_chain_default_params()));
    llama_sampler_chain_add(chains_.back().get(), llama_sampler_init(&interface_, this));
    configs_.push_back({stream, chains_.back().get()});
  }
}

void GraphSampler::attach(llama_context_params& params) {
  params.samplers = configs_.data();
  params.n_samplers = configs_.size();
}

std::size_t GraphSampler::stride() const { return static_cast<std::size_t>(kNumbers + blocks_ + kBlock); }

void GraphSampler::build(ggml_context* context, ggml_cgraph* graph, ggml_tensor* logits) {
  const std::int64_t vocabulary = logits->ne[0], rows = logits->ne[1];
  const std::int64_t blocks = (vocabulary + kBlock - 1) / kBlock;
  ggml_tensor* const asks = ggml_new_tensor_2d(context, GGML_TYPE_F32, rows, 3);
  ggml_tensor* const wanted = ggml_new_tensor_2d(context, GGML_TYPE_I32, 1, rows);
  for (ggml_tensor* const input : {asks, wanted}) ggml_set_input(input);
  ggml_set_name(asks, "winnow_asks");
  ggml_set_name(wanted, "winnow_wanted");
  graph_.logits = logits;
  graph_.asks = asks;
  graph_.wanted = wanted;

  const auto asked = [&](std::size_t which) {
    return ggml_view_2d(context, asks, 1, rows, sizeof(float), which * asks->nb[1]);
  };
  // One entry of each row.
  const auto entry = [&](ggml_tensor* of, ggml_tensor* index) {
    return ggml_reshape_2d(context, ggml_get_rows(context, ggml_reshape_3d(context, of, 1, vocabulary, rows), index), 1,
                           rows);
  };
  // In blocks, with zeros behind the end.
  const auto blocked = [&](ggml_tensor* of) {
    const int missing = static_cast<int>(blocks * kBlock - vocabulary);
    ggml_tensor* const whole = missing == 0 ? of : ggml_pad(context, of, missing, 0, 0, 0);
    return ggml_reshape_3d(context, whole, kBlock, blocks, rows);
  };
  ggml_tensor* const inverse = asked(0);
  ggml_tensor* const least = asked(1);
  ggml_tensor* const uniform = asked(2);

  ggml_tensor* const best = ggml_reshape_2d(context, ggml_argmax(context, logits), 1, rows);
  ggml_tensor* const top = entry(logits, best);
  ggml_tensor* const distance = ggml_sub(context, logits, top);
  ggml_tensor* const shares = ggml_soft_max(context, distance);
  ggml_tensor* const share = entry(shares, best);
  ggml_tensor* const logs = ggml_log(context, ggml_scale_bias(context, shares, 1.0f, kTiny));
  ggml_tensor* const information = ggml_sum_rows(context, ggml_mul(context, shares, logs));

  ggml_tensor* const shaped = ggml_soft_max(context, ggml_mul(context, distance, inverse));
  ggml_tensor* const kept = ggml_step(context, ggml_sub(context, distance, least));
  ggml_tensor* const weights = blocked(ggml_mul(context, shaped, kept));
  ggml_tensor* const sums = ggml_reshape_2d(context, ggml_sum_rows(context, weights), blocks, rows);

  // The first block whose running sum exceeds the uniform's share of the total lies as many places before the end as
  // there are such blocks.
  ggml_tensor* const running = ggml_cumsum(context, sums);
  ggml_tensor* const total = ggml_cont(context, ggml_view_2d(context, running, 1, rows, running->nb[1],
                                                             static_cast<std::size_t>(blocks - 1) * sizeof(float)));
  ggml_tensor* const target = ggml_mul(context, total, uniform);
  ggml_tensor* const beyond = ggml_sum_rows(context, ggml_step(context, ggml_sub(context, running, target)));
  ggml_tensor* const block = ggml_clamp(context, ggml_scale_bias(context, beyond, -1.0f, static_cast<float>(blocks)),
                                        0.0f, static_cast<float>(blocks - 1));
  ggml_tensor* const near = ggml_get_rows(context, blocked(logits), ggml_cast(context, block, GGML_TYPE_I32));

  ggml_tensor* digests = top;
  for (ggml_tensor* const part :
       {share, information, entry(logits, wanted), block, sums, ggml_reshape_2d(context, near, kBlock, rows)}) {
    digests = ggml_concat(context, digests, part, 0);
  }
  ggml_set_name(digests, "winnow_digests");
  ggml_set_output(digests);
  ggml_build_forward_expand(graph, digests);
  graph_.digests = digests;
}

void GraphSampler::set_inputs() {
  if (inputs_set_ || graph_.asks == nullptr) return;
  inputs_set_ = true;
  const std::size_t rows = static_cast<std::size_t>(graph_.asks->ne[0]);
  std::vector<float> numbers(3 * rows);
  std::vector<std::int32_t> tokens(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    const RowAsk& ask = asks_[static_cast<std::size_t>(first_) + i];
    numbers[i] = ask.inverse;
    numbers[rows + i] = ask.least;
    numbers[2 * rows + i] = static_cast<float>(ask.uniform);
    tokens[i] = ask.wanted;
  }
  ggml_backend_tensor_set(graph_.asks, numbers.data(), 0, ggml_nbytes(graph_.asks));
  ggml_backend_tensor_set(graph_.wanted, tokens.data(), 0, ggml_nbytes(graph_.wanted));
}

void GraphSampler::begin(int first) {
  first_ = first;
  inputs_set_ = false;
}

void GraphSampler::read() {
  if (graph_.digests == nullptr) return;
  const std::size_t first = static_cast<std::size_t>(first_), rows = static_cast<std::size_t>(graph_.digests->ne[1]);
  digests_.resize(std::max(digests_.size(), (first + rows) * stride()));
  ggml_backend_tensor_get(graph_.digests, digests_.data() + first * stride(), 0, ggml_nbytes(graph_.digests));
}

RowDigest GraphSampler::digest(int row) const {
  const float* const numbers = digests_.data() + static_cast<std::size_t>(row) * stride();
  RowDigest digest;
  digest.top = numbers[0];
  digest.share = numbers[1];
  digest.information = numbers[2];
  digest.wanted = numbers[3];
  digest.block = static_cast<int>(numbers[4]);
  digest.sums = numbers + kNumbers;
  digest.logits = digest.sums + blocks_;
  return digest;
}

void GraphSampler::copy_logits(int row, int count, float* to) const {
  const std::size_t size = static_cast<std::size_t>(vocabulary_) * sizeof(float);
  ggml_backend_tensor_get(graph_.logits, to, static_cast<std::size_t>(row) * size,
                          static_cast<std::size_t>(count) * size);
}

}  // namespace winnow
