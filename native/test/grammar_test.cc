#include "grammar.h"

#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <tuple>

#include "fixture.h"
#include "grammar_state.h"

namespace winnow::test {
namespace {

const std::string kJson = R"(root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
)";

std::shared_ptr<const Grammar> grammar_of(const std::string& text, const std::string& root = "root") {
  const std::map<std::string, Token> special = {{"<think>", 7}, {"</think>", 8}};
  return Grammar::read(text, root, [&](const std::string& token) {
    const auto found = special.find(token);
    return found == special.end() ? -1 : found->second;
  });
}

// 2000 tokens: each byte, " ", "a", "b", .. "z", "aa", ..
std::shared_ptr<Model> speaking() {
  static const std::shared_ptr<Model> model = [] {
    RandomModelParams params = small_model();
    params.vocabulary = 2000;
    return load(model_file(params));
  }();
  return model;
}

// After a whole text, as one piece.
GrammarState after(const std::string& grammar, const std::string& text) {
  return GrammarState(grammar_of(grammar)).after(-1, text);
}
bool matches(const std::string& grammar, const std::string& text) {
  const GrammarState start(grammar_of(grammar));
  return text.empty() ? start.complete() : start.after(-1, text).complete();
}
bool begins(const std::string& grammar, const std::string& text) { return !after(grammar, text).empty(); }

TEST(Grammar, TakesWhatItsRulesSay) {
  EXPECT_TRUE(matches("root ::= \"yes\" | \"no\"", "yes"));
  EXPECT_TRUE(begins("root ::= \"yes\" | \"no\"", "ye"));
  EXPECT_FALSE(matches("root ::= \"yes\" | \"no\"", "ye"));
  EXPECT_FALSE(begins("root ::= \"yes\" | \"no\"", "yn"));
  EXPECT_FALSE(begins("root ::= \"yes\" | \"no\"", "yes!"));
  EXPECT_TRUE(matches(kJson, R"({"a": [1, -2.5e3, true, null], "b": {"c\n": "\u00e9"}})"));
  EXPECT_FALSE(begins(kJson, R"({"a": [1,, 2]})"));
  EXPECT_FALSE(begins(kJson, R"({a: 1})"));
}

TEST(Grammar, RepeatsAsOftenAsAllowed) {
  for (const auto& [symbol, least, most] : {std::tuple{"*", 0, 99},
                                            {"+", 1, 99},
                                            {"?", 0, 1},
                                            {"{3}", 3, 3},
                                            {"{2,4}", 2, 4},
                                            {"{0,2}", 0, 2},
                                            {"{ 2 , }", 2, 99},
                                            {"{0}", 0, 0}}) {
    for (int times = 0; times < 7; ++times) {
      std::string text;
      for (int i = 0; i < times; ++i) text += "ab";
      EXPECT_EQ(matches("root ::= \"ab\"" + std::string(symbol), text), times >= least && times <= most)
          << symbol << ' ' << times;
      EXPECT_EQ(matches("root ::= (\"a\" \"b\")" + std::string(symbol) + " \".\"", text + "."),
                times >= least && times <= most)
          << symbol << ' ' << times;
    }
  }
}

TEST(Grammar, ReadsClassesEscapesAndComments) {
  EXPECT_TRUE(matches("# a comment\nroot ::= # another\n  [a-cx\\-] # and one\n", "-"));
  EXPECT_TRUE(matches("root ::= [a-c-]", "-"));
  EXPECT_FALSE(begins("root ::= [a-c]", "d"));
  EXPECT_TRUE(matches("root ::= [^a-c\\n]", "d"));
  EXPECT_FALSE(begins("root ::= [^a-c\\n]", "b"));
  EXPECT_TRUE(matches("root ::= [^b-da-c]", "e")) << "ranges that overlap, not in order";
  EXPECT_TRUE(matches("root ::= \"\\x41\\u00e9\\U0001F600\\t\\\"\\\\\"", "A\xC3\xA9\xF0\x9F\x98\x80\t\"\\"));
  EXPECT_TRUE(matches("root ::= \"\xC3\xA9\" .", "\xC3\xA9\xF0\x9F\x98\x80"));
  EXPECT_TRUE(matches("root ::= (\n \"a\"\n | \"b\"\n)\r\nother ::= \"c\"", "b"));
  EXPECT_TRUE(matches("root ::= \"a\"\nroot ::= \"b\"", "b")) << "given twice, the last counts";
}

TEST(Grammar, HoldsCharactersThatAreNotWholeYet) {
  const std::string greek = "root ::= [\xCE\xB1-\xCF\x89]+";  // alpha to omega, U+03B1 to U+03C9
  EXPECT_TRUE(begins(greek, "\xCE"));
  EXPECT_FALSE(begins(greek, "\xC3"));
  EXPECT_FALSE(after(greek, "\xCE").complete());
  EXPECT_TRUE(after(greek, "\xCE").after(-1, "\xB1").complete());
  EXPECT_TRUE(after(greek, "\xCE").after(-1, "\x90").empty()) << "U+0390 is not among them";
  EXPECT_TRUE(after(greek, "\xCE").after(-1, "a").empty());
  for (const std::string broken :
       {"\x80", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF5", "\xFF"})
    EXPECT_FALSE(begins("root ::= .+", broken));
  EXPECT_FALSE(begins("root ::= .+", std::string(1, '\0')));
}

TEST(Grammar, TakesTokensByTheirId) {
  const GrammarState start(grammar_of("root ::= <think> !</think>* </think> [a-z]+ <[9]>"));
  EXPECT_TRUE(start.after(6, "a").empty());
  const GrammarState thinking = start.after(7, "");
  EXPECT_FALSE(thinking.empty());
  EXPECT_FALSE(thinking.after(5, "anything").empty());
  EXPECT_TRUE(thinking.after(5, "").empty()) << "a control token that is not named";
  const GrammarState answering = thinking.after(8, "");
  EXPECT_TRUE(answering.after(9, "").empty());
  EXPECT_TRUE(answering.after(10, "ab").after(9, "").finished());
}

TEST(Grammar, RefusesATextThatIsNoGrammar) {
  const auto reason = [](const std::string& text, const std::string& root = "root") {
    return message_of([&] { grammar_of(text, root); });
  };
  EXPECT_EQ(reason(""), "Expected a GBNF grammar but received no rule 'root' to begin with");
  EXPECT_EQ(reason("root ::= \"a", "root"),
            "Expected a GBNF grammar but received an end within quotes or brackets at line 1, column 12");
  EXPECT_EQ(reason("root ::= \"a\"\nother = \"b\""),
            "Expected a GBNF grammar but received no '::=' at line 2, column 7");
  EXPECT_EQ(reason("root ::= other"), "Expected a GBNF grammar but received no rule 'other', which another names");
  EXPECT_EQ(reason("root ::= \"a\"", "start"), "Expected a GBNF grammar but received no rule 'start' to begin with");
  for (const std::string text : {"root",
                                 "root ::",
                                 "::= \"a\"",
                                 "root ::= [a",
                                 "root ::= (\"a\"",
                                 "root ::= \"a\")",
                                 "root ::= *",
                                 "root ::= \"\"*",
                                 "root ::= \"a\"{",
                                 "root ::= \"a\"{2",
                                 "root ::= \"a\"{2,1}",
                                 "root ::= \"a\"{x}",
                                 "root ::= \"\\q\"",
                                 "root ::= \"\\x4\"",
                                 "root ::= \"\\UFFFFFFFF\"",
                                 "root ::= \"\xFF\"",
                                 "root ::= []",
                                 "root ::= <none>",
                                 "root ::= <",
                                 "root ::= !",
                                 "root ::= <[99999999999]>",
                                 "root ::= <[]>",
                                 "\"a\"",
                                 "root ::= \"a\" %"})
    EXPECT_EQ(code_of([&] { grammar_of(text); }), "GRAMMAR_INVALID") << text;
  EXPECT_EQ(code_of([] { grammar_of(std::string("root ::= \"a\"\0", 13)); }), "GRAMMAR_INVALID");
}

TEST(Grammar, RefusesLeftRecursionHoweverHidden) {
  for (const std::string text : {"root ::= root \"a\" | \"a\"", "root ::= a\na ::= b\nb ::= root | \"x\"",
                                 "root ::= a root \"y\" | \"x\"\na ::= b\nb ::= \"z\" |", "root ::= (\"a\"?)*"}) {
    EXPECT_NE(message_of([&] { grammar_of(text); }).find("(left recursion)"), std::string::npos) << text;
  }
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string doubling(int rules) {
  std::string text = "root ::= a0\n";
  for (int i = 0; i < rules; ++i) {
    const std::string next = "a" + std::to_string(i + 1);
    text += "a" + std::to_string(i) + " ::= " + next + " | " + next + "\n";
  }
  return text + "a" + std::to_string(rules) + " ::= \"x\"\n";
}

TEST(Grammar, OfAStrangerIsReadOrRefusedInBoundedTime) {
  std::string garbage(1 << 20, 'x'), deep(100000, '('), chain = "root ::= a0\n";
  for (std::size_t i = 0; i < garbage.size(); ++i) garbage[i] = static_cast<char>(33 + i * 7919 % 90);
  for (int i = 0; i < 30000; ++i) chain += "a" + std::to_string(i) + " ::= | a" + std::to_string(i + 1) + "\n";
  chain += "a30000 ::= \"x\"\n";
  const double spent = seconds_of([&] {
    EXPECT_EQ(code_of([&] { grammar_of(garbage); }), "GRAMMAR_INVALID");
    EXPECT_EQ(code_of([&] { grammar_of(garbage + "x"); }), "GRAMMAR_INVALID");
    EXPECT_EQ(code_of([&] { grammar_of("root ::= " + deep); }), "GRAMMAR_INVALID");
    EXPECT_EQ(code_of([] { grammar_of("root ::= \"a\"{4294967296}"); }), "GRAMMAR_INVALID");
    EXPECT_EQ(code_of([] { grammar_of("root ::= \"a\"{0,18446744073709551615}"); }), "GRAMMAR_INVALID");
    EXPECT_EQ(code_of([] { grammar_of("root ::= (((\"a\"{1000}){1000}){1000}){300000}"); }), "GRAMMAR_INVALID");
    EXPECT_TRUE(matches(doubling(2000), "x"));
    EXPECT_EQ(code_of([] { GrammarState(grammar_of("root ::= (\"a\"?){60000} \"b\"")); }), "GRAMMAR_INVALID");
    grammar_of(chain);
  });
  EXPECT_LT(spent, 5) << "seconds";
}

TEST(Grammar, RefusesATokenRatherThanHoldTooManyReadings) {
  // llama.cpp holds 3^n readings after n characters.
  const std::string ambiguous = "root ::= s\ns ::= \"a\" s \"b\" | \"a\" s \"c\" | \"a\" s \"d\" | \"e\"";
  GrammarState state(grammar_of(ambiguous));
  int taken = 0;
  const double spent = seconds_of([&] {
    for (;; ++taken) {
      const GrammarState next = state.after(-1, "a");
      if (next.empty()) break;
      state = next;
    }
    EXPECT_TRUE(state.after(-1, std::string(1000, 'a')).empty());
  });
  EXPECT_GE(taken, 5);
  EXPECT_LT(taken, 12);
  EXPECT_LT(spent, 2) << "seconds";
  EXPECT_FALSE(state.after(-1, "e").empty()) << "what fits is still taken";
}

TEST(Grammar, MasksTheTokensItRefusesOneByOne) {
  const Pieces pieces(*speaking());
  std::vector<char> allowed;
  for (const std::string text :
       {"root ::= <[300]> (\"a\"?){60000} | \"b\"", "root ::= !<[300]> (\"a\"?){60000} | \"b\"",
        "root ::= !<[300]> \"x\" | <[300]> | !<[301]>", "root ::= <[5000]> | \"b\""}) {
    const GrammarState state(grammar_of(text));
    state.mask(pieces, allowed);
    for (Token token = 0; token < pieces.size(); token += token < 310 ? 5 : 100)
      ASSERT_EQ(allowed[static_cast<std::size_t>(token)] != 0, !state.after(token, pieces.of(token)).empty())
          << text << ", token " << token;
  }
}

TEST(Grammar, NestsAsDeepAsAnAnswerMay) {
  std::string nested = "{\"a\":";
  for (int i = 0; i < 1000; ++i) nested += "[";
  for (int i = 0; i < 1000; ++i) nested += "]";
  EXPECT_TRUE(matches(kJson, nested + "}"));
}

TEST(Grammar, IsReadOrRefusedWhateverItsBytes) {
  std::mt19937_64 random(5);
  const std::string seeds[] = {kJson, "root ::= (\"a\" | [b-d]{2,3} <[4]>)* . !<think>\n# end",
                               "root ::= x+\nx ::= \"\\u00e9\"?"};
  int read = 0;
  for (int trial = 0; trial < 5000; ++trial) {
    std::string text = seeds[random() % 3];
    for (std::size_t changes = 1 + random() % 2; changes > 0; --changes) {
      const std::size_t at = random() % text.size();
      if (random() % 3 == 0)
        text.erase(at, 1 + random() % 5);
      else if (random() % 2 == 0)
        text.insert(at, text.substr(random() % text.size(), 1 + random() % 6));
      else
        text[at] = static_cast<char>(random());
      if (text.empty()) text = " ";
    }
    const std::string code = code_of([&] {
      const GrammarState start(grammar_of(text));
      ++read;
      (void)start.after(-1, "{\"a\": 1}").empty();
    });
    ASSERT_TRUE(code.empty() || code == "GRAMMAR_INVALID") << code << '\n' << text;
  }
  EXPECT_GT(read, 300);
  EXPECT_LT(read, 4500);
}

struct FreeSampler {
  void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
};

TEST(Grammar, MasksNestedAnswersWhole) {
  const Pieces pieces(*speaking());
  std::vector<char> shallow, deep;
  GrammarState(grammar_of(kJson)).after(-1, "{\"a\":[\"b").mask(pieces, shallow);
  GrammarState(grammar_of(kJson)).after(-1, "{\"a\":" + std::string(50, '[') + "\"b").mask(pieces, deep);
  EXPECT_EQ(deep, shallow);
  EXPECT_GT(std::count(deep.begin(), deep.end(), 1), 1500);
}

TEST(Grammar, MasksInBoundedTimeHoweverAmbiguous) {
  const Pieces pieces(*speaking());
  GrammarState state(grammar_of("root ::= s\ns ::= [a-z] s \"b\" | [a-z] s \"c\" | [a-z] s \"d\" | \"1\""));
  std::vector<char> allowed;
  for (const char* letter = "abcdefgh"; *letter != '\0' && !state.empty(); ++letter) {
    const double spent = seconds_of([&] { state.mask(pieces, allowed); });
    EXPECT_LT(spent, 2) << "seconds";
    EXPECT_TRUE(allowed[3 + '1']) << "bytes come before words";
    const GrammarState next = state.after(-1, std::string(1, *letter));
    if (next.empty()) break;
    state = next;
  }
}

// Random texts of each grammar, token by token; at every step the whole vocabulary is compared.
TEST(Grammar, AllowsWhatLlamaCppAllows) {
  const std::shared_ptr<Model> model = speaking();
  const Pieces pieces(*model);
  const int vocabulary = pieces.size();
  std::mt19937_64 random(77);
  const std::string grammars[] = {
      kJson,
      "root ::= (\" \" [a-z]{1,3}){2,9} \".\"",
      "root ::= (word | \"(\" root \")\")+\nword ::= \" \"? [a-f]+ | [^a-z() ]",
      "root ::= [\xCE\xB1-\xCF\x89]+ . \"\xF0\x9F\x98\x80\" ([^\\x00-\\x7F]+ | \"x\")",
      "root ::= \"a\"{0,20} (\" b\" | \" bc\" | \" bcd\")* [ab]? \"\\n\"+",
      "root ::= <[300]> !<[301]>* <[301]> | \" yes\"",
  };
  std::vector<char> allowed;
  std::vector<llama_token_data> row(static_cast<std::size_t>(vocabulary));
  int compared = 0, ended = 0;
  for (const std::string& text : grammars) {
    const std::shared_ptr<const Grammar> grammar = Grammar::read(text, "root", [](const std::string&) { return -1; });
    for (int trial = 0; trial < 4; ++trial) {
      const std::unique_ptr<llama_sampler, FreeSampler> theirs(
          llama_sampler_init_grammar(model->vocab(), text.c_str(), "root"));
      ASSERT_NE(theirs, nullptr) << text;
      GrammarState ours(grammar);
      std::string written;
      for (int step = 0; step < 30 && !ours.finished(); ++step) {
        ours.mask(pieces, allowed);
        for (Token token = 0; token < vocabulary; ++token) row[static_cast<std::size_t>(token)] = {token, 1.0f, 0.0f};
        llama_token_data_array all = {row.data(), row.size(), -1, false};
        llama_sampler_apply(theirs.get(), &all);
        std::vector<Token> choices;
        for (Token token = 0; token < vocabulary; ++token) {
          const std::string_view piece = pieces.of(token);
          const bool them = row[static_cast<std::size_t>(token)].logit > 0;
          if (model->is_end(token)) {
            ASSERT_EQ(them, ours.complete()) << written;
            continue;
          }
          if (piece.empty()) continue;  // control tokens: llama.cpp goes by the name of one, which no answer shows
          const unsigned char last = static_cast<unsigned char>(piece.back());
          if (last >= 0xF5) continue;  // no UTF-8; llama.cpp takes them for the beginning of a character
          // Where any token but one may come, llama.cpp refuses those that are a part of a character.
          if (last >= 0x80 && text.find("!<") != std::string::npos) continue;
          const bool us = allowed[static_cast<std::size_t>(token)] != 0;
          ASSERT_EQ(us, them) << text << "\nafter '" << written << "', token " << token << " '" << piece << "'";
          ASSERT_EQ(us, !ours.after(token, piece).empty()) << "the mask and the single token";
          // Their next byte has a range of its own, which llama.cpp does not look at.
          if (us && last != 0xE0 && last != 0xED && last != 0xF0 && last != 0xF4) choices.push_back(token);
          ++compared;
        }
        if (choices.empty()) break;
        const Token token = choices[random() % choices.size()];
        written += pieces.of(token);
        ours = ours.after(token, pieces.of(token));
        llama_sampler_accept(theirs.get(), token);
      }
      ended += ours.complete();
    }
  }
  EXPECT_GT(compared, 300000);
  EXPECT_GT(ended, 3);
}

}  // namespace
}  // namespace winnow::test
