#include "branch_table.h"

#include <gtest/gtest.h>

#include <atomic>

#include "fixture.h"
#include "prompt.h"

namespace winnow::test {
namespace {

const std::vector<Token> kPrompt = {1, 40, 41, 42};

// Four branches that share a prompt of four tokens.
struct Forked {
  std::atomic<bool> abort{false};
  std::unique_ptr<Streams> streams = Streams::open(small(), pool_of(4), abort);
  BranchTable branches{*streams};

  Forked() {
    EXPECT_TRUE(decode_prompt(*streams, kPrompt, Streams::Clock::time_point::max()));
    branches.hold_prompt(static_cast<int>(kPrompt.size()));
    branches.fork(10, 4);
    branches.check_integrity();
  }

  // One token for every live branch.
  void step() {
    for (int stream = 0; stream < branches.live(); ++stream)
      streams->set_row(stream, 5, branches.at(stream).length, stream, true);
    EXPECT_TRUE(streams->decode(branches.live()));
    branches.grow();
    for (int stream = 0; stream < branches.live(); ++stream) ++branches.at(stream).generated;
  }

  std::string integrity() {
    return message_of([&] { branches.check_integrity(); });
  }
};

TEST(BranchTable, MovesTheTailIntoTheHolesAndNothingElse) {
  Forked forked;
  forked.step();
  forked.branches.find(10).status = BranchStatus::killed;
  forked.branches.find(11).status = BranchStatus::end;
  forked.branches.retire();
  EXPECT_EQ(forked.branches.live(), 2);
  EXPECT_EQ(forked.branches.find(12).stream, 0);
  EXPECT_EQ(forked.branches.find(13).stream, 1);
  EXPECT_EQ(forked.branches.find(10).stream, -1);
  EXPECT_EQ(forked.branches.occupancy().cells_used, 2 * 5);
  EXPECT_EQ(forked.branches.occupancy().cells_peak, 4 * 5);
  EXPECT_EQ(forked.integrity(), "");

  forked.branches.find(13).status = BranchStatus::killed;  // the last stream leaves no hole
  forked.branches.retire();
  EXPECT_EQ(forked.branches.find(12).stream, 0);
  EXPECT_EQ(forked.integrity(), "");
}

TEST(BranchTable, KeepsTheStateOfABranchThatEnded) {
  Forked forked;
  forked.step();
  const float* row = forked.branches.state(forked.branches.find(11));
  const std::vector<float> before(row, row + small()->facts().width);
  forked.branches.find(11).status = BranchStatus::killed;
  forked.branches.retire();
  forked.step();
  row = forked.branches.state(forked.branches.find(11));
  EXPECT_EQ(std::vector<float>(row, row + small()->facts().width), before);
}

TEST(BranchTable, IsFullWhenTheCellsOfAStreamAre) {
  Forked forked;
  for (int length = 4; length < 256; ++length) {
    ASSERT_FALSE(forked.branches.full()) << length;
    forked.step();
  }
  EXPECT_TRUE(forked.branches.full());
}

TEST(BranchTable, NoticesCellsThatWereNeverDecoded) {
  Forked forked;
  forked.branches.grow();
  EXPECT_EQ(forked.integrity(), "Expected 4 for the cells of branch 10 but received 5");
  for (Branch& branch : forked.branches.all()) ++branch.generated;
  EXPECT_EQ(forked.integrity(), "Expected 4 for llama.cpp's last position in stream 0 but received 3");
}

TEST(BranchTable, NoticesCellsThatWereFreedBehindItsBack) {
  Forked forked;
  forked.streams->free_cells(2);
  EXPECT_EQ(forked.integrity(), "Expected 3 for llama.cpp's last position in stream 2 but received -1");
}

TEST(BranchTable, NoticesABranchThatEndedAndKeptItsStream) {
  Forked forked;
  forked.branches.find(13).status = BranchStatus::killed;
  EXPECT_EQ(forked.integrity(), "Expected 0 for the status of branch 13 but received 4");
}

TEST(BranchTable, NoticesAStreamThatTwoBranchesClaim) {
  Forked forked;
  forked.branches.find(11).stream = 0;
  EXPECT_EQ(forked.integrity(), "Expected 1 for the stream of branch 11 but received 0");
}

}  // namespace
}  // namespace winnow::test
