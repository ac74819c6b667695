#include "mirror.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
#include <thread>

#include "fault.h"
#include "mirrored.h"

namespace winnow::test {
namespace {

const std::vector<Token> kPrefix = {1, 40, 41, 42, 300};

struct Rig {
  explicit Rig(int streams, int branches, int batch = 64) : mirror(Mirror::create(model, mirror_of(streams, batch))) {
    mirror->prefill(kPrefix);
    mirror->fork(branches);
  }
  std::shared_ptr<Model> model = exact("llama");
  std::shared_ptr<const Head> head = head_of(model->facts().width);
  std::unique_ptr<Mirror> mirror;
};

TEST(Mirror, DecodesEachTokenOnceAndTheSuffixEachTime) {
  Rig rig(4, 4);
  const Texts first = {{5, 6, 7}, {8}, {9, 10}, {}};
  const MirrorScores one = rig.mirror->score(*rig.head, request_of(ids(0, 4), {5, 5, 5, 5}, first, {20, 21}));
  EXPECT_EQ(one.cost.decoded, 6 + 8);
  EXPECT_EQ(one.cost.suffix_decoded, 8);
  EXPECT_EQ(one.scores.size(), 4u);
  EXPECT_TRUE(one.marked.empty());
  EXPECT_EQ(rig.mirror->occupancy().cells_used, 4 * 5 + 6);
  EXPECT_EQ(rig.mirror->occupancy().cells_peak, 4 * 5 + 14);
  const MirrorScores two = rig.mirror->score(*rig.head, request_of({2, 0}, {7, 8}, {{11}, {12, 13, 14, 15}}, {20, 21}));
  EXPECT_EQ(two.cost.decoded, 5 + 4);
  EXPECT_EQ(two.cost.suffix_decoded, 4);
}

TEST(Mirror, AnswersFromTheKeptStateWhenNothingIsNew) {
  Rig rig(2, 2);
  const MirrorScores one = rig.mirror->score(*rig.head, request_of({0, 1}, {5, 5}, {{5, 6}, {7}}));
  EXPECT_EQ(one.cost.decoded, 3);
  const MirrorScores two = rig.mirror->score(*rig.head, request_of({1, 0}, {6, 7}, {{}, {}}));
  EXPECT_EQ(two.cost.decoded, 0);
  EXPECT_EQ(two.cost.batches, 0);
  EXPECT_EQ(two.scores, (std::vector<float>{one.scores[1], one.scores[0]}));
  // A read behind a suffix leaves the branch's own state as it was; one token less has a state of its own.
  rig.mirror->score(*rig.head, request_of({0}, {7}, {{}}, {30}));
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of({0}, {7}, {{}})).cost.decoded, 0);
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of({0}, {6}, {{}})).cost.decoded, 1);
  EXPECT_EQ(rig.mirror->occupancy().cells_used, 6 + 6);
}

TEST(Mirror, ScoresThePrefixAloneWithoutDecodingItAgain) {
  Rig rig(3, 3);
  FromScratch scratch(rig.model, rig.head);
  const MirrorScores scores = rig.mirror->score(*rig.head, request_of({2, 0}, {5, 5}, {{}, {}}));
  EXPECT_EQ(scores.cost.decoded, 0);
  EXPECT_EQ(scores.scores, std::vector<float>(2, scratch(kPrefix)));
}

TEST(Mirror, TakesALastTokenThatIsMarkedAsOneRow) {
  Rig rig(1, 1);
  MirrorRequest request = request_of({0}, {5}, {{5, 6, 7}});
  request.marks = {1, 0, 1};
  const MirrorScores scores = rig.mirror->score(*rig.head, request);
  EXPECT_EQ(scores.cost.decoded, 3);
  ASSERT_EQ(scores.marked.size(), 2u);
  EXPECT_EQ(scores.marked[1], scores.scores[0]);
  EXPECT_NE(scores.marked[0], scores.scores[0]);
}

