// Step: one token for every live branch, in two halves: sample() from the logits at hand, decode() of what was
// sampled. Between the two, branches that sampled an end or stop token are gone, so nothing is decoded for them.
#pragma once

#include <cstdint>
#include <vector>

#include "branch_table.h"
#include "pool.h"
#include "sampler.h"
#include "streams.h"
#include "workers.h"

namespace winnow {

class Step {
 public:
  // Samples on as many threads as the streams' params say. `streams` and `branches` outlive it.
  Step(Streams& streams, BranchTable& branches);

  // Whose tokens the next steps take.
  void prepare(const ForkParams& fork, std::uint64_t prompt_hash);

  // A pure function of the logits and (seed, prompt, candidate, position): sampling twice gives the same. Throws
  // LOGITS_INVALID.
  void sample();
  // Decodes the sampled token of every live branch as one batch; ends those that reached their length. Returns the
  // rows decoded, ghosts included. Throws DECODE_FAILED, NATIVE_ASSERT.
  int decode();

 private:
  void sample_stream(int stream, int worker);
  void settle();

  Streams& streams_;
  BranchTable& branches_;
  Workers workers_;
  std::vector<SamplerScratch> scratch_;  // one for each worker
  ForkParams fork_;
  std::uint64_t prompt_hash_ = 0;
};

}  // namespace winnow
