#include "model.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "backend.h"
#include "fixture.h"

namespace winnow::test {
namespace {

TEST(Model, TellsItsFacts) {
  RandomModelParams params = small_model();
  params.chat_template = "{{ messages[0].content }}";
  params.heads_kv = 1;
  const std::shared_ptr<Model> model = load(model_file(params));
  const ModelFacts& facts = model->facts();
  EXPECT_EQ(facts.architecture, "llama");
  EXPECT_EQ(facts.context_train, 2048);
  EXPECT_EQ(facts.width, 128);
  EXPECT_EQ(facts.layers, 2);
  EXPECT_EQ(facts.heads, 2);
  EXPECT_EQ(facts.heads_kv, 1);
  EXPECT_EQ(facts.vocabulary, 512);
  EXPECT_EQ(facts.bos, 1);
  EXPECT_EQ(facts.eos, 2);
  EXPECT_TRUE(facts.add_bos);
  EXPECT_TRUE(facts.has_tokenizer);
  EXPECT_EQ(facts.chat_template, "{{ messages[0].content }}");
  EXPECT_GT(facts.bytes, facts.parameters);
  // Embedding, output, 2 x (q, k, v, o, gate, up, down, two norms), final norm.
  EXPECT_EQ(facts.parameters, 2u * 512 * 128 + 2u * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 256 + 2 * 128) + 128);
  EXPECT_FALSE(load(model_file(small_model()))->facts().chat_template.has_value());
}

TEST(Model, RoundTripsTextThroughItsTokens) {
  const std::shared_ptr<Model> model = load(model_file(small_model()));
  for (const std::string text : {"hello world", "", "a", "Zürich, 東京 \xF0\x9F\x9A\x80", "tabs\tand\nlines\r\n"}) {
    const std::vector<Token> tokens = model->tokenize(text, false, false);
    std::string back = model->detokenize(tokens.data(), tokens.size());
    if (!back.empty() && back[0] == ' ') back.erase(0, 1);  // SentencePiece puts a space in front
    EXPECT_EQ(back, text);
    const std::vector<Token> with_bos = model->tokenize(text, true, false);
    ASSERT_EQ(with_bos.size(), tokens.size() + 1);
    EXPECT_EQ(with_bos[0], 1);
  }
}

TEST(Model, TokenizesNulsBrokenUtf8AndLongText) {
  const std::shared_ptr<Model> model = load(model_file(small_model()));
  const std::string nuls("a\0b\0", 4);
  const std::vector<Token> tokens = model->tokenize(nuls, false, false);
  EXPECT_NE(model->detokenize(tokens.data(), tokens.size()).find(nuls), std::string::npos);
  const std::string replacement = "\xEF\xBF\xBD";
  for (const std::string bad : {"\xFF", "\xC3", "\xE2\x82", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xC0\xAF", "\x80"}) {
    const std::vector<Token> broken = model->tokenize("x" + bad + "y", true, true);
    const std::string back = model->detokenize(broken.data(), broken.size());
    EXPECT_NE(back.find("x" + replacement), std::string::npos) << back;
    EXPECT_NE(back.find(replacement + "y"), std::string::npos) << back;
  }
  const std::string longer(300000, 'z');
  const std::vector<Token> many = model->tokenize(longer, false, false);
  EXPECT_NE(model->detokenize(many.data(), many.size()).find(longer), std::string::npos);
  EXPECT_EQ(code_of([&] { model->tokenize(std::string(600000, 'z'), false, false); }), "OPTION_INVALID");
  EXPECT_NO_THROW(model->tokenize(std::string(300000, 'z') + " " + std::string(300000, 'z'), false, false));
  std::mt19937 random(8);
  for (int trial = 0; trial < 200; ++trial) {
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    EXPECT_NO_THROW(model->tokenize(bytes, true, true));
  }
}

TEST(Model, ParsesSpecialTokensOnlyWhenAsked) {
  const std::shared_ptr<Model> model = load(model_file(small_model()));
  EXPECT_EQ(model->tokenize("</s>", false, true).back(), 2);
  for (const Token token : model->tokenize("</s>", false, false)) EXPECT_NE(token, 2);
  EXPECT_EQ(model->token_text(2), "</s>");
  EXPECT_TRUE(model->is_end(2));
  EXPECT_FALSE(model->is_end(1));
  const Token end = 2;
  EXPECT_EQ(model->detokenize(&end, 1), "");
  EXPECT_EQ(model->detokenize(&end, 1, true), "</s>");
}

TEST(Model, RefusesTokensOutsideItsVocabulary) {
  const std::shared_ptr<Model> model = load(model_file(small_model()));
  for (const Token token : {-1, 512, 1 << 30}) {
    EXPECT_EQ(code_of([&] { model->detokenize(&token, 1); }), "TOKEN_INVALID");
    EXPECT_EQ(code_of([&] { model->token_text(token); }), "TOKEN_INVALID");
  }
}

TEST(Model, LoadsWithoutATokenizerAndSaysSoWhenOneIsNeeded) {
  const Token token = 3;
  EXPECT_EQ(code_of([] { small()->tokenize("text", true, true); }), "NO_TOKENIZER");
  EXPECT_EQ(code_of([&] { small()->detokenize(&token, 1); }), "NO_TOKENIZER");
  EXPECT_EQ(small()->token_text(3), "<3>");
  EXPECT_FALSE(small()->is_end(2));
}

TEST(Model, LoadsEveryArchitectureAndWeightType) {
  for (const std::string architecture : {"llama", "qwen2", "qwen3"}) {
    for (const std::string weights : {"f32", "f16", "q8_0", "q4_0"}) {
      EXPECT_EQ(load(model_file(small_model(architecture, weights)))->facts().architecture, architecture) << weights;
    }
  }
}

TEST(Model, RefusesDevicesItDoesNotKnowAndNamesThoseItKnows) {
  ModelParams params;
  params.path = model_file(small_model());
  params.devices = {"CUDA77"};
  EXPECT_EQ(code_of([&] { Model::load(params); }), "DEVICE_UNKNOWN");
  EXPECT_NE(message_of([&] { Model::load(params); }).find("CPU"), std::string::npos);
  params.devices = {"CPU", "CPU"};
  EXPECT_NO_THROW(Model::load(params));
}

TEST(Model, RefusesBadOptions) {
  const auto code = [](auto change) {
    ModelParams params;
    params.path = model_file(small_model());
    params.devices = {"CPU"};
    change(params);
    return code_of([&] { Model::load(params); });
  };
  EXPECT_EQ(code([](ModelParams& p) { p.split = "diagonal"; }), "OPTION_INVALID");
  EXPECT_EQ(code([](ModelParams& p) { p.tensor_split.assign(1000, 1.0f); }), "OPTION_INVALID");
  EXPECT_EQ(code([](ModelParams& p) { p.tensor_split = {-1.0f}; }), "OPTION_INVALID");
  EXPECT_EQ(code([](ModelParams& p) { p.gpu_layers = 1000; }), "");
  EXPECT_EQ(code([](ModelParams& p) { p.mmap = false; }), "");
  EXPECT_EQ(code([](ModelParams& p) { p.check_tensors = true; }), "");
  EXPECT_EQ(code([](ModelParams& p) { p.split = "none"; }), "");
  EXPECT_EQ(code([](ModelParams& p) { p.split = "row"; }), "");
}

TEST(Model, ReportsProgressAndStopsWhenToldTo) {
  ModelParams params;
  params.path = model_file(small_model());
  params.devices = {"CPU"};
  float last = -1;
  params.progress = [&](float share) {
    EXPECT_GE(share, last);
    last = share;
    return true;
  };
  Model::load(params);
  EXPECT_EQ(last, 1.0f);
  params.progress = [](float) { return false; };
  EXPECT_EQ(code_of([&] { Model::load(params); }), "LOAD_CANCELLED");
  params.progress = [](float) -> bool { throw 1; };
  EXPECT_EQ(code_of([&] { Model::load(params); }), "LOAD_CANCELLED");
}

}  // namespace
}  // namespace winnow::test