TEST(Mirror, ScoresAtMoreMarksThanOneBatchHasOutputs) {
  Rig rig(8, 8, 512);
  FromScratch scratch(rig.model, rig.head);
  std::vector<Token> text(40);
  std::iota(text.begin(), text.end(), 200);
  MirrorRequest request = request_of(ids(0, 8), std::vector<int>(8, 5), Texts(8, text));
  request.marks.assign(request.tokens.size(), 1);
  const MirrorScores scores = rig.mirror->score(*rig.head, request);
  EXPECT_EQ(scores.cost.decoded, 320);
  EXPECT_EQ(scores.cost.batches, 4) << "39 tokens of 8 branches, 128 rows at most, and the last tokens";
  ASSERT_EQ(scores.marked.size(), 320u);
  for (std::size_t token = 0; token < text.size(); ++token) {
    const float expected =
        scratch(joined(kPrefix, {text.begin(), text.begin() + static_cast<std::ptrdiff_t>(token) + 1}));
    for (std::size_t branch = 0; branch < 8; ++branch)
      EXPECT_NEAR(scores.marked[branch * 40 + token], expected, 1e-4) << token << " of " << branch;
  }
}

TEST(Mirror, DecodesBranchesOfOneLengthTogether) {
  Rig rig(8, 8, 256);
  const Texts equal(8, {5, 6, 7, 8, 9});
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of(ids(0, 8), std::vector<int>(8, 5), equal)).cost.batches, 2);
  // A hole in the streams splits both batches.
  const std::vector<std::int32_t> some = {0, 1, 3, 4, 5};
  const Texts five(5, {5, 6, 7, 8, 9});
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of(some, std::vector<int>(5, 10), five)).cost.batches, 4);
  rig.mirror->drop({2, 6, 7});
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of(some, std::vector<int>(5, 15), five)).cost.batches, 2);
}

TEST(Mirror, FreesTheCellsOfDroppedBranchesAndClosesHoles) {
  Rig rig(6, 6);
  rig.mirror->drop({0, 4});
  rig.mirror->drop({0});
  const Occupancy occupancy = rig.mirror->occupancy();
  EXPECT_EQ(occupancy.live, 4);
  EXPECT_EQ(occupancy.streams_free, 2);
  EXPECT_EQ(occupancy.cells_used, 4 * 5);
  rig.mirror->check_integrity();
  EXPECT_EQ(code_of([&] { rig.mirror->score(*rig.head, request_of({4}, {5}, {{5}})); }), "BRANCH_UNKNOWN");
  rig.mirror->drop({1, 2, 3, 5});
  EXPECT_EQ(rig.mirror->occupancy().cells_used, 0);
  rig.mirror->prefill(kPrefix);
  rig.mirror->fork(6);
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of({4}, {5}, {{5}})).cost.decoded, 1);
}

TEST(Mirror, FillsAStreamToItsLastCellAndRefusesOneTokenMoreBeforeItDecodes) {
  Rig rig(2, 2);
  const std::vector<Token> rest(256 - 5 - 1, 9);
  const MirrorRequest whole = request_of({0, 1}, {5, 5}, {rest, {4}}, {3});
  EXPECT_EQ(rig.mirror->score(*rig.head, whole).cost.decoded, 250 + 1 + 2);
  const Occupancy before = rig.mirror->occupancy();
  EXPECT_EQ(code_of([&] {
              rig.mirror->score(*rig.head, request_of({1, 0}, {6, 255}, {{5}, {5}}, {3}));
            }),
            "CONTEXT_TOO_LONG");
  EXPECT_EQ(rig.mirror->occupancy().cells_used, before.cells_used);
  // Branch 1 has not got the token that came with the refused one.
  EXPECT_EQ(code_of([&] { rig.mirror->score(*rig.head, request_of({1}, {7}, {{}})); }), "OPTION_INVALID");
  EXPECT_EQ(rig.mirror->score(*rig.head, request_of({0}, {255}, {{5}})).cost.decoded, 1);
  const std::vector<Token> text(256, 9);
  EXPECT_EQ(code_of([&] { rig.mirror->prefill(text); }), "PROMPT_TOO_LONG");
  EXPECT_EQ(rig.mirror->prefill(std::vector<Token>(255, 9)).tokens, 255);
}

