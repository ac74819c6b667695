// GraphSampler: digests of the rows of a decode (row_digest.h), computed inside llama.cpp's graph. The logits stay
// where the output layer computed them, on a GPU in its own memory, and cross to the host only for the rows somebody
// reads.
//
// llama.cpp lets every sequence have a chain of samplers in the graph, and leaves the logits alone where every row of a
// batch belongs to one. Here every stream has a chain; whichever comes first while a graph is built adds the nodes for
// all its rows, and the others add none. The results are read from the graph's own tensors, as llama.cpp has no place
// for them; they last until the next decode.
//
// The interface is marked experimental in the pinned release. The context holds pointers into the sampler: it lives
// longer. Not thread-safe.
#pragma once

#include <llama.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "row_digest.h"

struct ggml_cgraph;
struct ggml_context;
struct ggml_tensor;

namespace winnow {

class GraphSampler {
 public:
  GraphSampler(int streams, int vocabulary);
  GraphSampler(const GraphSampler&) = delete;
  GraphSampler& operator=(const GraphSampler&) = delete;

  // Of one context, made with these parameters while the sampler lives.
  void attach(llama_context_params& params);

  // Of a row of the next step; it stays so until it is asked otherwise.
  void ask(int row, const RowAsk& ask) { asks_[static_cast<std::size_t>(row)] = ask; }
  // Before and after llama.cpp decodes part of a step, the rows from `first` on, one for each output.
  void begin(int first);
  void read();

  RowDigest digest(int row) const;
  // The whole logits of some rows of the part that was decoded last; `row` counts within the part.
  void copy_logits(int row, int count, float* to) const;

 private:
  struct FreeChain {
    void operator()(llama_sampler* chain) const { llama_sampler_free(chain); }
  };
  // Tensors of the graph that was built last; null where it has no outputs.
  struct Graph {
    ggml_tensor* logits = nullptr;
    ggml_tensor* asks = nullptr;    // rows x (inverse, least, uniform)
    ggml_tensor* wanted = nullptr;  // 1 x rows
    ggml_tensor* digests = nullptr;
  };
  static llama_sampler_i interface();
  void build(ggml_context* context, ggml_cgraph* graph, ggml_tensor* logits);
  void set_inputs();
  std::size_t stride() const;  // floats of a digest

  int vocabulary_ = 0;
  int blocks_ = 0;
  int first_ = 0;
  bool inputs_set_ = false;
  bool counted_ = false;
  std::vector<RowAsk> asks_;
  std::vector<float> digests_;
  Graph graph_;
  llama_sampler_i interface_;
  std::vector<std::unique_ptr<llama_sampler, FreeChain>> chains_;  // of each stream
  std::vector<llama_sampler_seq_config> configs_;
};

}  // namespace winnow
