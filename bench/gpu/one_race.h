// OneRace: a pool with one prompt and its branches. The only file here that calls a race's operations.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "head.h"
#include "pool.h"

class OneRace {
 public:
  // Makes the pool, decodes the prompt and forks it.
  OneRace(std::shared_ptr<winnow::Model> model, const winnow::PoolParams& params,
          const std::vector<winnow::Token>& prompt, const winnow::ForkParams& fork);

  // Up to `steps` tokens more for every live branch.
  winnow::Advance advance(int steps);
  void kill(const std::vector<std::int32_t>& ids);
  std::vector<float> score(const winnow::Head& head, const std::vector<std::int32_t>& ids) const;
  std::vector<float> states(const std::vector<std::int32_t>& ids) const;
  winnow::Pool& pool() { return *pool_; }  // for what concerns it whole

 private:
  std::unique_ptr<winnow::Pool> pool_;
  winnow::RaceId race_ = 0;
  int steps_ = 0;
};