TEST(Mirror, RefusesARequestThatContradictsItself) {
  Rig rig(3, 3);
  const MirrorRequest good = request_of({0, 1}, {5, 5}, {{5}, {6}});
  const auto refused = [&](auto change) {
    MirrorRequest request = good;
    change(request);
    return code_of([&] { rig.mirror->score(*rig.head, request); });
  };
  EXPECT_EQ(refused([](MirrorRequest& r) { r.ids = {0, 0}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.ids = {0}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.ids = {0, 3}; }), "BRANCH_UNKNOWN");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.ids = {-1, 0}; }), "BRANCH_UNKNOWN");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.keep = {5}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.keep = {5, 6}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.keep = {-1, 5}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {0, 2, 1}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {1, 1, 2}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {0, 1, 3}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.offsets = {0, -1, 2}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.marks = {1}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.marks = {1, 2}; }), "OPTION_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.tokens = {5, 512}; }), "TOKEN_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) { r.suffix = {-1}; }), "TOKEN_INVALID");
  EXPECT_EQ(refused([](MirrorRequest& r) {
              r.keep = {0, 5};
              r.offsets = {0, 0, 2};
            }),
            "OPTION_INVALID")
      << "nothing to score at";
  EXPECT_EQ(refused([](MirrorRequest&) {}), "");
  EXPECT_TRUE(rig.mirror->score(*rig.head, request_of({}, {}, {})).scores.empty());
}

TEST(Mirror, RefusesHeadsOfAnotherWidthOrWithFeatures) {
  Rig rig(1, 1);
  const MirrorRequest request = request_of({0}, {5}, {{5}});
  EXPECT_EQ(code_of([&] { rig.mirror->score(*head_of(64), request); }), "HEAD_WIDTH");
  EXPECT_EQ(code_of([&] { rig.mirror->score(*head_of(128, {"mean_logprob"}), request); }), "HEAD_FEATURES");
}

