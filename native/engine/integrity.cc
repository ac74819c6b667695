// BranchTable's own check: its accounts against its branches, and both against llama.cpp's positions.
#include <string>

#include "branch_table.h"
#include "integrity.h"

namespace winnow {
namespace {

std::string name_of(const Race& race, const Branch& branch) {
  return "branch " + std::to_string(branch.id) + " of race " + std::to_string(race.id);
}

}  // namespace

void BranchTable::check_stream(int stream) const {
  const Owner& owner = owners_[static_cast<std::size_t>(stream)];
  const std::string in = " in stream " + std::to_string(stream);
  expect_account((owner.race != nullptr) == (stream < used_), "streams in use up to stream " + std::to_string(stream),
                 used_, stream);
  const int length = this->length(stream);
  if (owner.race != nullptr) {
    const int prompt = static_cast<int>(owner.race->prompt.size());
    if (const Branch* const branch = branch_of(owner)) {
      const std::string of = " of " + name_of(*owner.race, *branch);
      expect_equal("the stream" + of, stream, branch->stream);
      expect_equal("the status" + of, 0, static_cast<int>(branch->status));
      expect_equal("the cells" + of, prompt + branch->generated, branch->length);
    } else {
      expect_equal("the prompt's stream of race " + std::to_string(owner.race->id), stream, owner.race->prompt_stream);
    }
  }
  expect_equal("llama.cpp's last position" + in, length - 1, streams_.last(stream));
  expect_equal("llama.cpp's first position" + in, length > 0 ? 0 : -1, streams_.first(stream));
}

void BranchTable::check_integrity() const {
  std::int64_t cells = 0;
  int used = 0;
  for (int stream = 0; stream < streams_.count(); ++stream) {
    check_stream(stream);
    const int last = streams_.last(stream);
    cells += last + 1 - (length(stream) - this->cells(stream));
    used += last >= 0 ? 1 : 0;
  }
  std::int64_t of_races = 0;
  for (const auto& [id, race] : races_) {
    int live = 0;
    for (const Branch& branch : race->branches) {
      live += branch.status == BranchStatus::live ? 1 : 0;
      expect_account((branch.stream >= 0) == (branch.status == BranchStatus::live),
                     "the stream of " + name_of(*race, branch), -1, branch.stream);
    }
    expect_equal("live branches of race " + std::to_string(id), live, race->live);
    expect_account(race->cells_peak >= race->cells, "peak cells of race " + std::to_string(id), race->cells,
                   race->cells_peak);
    of_races += race->cells;
  }
  const Occupancy now = occupancy();
  expect_equal("cells used", cells, now.cells_used);
  expect_equal("cells of all races", cells, of_races);
  expect_equal("streams used", used, now.streams_used);
  expect_equal("cells", now.cells, now.cells_used + now.cells_free);
  expect_account(now.cells_free >= 0, "cells free", 0, now.cells_free);
  expect_equal("streams", now.streams, now.streams_used + now.streams_free);
  expect_account(now.cells_peak >= now.cells_used, "peak cells", now.cells_used, now.cells_peak);
}

}  // namespace winnow
