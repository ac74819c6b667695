// BranchTable's own check: its accounts against its branches, and both against llama.cpp's positions.
#include "branch_table.h"
#include "error.h"

namespace winnow {
namespace {

void expect(bool holds, const std::string& what, std::int64_t expected, std::int64_t received) {
  if (!holds)
    throw EngineError("INTEGRITY", "Expected " + std::to_string(expected) + " for " + what + " but received " +
                                       std::to_string(received));
}

void expect_equal(const std::string& what, std::int64_t expected, std::int64_t received) {
  expect(expected == received, what, expected, received);
}

}  // namespace

void BranchTable::check_stream(int stream) const {
  const int index = stream_owners_[static_cast<std::size_t>(stream)];
  int length = 0;
  if (index >= 0) {
    const Branch& branch = branches_[static_cast<std::size_t>(index)];
    const std::string of = " of branch " + std::to_string(branch.id);
    expect_equal("the stream" + of, stream, branch.stream);
    expect_equal("the status" + of, 0, static_cast<int>(branch.status));
    expect_equal("the cells" + of, prompt_length_ + branch.generated, branch.length);
    length = branch.length;
  } else if (stream == 0 && holds_prompt() && !forked()) {
    length = prompt_length_;
  }
  const std::string in = " in stream " + std::to_string(stream);
  expect((index >= 0) == (stream < live_), "live branches up to stream " + std::to_string(stream), live_, index);
  expect_equal("llama.cpp's last position" + in, length - 1, streams_.last(stream));
  expect_equal("llama.cpp's first position" + in, length > 0 ? 0 : -1, streams_.first(stream));
}

void BranchTable::check_integrity() const {
  std::int64_t cells = 0;
  int used = 0;
  for (int stream = 0; stream < streams_.count(); ++stream) {
    check_stream(stream);
    const int last = streams_.last(stream);
    cells += last + 1;
    used += last >= 0 ? 1 : 0;
  }
  int live = 0;
  for (const Branch& branch : branches_) {
    live += branch.status == BranchStatus::live ? 1 : 0;
    expect((branch.stream >= 0) == (branch.status == BranchStatus::live),
           "the stream of branch " + std::to_string(branch.id), -1, branch.stream);
  }
  const Occupancy now = occupancy();
  expect_equal("live branches", live, live_);
  expect_equal("cells used", cells, now.cells_used);
  expect_equal("streams used", used, now.streams_used);
  expect_equal("cells", now.cells, now.cells_used + now.cells_free);
  expect(now.cells_free >= 0, "cells free", 0, now.cells_free);
  expect_equal("streams", now.streams, now.streams_used + now.streams_free);
  expect(now.cells_peak >= now.cells_used, "peak cells", now.cells_used, now.cells_peak);
}

}  // namespace winnow