TEST(Mirror, RefusesCallsOutOfOrder) {
  const std::shared_ptr<Model> model = exact("llama");
  const std::shared_ptr<const Head> head = head_of(model->facts().width);
  const std::unique_ptr<Mirror> mirror = Mirror::create(model, mirror_of(2));
  EXPECT_EQ(code_of([&] { mirror->fork(1); }), "NOT_PREFILLED");
  EXPECT_EQ(code_of([&] { mirror->score(*head, request_of({}, {}, {})); }), "NOT_PREFILLED");
  EXPECT_EQ(code_of([&] { mirror->prefill({}); }), "PROMPT_EMPTY");
  EXPECT_EQ(code_of([&] { mirror->prefill({512}); }), "TOKEN_INVALID");
  EXPECT_EQ(code_of([&] { mirror->prefill(kPrefix, -1); }), "OPTION_INVALID");
  mirror->prefill(kPrefix);
  EXPECT_EQ(mirror->occupancy().streams_used, 1);
  EXPECT_EQ(code_of([&] { mirror->fork(0); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { mirror->fork(3); }), "STREAMS_FULL");
  mirror->fork(2);
  EXPECT_EQ(code_of([&] { mirror->fork(2); }), "NOT_PREFILLED");
  EXPECT_EQ(code_of([&] { mirror->drop({0, 2}); }), "BRANCH_UNKNOWN");
  EXPECT_EQ(mirror->occupancy().live, 2);
  EXPECT_EQ(code_of([&] { mirror->score(*head, request_of({0}, {5}, {{5}}), std::nan("")); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([] { Mirror::create(nullptr, mirror_of(1)); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { Mirror::create(model, mirror_of(257)); }), "OPTION_INVALID");
}

TEST(Mirror, CutShortAtAnyMomentGoesOnWhereItWas) {
  Rig rig(4, 4, 16);
  FromScratch scratch(rig.model, rig.head);
  std::vector<Token> text(100);
  std::iota(text.begin(), text.end(), 100);
  const Texts texts = {text, {text.begin(), text.begin() + 60}, {text.begin() + 3, text.end()}, {9}};
  MirrorScores scores = rig.mirror->score(*rig.head, request_of(ids(0, 4), {5, 5, 5, 5}, texts, {30}), 1e-9);
  EXPECT_EQ(scores.reason, AdvanceReason::deadline);
  EXPECT_EQ(scores.cost.decoded, 0);
  EXPECT_TRUE(scores.scores.empty());
  std::int64_t decoded = 0, suffixes = 0;
  int calls = 0;
  double seconds = 1e-4;
  do {
    scores = rig.mirror->score(*rig.head, request_of(ids(0, 4), {105, 65, 102, 6}, Texts(4), {30}), seconds);
    rig.mirror->check_integrity();
    decoded += scores.cost.decoded - scores.cost.suffix_decoded;
    suffixes += scores.cost.suffix_decoded;
    seconds *= 1.3;
    ++calls;
  } while (scores.reason == AdvanceReason::deadline && calls < 200);
  ASSERT_EQ(scores.reason, AdvanceReason::reached);
  EXPECT_EQ(decoded, 100 + 60 + 97 + 1) << "each token once, in however many calls";
  EXPECT_GE(suffixes, 4);
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(scores.scores[i], scratch(joined(joined(kPrefix, texts[i]), {30})), 1e-4);
}

TEST(Mirror, TakesAbortsFromAnotherThreadAtAnyTime) {
  Rig rig(4, 4, 16);
  const Texts texts(4, std::vector<Token>(40, 77));
  std::atomic<bool> done{false};
  std::atomic<int> stopped{0}, reached{0};
  std::thread other([&] {
    int quiet = 20;  // milliseconds; grows until a call fits between two aborts, however slow the machine
    while (!done.load()) {
      rig.mirror->request_abort();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      rig.mirror->clear_abort();
      std::this_thread::sleep_for(std::chrono::milliseconds(quiet));
      if (reached == 0) quiet *= 2;
    }
  });
  const std::chrono::steady_clock::time_point limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while ((stopped < 5 || reached < 5) && std::chrono::steady_clock::now() < limit) {
    const MirrorScores scores = rig.mirror->score(*rig.head, request_of(ids(0, 4), {5, 5, 5, 5}, texts));
    ++(scores.reason == AdvanceReason::reached ? reached : stopped);
    rig.mirror->check_integrity();
  }
  done = true;
  other.join();
  rig.mirror->clear_abort();
  EXPECT_GE(stopped, 5);
  EXPECT_GE(reached, 5);
  FromScratch scratch(rig.model, rig.head);
  const MirrorScores scores = rig.mirror->score(*rig.head, request_of({2}, {45}, {{}}));
  EXPECT_NEAR(scores.scores.at(0), scratch(joined(kPrefix, texts[0])), 1e-4);
}

TEST(Mirror, PrefillCutShortLeavesItEmpty) {
  Rig rig(2, 2);
  EXPECT_EQ(rig.mirror->prefill(kPrefix, 1e-9).reason, AdvanceReason::deadline);
  EXPECT_EQ(rig.mirror->occupancy().cells_used, 0);
  EXPECT_EQ(code_of([&] { rig.mirror->fork(1); }), "NOT_PREFILLED");
  rig.mirror->request_abort();
  EXPECT_EQ(rig.mirror->prefill(kPrefix).reason, AdvanceReason::aborted);
}

TEST(Mirror, IsDeadAfterAFaultInsideLlama) {
  for (const std::string kind : {"code", "exception", "assert"}) {
    Rig rig(2, 2);
    arm_fault(kind, -3);
    EXPECT_EQ(code_of([&] {
                rig.mirror->score(*rig.head, request_of({0}, {5}, {{5, 6}}));
              }),
              kind == "assert" ? "NATIVE_ASSERT" : "DECODE_FAILED");
    EXPECT_EQ(code_of([&] { rig.mirror->score(*rig.head, request_of({0}, {7}, {{}})); }), "POOL_DEAD");
    EXPECT_EQ(code_of([&] { rig.mirror->prefill(kPrefix); }), "POOL_DEAD");
  }
}

}  // namespace
}  // namespace winnow::test
