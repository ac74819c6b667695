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
  Race* race = nullptr;

  Forked() {
    EXPECT_TRUE(decode_prompt(*streams, branches.free_stream(), kPrompt, 0, Streams::Clock::time_point::max()));
    race = &branches.open(kPrompt, hash_prompt(kPrompt));
    ForkParams fork = fork_of(4);
    fork.first_candidate = 10;
    Branch like;
    like.fork = std::make_shared<const ForkParams>(fork);
    branches.fork(*race, like);
    branches.check_integrity();
  }

  std::vector<Branch*> live() {
    std::vector<Branch*> all;
    for (int stream = 0; stream < branches.used(); ++stream) all.push_back(branches.at(stream));
    return all;
  }

  // One token for every live branch.
  void step() {
    int row = 0;
    for (const Branch* branch : live()) streams->set_row(row++, 5, branch->length, branch->stream, true);
    EXPECT_TRUE(streams->decode(row));
    row = 0;
    for (Branch* branch : live()) {
      branch->row = row++;
      ++branch->generated;
      branches.grow(*branch);
    }
  }

  std::string integrity() {
    return message_of([&] { branches.check_integrity(); });
  }
};

TEST(BranchTable, MovesTheTailIntoTheHolesAndNothingElse) {
  Forked forked;
  forked.step();
  forked.race->find(10).status = BranchStatus::killed;
  forked.race->find(11).status = BranchStatus::end;
  forked.branches.retire();
  EXPECT_EQ(forked.branches.used(), 2);
  EXPECT_EQ(forked.race->find(12).stream, 0);
  EXPECT_EQ(forked.race->find(13).stream, 1);
  EXPECT_EQ(forked.race->find(10).stream, -1);
  EXPECT_EQ(forked.branches.occupancy().cells_used, 2 * 5);
  EXPECT_EQ(forked.branches.occupancy().cells_peak, 4 * 5);
  EXPECT_EQ(forked.integrity(), "");

  forked.race->find(13).status = BranchStatus::killed;  // the last stream leaves no hole
  forked.branches.retire();
  EXPECT_EQ(forked.race->find(12).stream, 0);
  EXPECT_EQ(forked.integrity(), "");
}

TEST(BranchTable, KeepsTheStateOfABranchThatEnded) {
  Forked forked;
  forked.step();
  const float* row = forked.branches.state(*forked.race, forked.race->find(11));
  const std::vector<float> before(row, row + small()->facts().width);
  forked.race->find(11).status = BranchStatus::killed;
  forked.branches.retire();
  forked.step();
  row = forked.branches.state(*forked.race, forked.race->find(11));
  EXPECT_EQ(std::vector<float>(row, row + small()->facts().width), before);
}

TEST(BranchTable, NoticesCellsThatWereNeverDecoded) {
  Forked forked;
  for (Branch* branch : forked.live()) forked.branches.grow(*branch);
  EXPECT_EQ(forked.integrity(), "Expected 4 for the cells of branch 10 of race 1 but received 5");
  for (Branch& branch : forked.race->branches) ++branch.generated;
  EXPECT_EQ(forked.integrity(), "Expected 4 for llama.cpp's last position in stream 0 but received 3");
}

TEST(BranchTable, NoticesCellsThatWereFreedBehindItsBack) {
  Forked forked;
  forked.streams->free_cells(2);
  EXPECT_EQ(forked.integrity(), "Expected 3 for llama.cpp's last position in stream 2 but received -1");
}

TEST(BranchTable, NoticesABranchThatEndedAndKeptItsStream) {
  Forked forked;
  forked.race->find(13).status = BranchStatus::killed;
  EXPECT_EQ(forked.integrity(), "Expected 0 for the status of branch 13 of race 1 but received 4");
}

TEST(BranchTable, NoticesAStreamThatTwoBranchesClaim) {
  Forked forked;
  forked.race->find(11).stream = 0;
  EXPECT_EQ(forked.integrity(), "Expected 1 for the stream of branch 11 of race 1 but received 0");
}

}  // namespace
}  // namespace winnow::test
