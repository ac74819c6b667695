#include "random_model.h"

#include <gtest/gtest.h>

#include "fixture.h"

namespace winnow::test {
namespace {

TEST(RandomModel, IsTheSameForTheSameSeedAndAnotherForAnother) {
  RandomModelParams params = small_model();
  params.path = temp_path("a.gguf");
  write_random_model(params);
  const std::string first = read_file(params.path);
  write_random_model(params);
  EXPECT_EQ(read_file(params.path), first);
  params.seed = 2;
  write_random_model(params);
  EXPECT_NE(read_file(params.path), first);
  EXPECT_EQ(read_file(params.path).size(), first.size());
}

TEST(RandomModel, RefusesShapesThatCannotBe) {
  const auto code = [](auto change) {
    RandomModelParams params = small_model();
    params.path = temp_path("bad.gguf");
    change(params);
    return code_of([&] { write_random_model(params); });
  };
  EXPECT_EQ(code([](RandomModelParams& p) { p.architecture = "gpt9"; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.weights = "q3"; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.tokenizer = "words"; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.vocabulary = 258; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.vocabulary = -1; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.width = 0; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.width = 127; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.heads = 3; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.heads_kv = 3; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.layers = 0; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.context = 0; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.spread = 0; }), "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) {
              p.weights = "q8_0";
              p.feed_forward = 100;
            }),
            "OPTION_INVALID");
  EXPECT_EQ(code([](RandomModelParams& p) { p.path = temp_path("no/such/folder/x.gguf"); }), "WRITE_FAILED");
}

}  // namespace
}  // namespace winnow::test
