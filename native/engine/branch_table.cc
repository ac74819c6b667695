#include "branch_table.h"

#include <algorithm>
#include <string>
#include <utility>

#include "error.h"

namespace winnow {

BranchTable::BranchTable(Streams& streams) : streams_(streams), owners_(static_cast<std::size_t>(streams.count())) {}

int BranchTable::free_stream() const {
  if (used_ < streams_.params().streams) return used_;
  throw EngineError("STREAMS_FULL",
                    "Expected a free stream but received a pool whose " + std::to_string(used_) + " are all in use");
}

Race& BranchTable::open(std::vector<Token> prompt, std::uint64_t prompt_hash) {
  if (used_ == 0) cells_peak_ = 0;
  const RaceId id = next_id_++;
  Race& race = *races_.emplace(id, std::make_unique<Race>()).first->second;
  race.id = id;
  race.prompt = std::move(prompt);
  race.prompt_hash = prompt_hash;
  race.prompt_stream = used_;
  take(used_, race, -1);
  return race;
}

void BranchTable::close(RaceId id) {
  const auto found = races_.find(id);
  if (found == races_.end()) return;
  Race& race = *found->second;
  for (Branch& branch : race.branches)
    if (branch.status == BranchStatus::live) branch.status = BranchStatus::killed;
  race.prompt_stream = -1;
  retire();
  races_.erase(found);
}

void BranchTable::fork(Race& race, const Branch& like) {
  const ForkParams& fork = *like.fork;
  const int source = race.prompt_stream;
  const int first = static_cast<int>(race.branches.size());
  race.branches.reserve(race.branches.size() + static_cast<std::size_t>(fork.count));
  for (int i = 0; i < fork.count; ++i) {
    race.branches.push_back(like);
    race.branches.back().id = static_cast<std::int32_t>(fork.first_candidate) + i;
    race.branches.back().length = static_cast<int>(race.prompt.size());
  }
  for (int i = 0; i < fork.count; ++i) {
    Branch& branch = race.branches[static_cast<std::size_t>(first + i)];
    if (i == 0 && !fork.keep_prompt) {
      branch.stream = source;
      owners_[static_cast<std::size_t>(source)].branch = first;
      race.prompt_stream = -1;
    } else {
      branch.stream = used_;
      streams_.copy(source, used_);
      take(used_, race, first + i);
    }
    ++race.live;
  }
}

void BranchTable::grow(Branch& branch) {
  ++branch.length;
  Race& race = owner(branch.stream);
  race.cells_peak = std::max(race.cells_peak, ++race.cells);
  cells_peak_ = std::max(cells_peak_, ++cells_used_);
}

void BranchTable::retire() {
  std::vector<int> holes;
  const int before = used_;
  for (int stream = 0; stream < before; ++stream) {
    Owner& owner = owners_[static_cast<std::size_t>(stream)];
    Branch* const branch = branch_of(owner);
    if (branch == nullptr ? owner.race->prompt_stream == stream : branch->status == BranchStatus::live) continue;
    const int freed = cells(stream);
    if (branch != nullptr) {
      const float* const row = branch->row >= 0 ? streams_.state(branch->row) : nullptr;
      if (row != nullptr) branch->state.assign(row, row + streams_.model().facts().width);
      branch->row = branch->stream = -1;
      --owner.race->live;
    }
    streams_.free_cells(stream);
    owner.race->cells -= freed;
    cells_used_ -= freed;
    --used_;
    owner = Owner{};
    holes.push_back(stream);
  }
  std::size_t hole = 0;
  for (int stream = used_; stream < before; ++stream) {
    Owner& owner = owners_[static_cast<std::size_t>(stream)];
    if (owner.race == nullptr) continue;
    const int target = holes[hole++];  // below used_: there are as many holes there as owners beyond
    streams_.copy(stream, target);
    streams_.free_cells(stream);
    (owner.branch < 0 ? owner.race->prompt_stream : branch_of(owner)->stream) = target;
    owners_[static_cast<std::size_t>(target)] = std::exchange(owner, Owner{});
  }
}

void BranchTable::seat(Race& race, Branch& branch) {
  branch.status = BranchStatus::live;
  branch.stream = used_;
  ++race.live;
  take(used_, race, static_cast<int>(&branch - race.branches.data()));
}

void BranchTable::remade() { owners_.resize(static_cast<std::size_t>(streams_.count())); }

void BranchTable::take(int stream, Race& race, int branch) {
  owners_[static_cast<std::size_t>(stream)] = Owner{&race, branch};
  ++used_;
  const int taken = cells(stream);
  race.cells += taken;
  race.cells_peak = std::max(race.cells_peak, race.cells);
  cells_used_ += taken;
  cells_peak_ = std::max(cells_peak_, cells_used_);
}

Race& BranchTable::find(RaceId id) {
  const auto found = races_.find(id);
  if (found != races_.end()) return *found->second;
  throw EngineError("RACE_UNKNOWN", "Expected the id of a race of this pool but received " + std::to_string(id));
}

const Race& BranchTable::find(RaceId id) const { return const_cast<BranchTable*>(this)->find(id); }

Branch* BranchTable::at(int stream) { return branch_of(owners_[static_cast<std::size_t>(stream)]); }

Branch* BranchTable::branch_of(const Owner& owner) const {
  return owner.branch < 0 ? nullptr : &owner.race->branches[static_cast<std::size_t>(owner.branch)];
}

int BranchTable::length(int stream) const {
  const Owner& owner = owners_[static_cast<std::size_t>(stream)];
  if (owner.race == nullptr) return 0;
  const Branch* const branch = branch_of(owner);
  return branch == nullptr ? static_cast<int>(owner.race->prompt.size()) : branch->length;
}

int BranchTable::cells(int stream) const {
  const Owner& owner = owners_[static_cast<std::size_t>(stream)];
  const bool shares = streams_.unified() && owner.race != nullptr && owner.branch >= 0;
  return length(stream) - (shares ? static_cast<int>(owner.race->prompt.size()) : 0);
}

std::int64_t BranchTable::cells_free() const {
  const PoolParams& params = streams_.params();
  const std::int64_t all =
      streams_.unified() ? params.unified_cells : static_cast<std::int64_t>(params.streams) * params.cells_per_stream;
  return all - cells_used_;
}

const float* BranchTable::state(const Race& race, const Branch& branch) const {
  if (branch.row >= 0) return streams_.state(branch.row);
  return branch.generated == 0 ? race.state.data() : branch.state.data();
}

const float* BranchTable::logits(const Race& race, const Branch& branch) const {
  if (branch.row >= 0) return streams_.logits(branch.row);
  return branch.generated == 0 ? race.logits.data() : nullptr;
}

Occupancy BranchTable::occupancy() const {
  const PoolParams& params = streams_.params();
  Occupancy occupancy;
  occupancy.streams = params.streams;
  occupancy.streams_used = used_;
  occupancy.streams_free = occupancy.streams - occupancy.streams_used;
  occupancy.cells_per_stream = params.cells_per_stream;
  occupancy.cells_used = cells_used_;
  occupancy.cells_free = cells_free();
  occupancy.cells = occupancy.cells_free + occupancy.cells_used;
  occupancy.cells_peak = cells_peak_;
  for (const auto& [id, race] : races_) {
    occupancy.live += race->live;
    for (const Branch& branch : race->branches) occupancy.parked_bytes += branch.cells.size();
  }
  occupancy.kv_bytes = streams_.bytes();
  return occupancy;
}

}  // namespace winnow
