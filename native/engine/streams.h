// Streams: the KV memory of one pool, one llama.cpp context of equal streams, and the batch it decodes. A unified cache
// is one stream to llama.cpp, and a stream here is then one of its sequences. It knows llama.cpp and nothing of
// branches. Nothing is validated twice: rows, streams and tokens are the pool's to keep in range, and the asserts
// behind them turn into NATIVE_ASSERT.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "batch.h"
#include "graph_sampler.h"
#include "model.h"
#include "pool.h"

struct llama_memory_i;

namespace winnow {

class Streams {
 public:
  using Clock = Batch::Clock;

  // `abort` outlives the streams. `outputs`: most rows of one decode that may come with states, if more than one for
  // each stream; llama.cpp reserves a row of logits for each. Throws what Pool::create says.
  static std::unique_ptr<Streams> open(std::shared_ptr<Model> model, const PoolParams& requested,
                                       const std::atomic<bool>& abort, int outputs = 0);
  ~Streams();
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  const Model& model() const { return *model_; }
  const std::shared_ptr<Model>& shared_model() const { return model_; }
  const PoolParams& params() const { return params_; }  // as resolved
  int count() const { return count_; }                  // streams of the context, those for ghosts included
  bool unified() const { return params_.unified_cells > 0; }
  std::int64_t cells() const {  // of the context
    return unified() ? params_.unified_cells : static_cast<std::int64_t>(count_) * params_.cells_per_stream;
  }
  int least_rows() const { return least_rows_; }     // fewest rows of a decode step
  int limit() const { return limit_; }               // tokens a branch may hold
  int prompt_rows() const { return prompt_rows_; }   // most prompt tokens of one decode
  int most_rows() const { return batch_->rows(); }   // of one decode
  int most_outputs() const { return outputs_max_; }  // of one decode with states
  std::uint64_t bytes() const { return bytes_; }
  ContextSizes sizes() const;  // what llama.cpp has allocated for it

  // Computes with these adapters from now on. Of what was decoded with others nothing may be left. Throws what
  // set_adapters does; what leaves a context useless ends these streams.
  void adapt(const AdapterSet& adapters);

  void set_row(int row, Token token, int position, int stream, bool output) {
    batch_->set_row(row, token, position, stream, output);
  }
  // Decodes the first `rows` rows as one batch. False when the interrupt cut it short, which only happens between
  // arm() and disarm(). Any failure throws, and ends these streams: from then on require_usable() throws POOL_DEAD.
  bool decode(int rows);
  void require_usable() const;

  // Whether the graph draws (PoolParams::drawing); only then the next three mean anything.
  bool draws() const { return sampler_ != nullptr; }
  // What is to be drawn from a row of the next decodes.
  void ask(int row, const RowAsk& ask) { sampler_->ask(row, ask); }
  // Of a row of the last decode of which all rows were outputs.
  RowDigest digest(int row) const { return sampler_->digest(row); }

  // Whether the rows decoded from now on come with states. Without effect when the pool keeps none.
  void keep_states(bool keep);
  // Row `row` of the last decode; llama.cpp owns it until the next. State: nullptr when none is kept. Logits: where the
  // graph draws, only of rows that were fetched.
  void fetch_logits(const std::vector<int>& rows);  // ascending
  const float* logits(int row) const;
  const float* state(int row) const;

  void clear();  // copies that llama.cpp still has to make then go into cells
                 // that are empty
  void free_cells(int stream);
  // Keeps the first `length` cells of a stream. Throws MODEL_UNSUPPORTED, and ends these streams, where the model's
  // cache cannot give up its end.
  void cut(int stream, int length);
  void copy(int from, int to);  // the whole stream; llama.cpp does it at the next decode, in the order of the calls
  // In a unified cache: the first `length` cells of a stream become another's too, or are no longer its own.
  void share(int from, int to, int length);
  void unshare(int stream, int length);
  int first(int stream) const;  // llama.cpp's own positions; -1 for an empty stream
  int last(int stream) const;

  // Whether the cells of a stream can be saved and loaded: not those of recurrent models and sliding windows.
  bool movable() const;
  // The cells of a stream as bytes of the host's memory, for streams of any number and length of the same model and
  // kinds of cells. After settle_copies(). Throws OUT_OF_MEMORY, DECODE_FAILED.
  std::vector<std::uint8_t> save(int stream);
  // Into an empty stream, after settle_copies(). Exact.
  void load(int stream, const std::vector<std::uint8_t>& cells);
  // Makes llama.cpp carry out the copies it has been asked for, by decoding one row beside the streams in use. The rows
  // of the last decode are lost.
  void settle_copies(int used);
  // Makes the streams anew, empty, in another shape. Throws what open() does; then there are none, and remake() may be
  // called again.
  void remake(int streams, int cells_per_stream);
  // What remake() would refuse without a try. Throws OPTION_INVALID, CONTEXT_TOO_LONG.
  void check_shape(int streams, int cells_per_stream) const { shaped(streams, cells_per_stream); }
  // From now on require_usable() throws POOL_DEAD.
  void end();

  // While armed, a decode on the CPU stops between two nodes of its graph once the abort flag is set or the
  // deadline has passed. Only where the tokens are given (a prompt, a mirror), and what a cut decode left behind is
  // removed: a sampled step cut short could not be told from one not begun.
  void arm(Clock::time_point deadline) { batch_->arm(deadline); }
  void disarm() { batch_->disarm(); }
  bool due() const { return batch_->due(); }

 private:
  Streams() = default;
  void make();
  std::size_t row_offset(int row) const;  // in logits_
  int decode_parts(llama_context* context, const llama_batch& batch);
  PoolParams shaped(int streams, int cells_per_stream) const;

  std::shared_ptr<Model> model_;
  const std::atomic<bool>* abort_ = nullptr;
  int outputs_ = 0;  // as asked for
  AdapterSet adapters_;
  PoolParams params_;
  int count_ = 0;
  int least_rows_ = 1;
  int limit_ = 0;
  int prompt_rows_ = 0;
  int outputs_max_ = 0;
  std::uint64_t bytes_ = 0;
  bool copies_pending_ = false;
  std::unique_ptr<GraphSampler> sampler_;  // nullptr where the host draws; outlives the batch
  std::unique_ptr<Batch> batch_;           // nullptr when it could not be made anew
  llama_memory_i* memory_ = nullptr;
  bool logits_fetched_ = false;  // of all rows
  std::vector<float> gathered_;  // states of a decode in several parts
  float* logits_ = nullptr;
  const float* states_ = nullptr;
};

}  // namespace winnow
