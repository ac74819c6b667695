#include "branch_table.h"

#include <algorithm>

#include "error.h"

namespace winnow {

BranchTable::BranchTable(Streams& streams)
    : streams_(streams), stream_owners_(static_cast<std::size_t>(streams.count()), -1) {}

void BranchTable::clear() {
  streams_.clear();
  prompt_length_ = live_ = streams_used_ = 0;
  cells_used_ = cells_peak_ = 0;
  branches_.clear();
  std::fill(stream_owners_.begin(), stream_owners_.end(), -1);
}

void BranchTable::hold_prompt(int length) {
  prompt_length_ = length;
  streams_used_ = 1;
  cells_used_ = cells_peak_ = length;
}

void BranchTable::fork(std::int32_t first_candidate, int count) {
  first_candidate_ = first_candidate;
  for (int i = 0; i < count; ++i) {
    Branch branch;
    branch.id = first_candidate + i;
    branch.stream = i;
    branch.length = prompt_length_;
    branches_.push_back(std::move(branch));
    stream_owners_[static_cast<std::size_t>(i)] = i;
    if (i > 0) streams_.copy(0, i);
  }
  live_ = streams_used_ = count;
  cells_used_ = static_cast<std::int64_t>(count) * prompt_length_;
  cells_peak_ = std::max(cells_peak_, cells_used_);
}

void BranchTable::grow() {
  for (int stream = 0; stream < live_; ++stream) {
    Branch& branch = at(stream);
    branch.row = stream;
    ++branch.length;
  }
  cells_used_ += live_;
  cells_peak_ = std::max(cells_peak_, cells_used_);
}

void BranchTable::retire() {
  std::vector<int> holes;
  const int before = live_;
  for (int stream = 0; stream < before; ++stream) {
    Branch& branch = at(stream);
    if (branch.status == BranchStatus::live) continue;
    if (streams_.params().states) {
      const float* row = state(branch);
      branch.state.assign(row, row + streams_.model().facts().width);
    }
    streams_.free_cells(stream);
    cells_used_ -= branch.length;
    --streams_used_;
    --live_;
    branch.stream = -1;
    stream_owners_[static_cast<std::size_t>(stream)] = -1;
    holes.push_back(stream);
  }
  std::size_t hole = 0;
  for (int stream = live_; stream < before; ++stream) {
    const int index = stream_owners_[static_cast<std::size_t>(stream)];
    if (index < 0) continue;
    const int target = holes[hole++];  // below live_: there are as many holes there as branches beyond
    streams_.copy(stream, target);
    streams_.free_cells(stream);
    branches_[static_cast<std::size_t>(index)].stream = target;
    stream_owners_[static_cast<std::size_t>(target)] = index;
    stream_owners_[static_cast<std::size_t>(stream)] = -1;
  }
}

std::size_t BranchTable::index_of(std::int32_t id) const {
  const std::int64_t index = static_cast<std::int64_t>(id) - first_candidate_;
  if (index < 0 || index >= static_cast<std::int64_t>(branches_.size())) {
    throw EngineError("BRANCH_UNKNOWN",
                      "Expected the id of a branch of this prompt but received " + std::to_string(id));
  }
  return static_cast<std::size_t>(index);
}

Branch& BranchTable::find(std::int32_t id) { return branches_[index_of(id)]; }
const Branch& BranchTable::find(std::int32_t id) const { return branches_[index_of(id)]; }

const float* BranchTable::state(const Branch& branch) const {
  return branch.stream < 0 ? branch.state.data() : streams_.state(branch.row);
}

Occupancy BranchTable::occupancy() const {
  const PoolParams& params = streams_.params();
  Occupancy occupancy;
  occupancy.streams = params.streams;
  occupancy.streams_used = streams_used_;
  occupancy.streams_free = occupancy.streams - occupancy.streams_used;
  occupancy.cells_per_stream = params.cells_per_stream;
  occupancy.cells = static_cast<std::int64_t>(occupancy.streams) * occupancy.cells_per_stream;
  occupancy.cells_used = cells_used_;
  occupancy.cells_free = occupancy.cells - occupancy.cells_used;
  occupancy.cells_peak = cells_peak_;
  occupancy.live = live_;
  occupancy.kv_bytes = streams_.bytes();
  return occupancy;
}

}  // namespace winnow
