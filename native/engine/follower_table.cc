#include "follower_table.h"

#include <algorithm>
#include <string>

#include "error.h"
#include "integrity.h"

namespace winnow {

FollowerTable::FollowerTable(Streams& streams)
    : streams_(streams), owners_(static_cast<std::size_t>(streams.count()), -1) {}

void FollowerTable::clear() {
  streams_.clear();
  trunk_ = {};
  branches_.clear();
  std::fill(owners_.begin(), owners_.end(), -1);
  live_ = 0;
  cells_ = {};
}

void FollowerTable::hold_prefix(const std::vector<Token>& prefix) {
  trunk_.stream = 0;
  trunk_.tokens = prefix;
  trunk_.decoded = trunk_.state_at = trunk_.length();
  trunk_.state.assign(streams_.state(0), streams_.state(0) + streams_.model().facts().width);
  cells_.add(trunk_.decoded);
}

void FollowerTable::fork(int count) {
  branches_.assign(static_cast<std::size_t>(count), trunk_);
  for (int id = 0; id < count; ++id) {
    branches_[static_cast<std::size_t>(id)].stream = id;
    owners_[static_cast<std::size_t>(id)] = id;
    if (id > 0) streams_.copy(0, id);
  }
  cells_.add(static_cast<std::int64_t>(count - 1) * trunk_.decoded);
  live_ = count;
}

void FollowerTable::drop(const std::vector<std::int32_t>& ids) {
  for (const std::int32_t id : ids) find(id);
  const int before = live_;
  for (const std::int32_t id : ids) {
    Follower& branch = find(id);
    if (branch.stream < 0) continue;
    streams_.free_cells(branch.stream);
    cells_.add(-branch.decoded);
    owners_[static_cast<std::size_t>(branch.stream)] = -1;
    branch = {};
    --live_;
  }
  int hole = 0;
  for (int stream = live_; stream < before; ++stream) {
    const std::int32_t id = owners_[static_cast<std::size_t>(stream)];
    if (id < 0) continue;
    while (owners_[static_cast<std::size_t>(hole)] >= 0) ++hole;  // there is one below live_ for each branch beyond
    move(id, stream, hole);
  }
}

void FollowerTable::move(std::int32_t id, int from, int to) {
  streams_.copy(from, to);
  streams_.free_cells(from);
  branches_[static_cast<std::size_t>(id)].stream = to;
  owners_[static_cast<std::size_t>(to)] = id;
  owners_[static_cast<std::size_t>(from)] = -1;
}

Follower& FollowerTable::find(std::int32_t id) {
  if (id >= 0 && static_cast<std::size_t>(id) < branches_.size()) return branches_[static_cast<std::size_t>(id)];
  throw EngineError("BRANCH_UNKNOWN", "Expected the id of a branch of this mirror but received " + std::to_string(id));
}

Occupancy FollowerTable::occupancy() const {
  Occupancy occupancy;
  occupancy.streams = streams_.count();
  occupancy.streams_used = holds_prefix() && !forked() ? 1 : live_;
  occupancy.streams_free = occupancy.streams - occupancy.streams_used;
  occupancy.cells_per_stream = streams_.params().cells_per_stream;
  occupancy.cells = static_cast<std::int64_t>(occupancy.streams) * occupancy.cells_per_stream;
  occupancy.cells_used = cells_.used;
  occupancy.cells_free = occupancy.cells - occupancy.cells_used;
  occupancy.cells_peak = cells_.peak;
  occupancy.live = live_;
  occupancy.kv_bytes = streams_.bytes();
  return occupancy;
}

void FollowerTable::check_integrity() const {
  std::int64_t cells = 0;
  for (int stream = 0; stream < streams_.count(); ++stream) {
    const std::string name = "stream " + std::to_string(stream);
    const std::int32_t id = owners_[static_cast<std::size_t>(stream)];
    int held = stream == 0 && !forked() ? trunk_.decoded : 0;
    expect_equal("branches in " + name, stream < live_, id >= 0);
    if (id >= 0) {
      const Follower& branch = branches_[static_cast<std::size_t>(id)];
      expect_equal("the stream of branch " + std::to_string(id), stream, branch.stream);
      expect_equal("cells of branch " + std::to_string(id) + " beyond its tokens", 0,
                   std::max(branch.decoded - branch.length(), 0));
      held = branch.decoded;
    }
    expect_equal("llama.cpp's last position in " + name, held - 1, streams_.last(stream));
    expect_equal("llama.cpp's first position in " + name, held > 0 ? 0 : -1, streams_.first(stream));
    cells += held;
  }
  const std::ptrdiff_t live =
      std::count_if(branches_.begin(), branches_.end(), [](const Follower& branch) { return branch.stream >= 0; });
  const Occupancy occupancy = this->occupancy();
  expect_equal("live branches", live_, live);
  expect_equal("cells used", cells, occupancy.cells_used);
  expect_equal("cells", occupancy.cells, occupancy.cells_used + occupancy.cells_free);
  expect_equal("cells below none", 0, std::min<std::int64_t>(occupancy.cells_free, 0));
  expect_equal("cells used beyond the peak", 0, std::max<std::int64_t>(occupancy.cells_used - occupancy.cells_peak, 0));
  expect_equal("streams", occupancy.streams, occupancy.streams_used + occupancy.streams_free);
}

}  // namespace winnow
