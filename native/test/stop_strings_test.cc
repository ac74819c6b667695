#include "stop_strings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "fixture.h"

namespace winnow::test {
namespace {

struct Read {
  std::string shown;  // after the cut, or all of it where none was found
  bool stopped = false;
  StopScan::Cut cut;
  int held = 0;  // at the end
};

// Feeds pieces one by one and looks after each at what may be shown.
Read read(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopScan scan(StopStrings::of(stops));
  const int longest = StopStrings::of(stops)->longest();
  Read read;
  std::size_t shown_before = 0;
  for (const std::string& piece : pieces) {
    read.shown += piece;
    const std::optional<StopScan::Cut> cut = scan.find(piece);
    if (cut) {
      read.stopped = true;
      read.cut = *cut;
      read.shown.resize(read.shown.size() - static_cast<std::size_t>(cut->text));
      EXPECT_GE(read.shown.size(), shown_before) << "a byte of the stop string had been shown";
      return read;
    }
    scan.accept(piece);
    read.held = scan.held();
    EXPECT_LT(read.held, longest);
    const std::size_t visible = read.shown.size() - static_cast<std::size_t>(read.held);
    EXPECT_GE(visible, shown_before) << "what was shown is taken back";
    shown_before = visible;
  }
  return read;
}

TEST(StopStrings, AreFoundWithinOneToken) {
  const Read found = read({"stop"}, {"go on ", "and stop here"});
  EXPECT_TRUE(found.stopped);
  EXPECT_EQ(found.shown, "go on and ");
  EXPECT_EQ(found.cut.tokens, 0) << "the last token is kept in part";
  EXPECT_EQ(found.cut.bytes, 9);
  EXPECT_EQ(found.cut.text, 9);
}

TEST(StopStrings, AreFoundAcrossTokens) {
  const Read found = read({"\n\nQuestion:"}, {"4", "2\n", "\n", "Quest", "ion", ": what"});
  EXPECT_TRUE(found.stopped);
  EXPECT_EQ(found.shown, "42");
  EXPECT_EQ(found.cut.tokens, 4) << "four whole tokens";
  EXPECT_EQ(found.cut.bytes, 1) << "and the newline of the one before";
}

TEST(StopStrings, CutWholeTokensWhereTheMatchBeginsWithOne) {
  const Read found = read({"abc"}, {"x", "a", "bc"});
  EXPECT_EQ(found.shown, "x");
  EXPECT_EQ(found.cut.tokens, 2);
  EXPECT_EQ(found.cut.bytes, 0);
}

TEST(StopStrings, MayBeTheWholeText) {
  const Read found = read({"abc"}, {"a", "", "b", "c"});
  EXPECT_EQ(found.shown, "");
  EXPECT_EQ(found.cut.tokens, 4) << "the token without a text among them";
}

TEST(StopStrings, OfWhichOneBeginsAnotherEndWithTheShorter) {
  EXPECT_EQ(read({"ab", "abcd"}, {"xxabcd"}).shown, "xx");
  EXPECT_EQ(read({"ab", "abcd"}, {"xxabcd"}).cut.text, 4);
}

TEST(StopStrings, ThatEndTogetherCutTheLongest) {
  const Read found = read({"cd", "abcd"}, {"xxabcd"});
  EXPECT_EQ(found.shown, "xx");
  EXPECT_EQ(read({"cd", "abcd"}, {"xxbcd"}).shown, "xxb");
}

TEST(StopStrings, ThatOverlapEndWithTheFirstToEnd) {
  EXPECT_EQ(read({"abcde", "cd"}, {"ab", "c", "de"}).shown, "ab");
  EXPECT_EQ(read({"aab"}, {"aaab"}).shown, "a") << "a start that fails leads into the next";
  EXPECT_EQ(read({"abab", "abc"}, {"ababab"}).shown, "");
  EXPECT_EQ(read({"ababc"}, {"abab", "abc"}).shown, "ab");
}

TEST(StopStrings, HoldBackWhatMayBeginOne) {
  EXPECT_EQ(read({"stop"}, {"a st"}).held, 2);
  EXPECT_EQ(read({"stop"}, {"a st", "a"}).held, 0);
  EXPECT_EQ(read({"stop"}, {"a sto", "s"}).held, 1);
  EXPECT_EQ(read({"aaaa"}, {"aa", "a"}).held, 3) << "never as much as the longest has";
}

TEST(StopStrings, AreBytesSoThatACharacterMayBeSplit) {
  const std::string stop =
      "\xE2\x80\x94"
      "Ende";  // an em dash, three bytes
  EXPECT_EQ(read({stop}, {"gut\xE2", "\x80",
                          "\x94"
                          "En",
                          "de."})
                .shown,
            "gut");
  EXPECT_EQ(read({stop}, {"gut\xE2", "\x80",
                          "\x93"
                          "Ende"})
                .stopped,
            false)
      << "an en dash";
  EXPECT_EQ(read({stop}, {"gut\xE2", "\x80"}).held, 2);
}

TEST(StopStrings, AreGivenOnceAndNotEmpty) {
  EXPECT_EQ(StopStrings::of({}), nullptr);
  EXPECT_EQ(message_of([] {
              StopStrings::of({"a", ""});
            }),
            "Expected strings of at least one character for stop but received an empty one");
  EXPECT_EQ(code_of([] { StopStrings::of({""}); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([] { StopStrings::of(std::vector<std::string>(1025, "a")); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([] { StopStrings::of({std::string((1 << 16) + 1, 'a')}); }), "OPTION_INVALID");
  EXPECT_TRUE(read({"a", "a"}, {"ba"}).stopped);
}

TEST(StopStrings, ACopyGoesItsOwnWay) {
  StopScan one(StopStrings::of({"stop"}));
  one.accept("st");
  StopScan other = one;
  EXPECT_FALSE(other.find("ar").has_value());
  other.accept("ar");
  EXPECT_EQ(other.held(), 0);
  EXPECT_EQ(one.held(), 2);
  EXPECT_TRUE(one.find("op").has_value());
  EXPECT_TRUE(one.find("op").has_value()) << "finding changes nothing";
}

// The longest match among those that end first, by looking at every place.
std::optional<std::pair<std::size_t, std::size_t>> first_match(const std::vector<std::string>& stops,
                                                               const std::string& text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0)
        longest = std::max(longest, stop.size());
    }
    if (longest > 0) return std::make_pair(end - longest, end);
  }
  return std::nullopt;
}

// The most bytes at the end that begin a stop string.
int begun(const std::vector<std::string>& stops, const std::string& text) {
  for (std::size_t bytes = text.size(); bytes > 0; --bytes) {
    for (const std::string& stop : stops) {
      if (stop.size() > bytes && text.compare(text.size() - bytes, bytes, stop, 0, bytes) == 0)
        return static_cast<int>(bytes);
    }
  }
  return 0;
}

TEST(StopStrings, AgreeWithLookingEverywhere) {
  std::mt19937_64 random(12);
  const auto text_of = [&](std::size_t most) {
    std::string text(1 + random() % most, 'a');
    for (char& each : text) each = static_cast<char>('a' + random() % 3);
    return text;
  };
  int stopped = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    std::vector<std::string> stops(1 + random() % 6), pieces(1 + random() % 20);
    std::string text;
    for (std::string& stop : stops) stop = text_of(9);
    for (std::string& piece : pieces) {
      piece = random() % 8 == 0 ? "" : text_of(5);
      text += piece;
    }
    const auto expected = first_match(stops, text);
    const Read found = read(stops, pieces);
    ASSERT_EQ(found.stopped, expected.has_value()) << text;
    if (!expected) {
      ASSERT_EQ(found.held, begun(stops, text)) << text;
      continue;
    }
    ++stopped;
    ASSERT_EQ(found.shown, text.substr(0, expected->first));
    // The same by tokens: whole ones, then bytes of the one before.
    std::size_t last = 0, bytes = 0;
    while (bytes + pieces[last].size() < expected->second) bytes += pieces[last++].size();
    std::string kept;
    const std::size_t whole = last + 1 - static_cast<std::size_t>(found.cut.tokens);
    for (std::size_t i = 0; i < whole; ++i) kept += pieces[i];
    ASSERT_LE(static_cast<std::size_t>(found.cut.bytes), kept.size());
    if (found.cut.bytes > 0) {
      ASSERT_LT(static_cast<std::size_t>(found.cut.bytes), pieces[whole - 1].size());
    }
    kept.resize(kept.size() - static_cast<std::size_t>(found.cut.bytes));
    ASSERT_EQ(kept, found.shown);
  }
  EXPECT_GT(stopped, 1000);
  EXPECT_LT(stopped, 2900);
}

TEST(StopStrings, MayBeAThousand) {
  std::vector<std::string> stops;
  for (int i = 0; i < 1000; ++i) stops.push_back("stop number " + std::to_string(i) + ".");
  const Read found = read(stops, {"on and on, ", "stop num", "ber 99", "7. more"});
  EXPECT_EQ(found.shown, "on and on, ");
  EXPECT_EQ(read(stops, {"stop number 1000."}).stopped, false);
  EXPECT_EQ(read(stops, {"stop number 1000"}).held, 0) << "no stop string begins so";
  EXPECT_EQ(read(stops, {"stop number 100"}).held, 15);
}

}  // namespace
}  // namespace winnow::test
