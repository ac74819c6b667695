// Pool's operations that take branches out of their streams and put them back: parked and resumed, or all of them moved
// to streams of another shape.
#include <algorithm>
#include <exception>
#include <map>
#include <string>
#include <utility>

#include "error.h"
#include "pool_state.h"
#include "prompt.h"
#include "request.h"

namespace winnow {

void Pool::park(RaceId id, const std::vector<std::int32_t>& ids, bool copy) {
  Streams& streams = *state_->streams;
  BranchTable& branches = state_->branches;
  streams.require_usable();
  Race& race = branches.find(id);
  for (const std::int32_t each : ids) race.find(each);
  state_->step.keep_rows();
  std::map<std::int32_t, std::vector<std::uint8_t>> cells;  // none is parked before all have been copied
  if (copy && streams.movable()) {
    streams.settle_copies(branches.used());
    for (const std::int32_t each : ids) {
      const Branch& branch = race.find(each);
      if (branch.status == BranchStatus::live) cells[each] = state_->save(race, branch);
    }
  }
  for (const std::int32_t each : ids) {
    Branch& branch = race.find(each);
    if (branch.status != BranchStatus::live) continue;
    branch.status = BranchStatus::parked;
    branch.cells = std::move(cells[each]);
  }
  branches.retire();
  WINNOW_CHECK_INTEGRITY();
}

// A branch's cells; in a unified cache those behind the prompt, none where there are none.
std::vector<std::uint8_t> Pool::State::save(const Race& race, const Branch& branch) {
  if (!streams->unified()) return streams->save(branch.stream);
  if (branch.generated == 0) return {};
  const int prompt = static_cast<int>(race.prompt.size());
  streams->unshare(branch.stream, prompt);
  std::exception_ptr failure;
  std::vector<std::uint8_t> cells;
  try {
    cells = streams->save(branch.stream);
  } catch (...) {
    failure = std::current_exception();
  }
  streams->share(race.prompt_stream, branch.stream, prompt);
  if (failure) std::rethrow_exception(failure);
  return cells;
}

void Pool::State::load(int stream, const Race& race, const std::vector<std::uint8_t>& cells) {
  streams->load(stream, cells);
  if (streams->unified()) streams->share(race.prompt_stream, stream, static_cast<int>(race.prompt.size()));
}

// Where the race's prompt lies beside this stream: in one of its own, or as the beginning of a branch; -1 for nowhere.
// In streams made anew it may not be there yet.
int Pool::State::prompt_beside(int stream, const Race& race) const {
  const int prompt = static_cast<int>(race.prompt.size());
  const int kept = race.prompt_stream;
  if (kept >= 0 && kept != stream && streams->last(kept) + 1 == prompt) return kept;
  if (!streams->movable()) return -1;
  for (const Branch& branch : race.branches)
    if (branch.stream >= 0 && branch.stream != stream && streams->last(branch.stream) + 1 >= prompt)
      return branch.stream;
  return -1;
}

// The prompt, and what the branch wrote behind it, into an empty stream; the tokens that were decoded for it.
int Pool::State::decode_again(int stream, const Race& race, const Branch* branch) {
  const int prompt = static_cast<int>(race.prompt.size());
  const int source = prompt_beside(stream, race);
  if (source >= 0) {
    streams->copy(source, stream);
    if (source != race.prompt_stream) streams->cut(stream, prompt);
  } else {
    // Cut as it was when it was first decoded.
    replay(*streams, stream, {race.prompt.begin(), race.prompt.end() - 1}, 0, false);
    replay(*streams, stream, {race.prompt.back()}, prompt - 1, false);
  }
  if (branch != nullptr) replay(*streams, stream, branch->tokens, prompt, true);
  return (source >= 0 ? 0 : prompt) + (branch == nullptr ? 0 : branch->generated);
}

std::int64_t Pool::resume(RaceId id, const std::vector<std::int32_t>& ids) {
  Streams& streams = *state_->streams;
  BranchTable& branches = state_->branches;
  streams.require_usable();
  Race& race = branches.find(id);
  std::vector<Branch*> parked;
  for (const std::int32_t each : ids) {
    Branch& branch = race.find(each);
    const bool twice = std::find(parked.begin(), parked.end(), &branch) != parked.end();
    if (branch.status == BranchStatus::parked && !twice) parked.push_back(&branch);
  }
  const int room = params().streams - branches.used();
  if (static_cast<int>(parked.size()) > room) {
    throw EngineError("STREAMS_FULL", "Expected at most " + std::to_string(room) +
                                          " branches, one for each free stream, but received " +
                                          std::to_string(parked.size()));
  }
  std::int64_t needed = 0;
  for (const Branch* const branch : parked) {
    needed += streams.unified() ? branch->generated : branch->length;
    if (branch->length <= streams.limit()) continue;
    throw EngineError("OPTION_INVALID", "Expected streams of at least " + std::to_string(branch->length) +
                                            " cells for a parked branch but received " +
                                            std::to_string(streams.limit()));
  }
  check_cells(needed, branches);
  state_->step.keep_rows();
  std::int64_t decoded = 0;
  for (Branch* const branch : parked) {
    const int stream = branches.used();
    if (branch->cells.empty()) {
      decoded += state_->decode_again(stream, race, branch);
    } else {
      streams.settle_copies(stream);
      state_->load(stream, race, branch->cells);
      branch->cells = {};
    }
    branches.seat(race, *branch);
  }
  WINNOW_CHECK_INTEGRITY();
  return decoded;
}

// Everybody's cells into streams made anew: from the copies, or decoded again where there are none.
void Pool::State::put_back(const std::vector<std::vector<std::uint8_t>>& cells) {
  branches.remade();
  try {
    for (int stream = 0; stream < branches.used(); ++stream) {
      if (cells.empty()) {
        decode_again(stream, branches.owner(stream), branches.at(stream));
      } else {
        streams->load(stream, cells[static_cast<std::size_t>(stream)]);
      }
    }
  } catch (...) {
    streams->end();  // some hold nothing of what they are said to
    throw;
  }
}

void Pool::reshape(int count, int cells_per_stream) {
  Streams& streams = *state_->streams;
  BranchTable& branches = state_->branches;
  streams.require_usable();
  const PoolParams before = params();
  streams.check_shape(count, cells_per_stream);
  check_shape(count, cells_per_stream, branches);
  state_->step.keep_rows();
  std::vector<std::vector<std::uint8_t>> cells;
  if (streams.movable()) {
    streams.settle_copies(branches.used());
    for (int stream = 0; stream < branches.used(); ++stream) cells.push_back(streams.save(stream));
  }
  try {
    streams.remake(count, cells_per_stream);
  } catch (const std::exception& error) {
    const auto* const own = dynamic_cast<const EngineError*>(&error);
    if (own != nullptr && own->code() == "NATIVE_ASSERT") throw;
    streams.remake(before.streams, before.cells_per_stream);
    state_->put_back(cells);
    throw;
  }
  state_->put_back(cells);
  WINNOW_CHECK_INTEGRITY();
}

}  // namespace winnow
