// A pool with branches that are about to write.
#pragma once

#include <memory>

#include "fixture.h"

namespace winnow::test {

inline const std::vector<Token> kPrompt = {1, 40, 41, 42, 300, 301, 7};

inline std::unique_ptr<Solo> started(const PoolParams& params, const ForkParams& fork,
                                     const std::shared_ptr<Model>& model = small()) {
  std::unique_ptr<Solo> pool = Solo::create(model, params);
  pool->prefill(kPrompt);
  pool->fork(fork);
  return pool;
}

}  // namespace winnow::test
