// Pool::State: what a pool is made of. Its operations are in pool.cc, those that move branches in parking.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "branch_table.h"
#include "pool.h"
#include "step.h"
#include "streams.h"

#if !defined(NDEBUG) || defined(WINNOW_CHECKS)
#define WINNOW_CHECK_INTEGRITY() check_integrity()
#else
#define WINNOW_CHECK_INTEGRITY() static_cast<void>(0)
#endif

namespace winnow {

struct Pool::State {
  explicit State(std::unique_ptr<Streams> opened)
      : streams(std::move(opened)), branches(*streams), step(*streams, branches) {}

  std::unique_ptr<Streams> streams;
  BranchTable branches;
  Step step;

  int vocabulary() const { return streams->model().facts().vocabulary; }
  int width() const { return streams->model().facts().width; }

  Branch branch_like(Race& race, const ForkParams& fork) const;
  int copy_beginning(const std::vector<Token>& prompt, int stream);
  int prompt_beside(int stream, const Race& race) const;
  std::vector<std::uint8_t> save(const Race& race, const Branch& branch);
  void load(int stream, const Race& race, const std::vector<std::uint8_t>& cells);
  int decode_again(int stream, const Race& race, const Branch* branch);
  void put_back(const std::vector<std::vector<std::uint8_t>>& cells);
  std::vector<Branch*> taking();
};

}  // namespace winnow
