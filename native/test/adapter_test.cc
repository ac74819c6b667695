// LoRA adapters: what they compute against a model whose weights were changed the same way, and what files are refused.
#include "adapter.h"

#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

#include "fixture.h"
#include "gguf_file.h"

namespace winnow::test {
namespace {

constexpr int kRank = 4;
constexpr float kAlpha = 6;
const std::vector<Token> kPrompt = {5, 9, 300, 41, 7};

// One pair of matrices, each row by row. Of token embeddings A has a row for each token.
struct Change {
  std::string base;
  int a_columns, a_rows, b_columns, b_rows;
  std::vector<float> a, b;
};

RandomModelParams plain_shape(const std::string& architecture = "llama") {
  RandomModelParams shape = small_model(architecture, "f32");
  shape.tokenizer = "none";
  return shape;
}

Change change_of(const std::string& base, int in, int out, std::uint32_t seed, int rank = kRank) {
  const bool embedding = base == "token_embd.weight";
  Change change{base, embedding ? rank : in, embedding ? out : rank, rank, embedding ? in : out, {}, {}};
  std::mt19937 bits(seed);
  std::normal_distribution<float> normal(0.0f, 0.1f);
  change.a.resize(static_cast<std::size_t>(change.a_columns * change.a_rows));
  change.b.resize(static_cast<std::size_t>(change.b_columns * change.b_rows));
  for (float& value : change.a) value = normal(bits);
  for (float& value : change.b) value = normal(bits);
  return change;
}

// Every kind of matrix that the random models have.
std::vector<Change> all_changes(std::uint32_t seed, int rank = kRank) {
  const RandomModelParams shape = plain_shape();
  const int width = shape.width, forward = shape.feed_forward, attention = width / shape.heads * shape.heads_kv;
  std::vector<Change> all;
  const auto add = [&](const std::string& base, int in, int out) {
    all.push_back(change_of(base, in, out, seed * 1000 + static_cast<std::uint32_t>(all.size()), rank));
  };
  add("token_embd.weight", width, shape.vocabulary);
  add("output.weight", width, shape.vocabulary);
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    add(block + "attn_q.weight", width, width);
    add(block + "attn_k.weight", width, attention);
    add(block + "attn_v.weight", width, attention);
    add(block + "attn_output.weight", width, width);
    add(block + "ffn_gate.weight", width, forward);
    add(block + "ffn_up.weight", width, forward);
    add(block + "ffn_down.weight", forward, width);
  }
  return all;
}

struct FreeGguf {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
struct FreeGgml {
  void operator()(ggml_context* context) const { ggml_free(context); }
};

using Edit = std::function<void(gguf_context*, ggml_context*)>;

// `edit` sees the metadata and may add tensors.
std::string adapter_file(const std::string& name, const std::vector<Change>& changes, const Edit& edit = {}) {
  const std::unique_ptr<gguf_context, FreeGguf> file(gguf_init_empty());
  const std::unique_ptr<ggml_context, FreeGgml> tensors(ggml_init({16u << 20, nullptr, false}));
  gguf_set_val_str(file.get(), "general.type", "adapter");
  gguf_set_val_str(file.get(), "general.architecture", "llama");
  gguf_set_val_str(file.get(), "general.name", "a random one");
  gguf_set_val_str(file.get(), "adapter.type", "lora");
  gguf_set_val_f32(file.get(), "adapter.lora.alpha", kAlpha);
  const auto add = [&](const std::string& tensor_name, int columns, int rows, const std::vector<float>& values) {
    ggml_tensor* const tensor = ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F32, columns, rows);
    std::memcpy(ggml_get_data(tensor), values.data(), values.size() * sizeof(float));
    gguf_add_tensor(file.get(), ggml_set_name(tensor, tensor_name.c_str()));
  };
  for (const Change& change : changes) {
    add(change.base + ".lora_a", change.a_columns, change.a_rows, change.a);
    add(change.base + ".lora_b", change.b_columns, change.b_rows, change.b);
  }
  if (edit) edit(file.get(), tensors.get());
  const std::string path = temp_path(name + ".gguf");
  EXPECT_TRUE(gguf_write_to_file(file.get(), path.c_str(), false));
  return path;
}

// The model with these changes, each at its scale (alpha over rank included), in its F32 weights.
std::shared_ptr<Model> merged(const std::string& name, const std::string& model,
                              const std::vector<std::pair<std::vector<Change>, float>>& all) {
  std::string bytes = read_file(model);
  const GgufFile file = read_gguf(model);
  for (const auto& [changes, scale] : all) {
    for (const Change& change : changes) {
      const GgufTensor* const tensor = file.tensor(change.base);
      const bool embedding = change.base == "token_embd.weight";
      const int rank = change.b_columns;
      const std::size_t columns = tensor->shape[0], rows = tensor->shape[1];
      float* const weights = reinterpret_cast<float*>(bytes.data() + file.data_offset + tensor->offset);
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t column = 0; column < columns; ++column) {
          double sum = 0;
          for (std::size_t r = 0; r < static_cast<std::size_t>(rank); ++r) {
            const std::size_t width = static_cast<std::size_t>(rank);
            sum += embedding ? static_cast<double>(change.a[row * width + r] * change.b[column * width + r])
                             : static_cast<double>(change.b[row * width + r] * change.a[r * columns + column]);
          }
          weights[row * columns + column] += scale * static_cast<float>(sum);
        }
      }
    }
  }
  const std::string path = temp_path(name + ".gguf");
  write_file(path, bytes);
  return load(path);
}

std::shared_ptr<Model> plain() {
  static const std::shared_ptr<Model> model = load(model_file(plain_shape()));
  return model;
}

// What three branches write, and the states behind their last tokens. `greedy`: the tokens that the model likes best.
struct Outcome {
  std::vector<Token> tokens;
  std::vector<float> logprobs, states;
};

Outcome write(Pool& pool, bool greedy) {
  const RaceId race = pool.prefill(kPrompt).race;
  ForkParams fork = fork_of(3, 12);
  if (greedy) {
    fork.sampling.temperature = 0;
  } else {
    for (int i = 0; i < 3; ++i) {
      fork.given.emplace_back();
      for (int token = 0; token < 12; ++token) fork.given.back().push_back(37 * (i + 1) + token * token);
    }
  }
  pool.fork(race, fork);
  const Advance advance = pool.advance({{race, 12}}).at(0);
  const Outcome outcome = {advance.tokens, advance.logprobs, pool.states(race, ids(0, 3))};
  pool.end(race);
  return outcome;
}

Outcome with(const AdapterSet& adapters, bool greedy = false) {
  const std::unique_ptr<Pool> pool = Pool::create(plain(), pool_of(3));
  pool->adapt(adapters);
  return write(*pool, greedy);
}

Outcome of(const std::shared_ptr<Model>& model, bool greedy = false) {
  return write(*Pool::create(model, pool_of(3)), greedy);
}

float farthest(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  float most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

void expect_near(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_LT(farthest(a.logprobs, b.logprobs), 2e-3f);
  EXPECT_LT(farthest(a.states, b.states), 2e-3f);
}

std::shared_ptr<const Adapter> first() {
  static const std::string path = adapter_file("first", all_changes(1));
  return Adapter::load(plain(), path);
}

std::shared_ptr<const Adapter> second() {
  static const std::string path = adapter_file("second", all_changes(2, 2));
  return Adapter::load(plain(), path);
}

constexpr float kFirst = kAlpha / kRank, kSecond = kAlpha / 2;

TEST(Adapter, ComputesWhatTheModelWouldWithItsWeightsChanged) {
  const std::string model = model_file(plain_shape());
  for (const float scale : {1.0f, 0.4f, -0.7f}) {
    SCOPED_TRACE(scale);
    const std::shared_ptr<Model> changed = merged("merged", model, {{all_changes(1), scale * kFirst}});
    expect_near(with({{first(), scale}}), of(changed));
    expect_near(with({{first(), scale}}, true), of(changed, true));
  }
  EXPECT_GT(farthest(with({{first(), 1}}).logprobs, of(plain()).logprobs), 0.1f);
}

TEST(Adapter, AddsToOthersInAnyOrder) {
  const std::vector<std::pair<std::vector<Change>, float>> both = {{all_changes(1), 0.5f * kFirst},
                                                                   {all_changes(2, 2), -0.3f * kSecond}};
  const Outcome changed = of(merged("both", model_file(plain_shape()), both));
  const auto one = first(), other = second();
  expect_near(with({{one, 0.5f}, {other, -0.3f}}), changed);
  expect_near(with({{other, -0.3f}, {one, 0.5f}}), changed);
}

TEST(Adapter, AtZeroIsAsIfItWereNotThere) {
  const Outcome bare = of(plain()), zero = with({{first(), 0}});
  EXPECT_EQ(zero.logprobs, bare.logprobs);
  EXPECT_EQ(zero.states, bare.states);
}

TEST(Adapter, WithoutAnAlphaCountsByItsScaleAlone) {
  const std::string path = adapter_file("no-alpha", all_changes(1), [](gguf_context* file, ggml_context*) {
    gguf_remove_key(file, "adapter.lora.alpha");
  });
  const auto adapter = Adapter::load(plain(), path);
  EXPECT_EQ(adapter->facts().alpha, 0);
  expect_near(with({{adapter, 0.8f}}),
              of(merged("no-alpha-merged", model_file(plain_shape()), {{all_changes(1), 0.8f}})));
}

TEST(Adapter, GoesWhenAnotherSetComes) {
  const std::unique_ptr<Pool> pool = Pool::create(plain(), pool_of(3));
  const Outcome bare = write(*pool, false);
  for (int round = 0; round < 3; ++round) {
    pool->adapt({{first(), 1}});
    EXPECT_EQ(write(*pool, false).logprobs, with({{first(), 1}}).logprobs);
    pool->adapt({{second(), 0.2f}});
    EXPECT_EQ(write(*pool, false).logprobs, with({{second(), 0.2f}}).logprobs);
    pool->adapt({});
    EXPECT_EQ(write(*pool, false).logprobs, bare.logprobs);
  }
}

TEST(Adapter, MeetsNoCellsDecodedWithoutIt) {
  // A prompt like one that another race holds is copied; with other adapters there is no such race.
  const std::unique_ptr<Pool> pool = Pool::create(plain(), pool_of(4));
  std::vector<Token> prompt(40);
  for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<Token>(3 * i + 1);
  const RaceId race = pool->prefill(prompt).race;
  EXPECT_EQ(code_of([&] { pool->adapt({{first(), 1}}); }), "POOL_BUSY");
  EXPECT_LT(pool->prefill(prompt).decoded, 40);
  pool->fork(race, fork_of(2));
  EXPECT_EQ(code_of([&] { pool->adapt({}); }), "POOL_BUSY");
  pool->end(race);
  pool->end(race + 1);
  pool->adapt({{first(), 1}});
  EXPECT_EQ(pool->prefill(prompt).decoded, 40);
  pool->check_integrity();
}

TEST(Adapter, StaysWithAPoolThatTakesAnotherShape) {
  PoolParams params = pool_of(4);
  params.deterministic = true;
  const auto run = [&](bool reshaped) {
    const std::unique_ptr<Pool> pool = Pool::create(plain(), params);
    pool->adapt({{first(), 1}});
    const RaceId race = pool->prefill(kPrompt).race;
    pool->fork(race, fork_of(2));
    std::vector<float> logprobs = pool->advance({{race, 6}}).at(0).logprobs;
    if (reshaped) pool->reshape(2, 512);
    const Advance after = pool->advance({{race, 12}}).at(0);
    logprobs.insert(logprobs.end(), after.logprobs.begin(), after.logprobs.end());
    return logprobs;
  };
  EXPECT_EQ(run(true), run(false));
}

TEST(Adapter, IsKeptByWhoeverComputesWithIt) {
  auto adapter = Adapter::load(plain(), adapter_file("kept", all_changes(3)));
  const std::weak_ptr<const Adapter> watch = adapter;
  std::unique_ptr<Pool> pool = Pool::create(plain(), pool_of(3));
  pool->adapt({{adapter, 1}});
  adapter.reset();
  EXPECT_FALSE(watch.expired());
  write(*pool, false);
  pool->adapt({});
  EXPECT_TRUE(watch.expired());

  std::shared_ptr<Model> model = load(model_file(plain_shape()));
  const std::weak_ptr<Model> whose = model;
  auto own = Adapter::load(model, adapter_file("owned", all_changes(3)));
  pool = Pool::create(model, pool_of(3));
  pool->adapt({{own, 1}});
  model.reset();
  own.reset();
  write(*pool, false);
  EXPECT_FALSE(whose.expired());
  pool.reset();
  EXPECT_TRUE(whose.expired());
}

TEST(Adapter, ComesAndGoesWhileOthersOfItsModelAreAtWork) {
  const std::string path = adapter_file("busy", all_changes(4));
  const std::vector<float> alone = of(plain()).logprobs;
  std::thread others([&] {
    for (int i = 0; i < 30; ++i) {
      const auto adapter = Adapter::load(plain(), path);
      const std::unique_ptr<Pool> pool = Pool::create(plain(), pool_of(2));
      pool->adapt({{adapter, 1}});
    }
  });
  for (int i = 0; i < 10; ++i) EXPECT_EQ(of(plain()).logprobs, alone);
  others.join();
}

TEST(Adapter, TellsWhatItIs) {
  const std::string path = adapter_file("told", all_changes(1), [](gguf_context* file, ggml_context* tensors) {
    gguf_set_val_str(file, "adapter.lora.task_name", "classification");
    gguf_add_tensor(file, ggml_set_name(ggml_new_tensor_1d(tensors, GGML_TYPE_F32, 128), "blk.0.attn_norm.weight"));
  });
  const AdapterFacts facts = Adapter::load(plain(), path)->facts();
  EXPECT_EQ(facts.path, path);
  EXPECT_EQ(facts.name, "a random one");
  EXPECT_EQ(facts.task, "classification");
  EXPECT_EQ(facts.alpha, kAlpha);
  EXPECT_EQ(facts.tensors, 16);
  EXPECT_EQ(facts.ignored, 1);
  std::uint64_t bytes = 0;
  for (const Change& change : all_changes(1)) bytes += (change.a.size() + change.b.size()) * sizeof(float);
  ASSERT_EQ(facts.devices.size(), 1u);
  EXPECT_EQ(facts.devices[0].device, "CPU");
  EXPECT_EQ(facts.devices[0].bytes, bytes);
}

TEST(Adapter, TakesWhatAnOutlineSaysOfItsPool) {
  ModelParams params;
  params.path = model_file(plain_shape());
  params.devices = {"CPU"};
  params.weights = false;
  const std::shared_ptr<Model> outline = Model::load(params);
  const auto outlined = Adapter::load(outline, adapter_file("outlined", all_changes(1, 64)));
  const auto loaded = Adapter::load(plain(), adapter_file("loaded", all_changes(1, 64)));
  for (const int streams : {1, 6, 40}) {
    const PoolParams shape = pool_of(streams, 512);
    const ContextSizes foreseen = context_sizes(*outline, shape, false, {{outlined, 1}});
    const std::unique_ptr<Pool> pool = Pool::create(plain(), shape);
    const std::uint64_t bare = pool->sizes().devices.at(0).compute;
    EXPECT_EQ(context_sizes(*outline, shape).devices.at(0).compute, bare);
    pool->adapt({{loaded, 0.5f}});
    const RaceId race = pool->prefill(std::vector<Token>(200, 17)).race;
    pool->fork(race, fork_of(streams));
    pool->advance({{race, 30}});
    const DeviceSizes taken = pool->sizes().devices.at(0);
    EXPECT_EQ(foreseen.devices.at(0).compute, taken.compute);
    EXPECT_EQ(foreseen.devices.at(0).cells, taken.cells);
    EXPECT_EQ(foreseen.devices.at(0).outputs, taken.outputs);
    pool->end(race);
    pool->adapt({});
    EXPECT_EQ(pool->sizes().devices.at(0).compute, bare);
  }
}

TEST(Adapter, IsRefusedInASetThatMakesNoSense) {
  const std::unique_ptr<Pool> pool = Pool::create(plain(), pool_of(3));
  const std::vector<float> bare = write(*pool, false).logprobs;
  const auto adapter = first();
  const auto stranger = Adapter::load(load(model_file(plain_shape())), adapter_file("stranger", all_changes(1)));
  EXPECT_EQ(code_of([&] { pool->adapt({{adapter, 1}, {adapter, 2}}); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->adapt({{stranger, 1}}); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->adapt({{adapter, NAN}}); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { pool->adapt({{adapter, INFINITY}}); }), "OPTION_INVALID");
  EXPECT_EQ(write(*pool, false).logprobs, bare);
}

std::string refusal(const std::string& path, const std::shared_ptr<Model>& model = plain()) {
  return code_of([&] { Adapter::load(model, path); });
}

TEST(AdapterGate, RefusesWhatIsNoAdapter) {
  EXPECT_EQ(refusal("/no/such/adapter.gguf"), "ADAPTER_NOT_FOUND");
  EXPECT_EQ(refusal("/"), "ADAPTER_NOT_FOUND");
  EXPECT_EQ(refusal(""), "ADAPTER_NOT_FOUND");
  EXPECT_EQ(refusal(model_file(plain_shape())), "ADAPTER_CORRUPT");
  const std::string path = temp_path("bad.gguf");
  for (const char* bytes : {"", "GGUF", "GGUF and then nothing", "no such thing"}) {
    write_file(path, bytes);
    EXPECT_EQ(refusal(path), "ADAPTER_CORRUPT") << bytes;
  }
  EXPECT_EQ(refusal(adapter_file("empty", {})), "ADAPTER_CORRUPT");
}

TEST(AdapterGate, RefusesAnAdapterOfAnotherKind) {
  const auto edited = [](const Edit& edit) { return refusal(adapter_file("edited", all_changes(1), edit)); };
  const auto value = [](const char* key, const char* text) {
    return [=](gguf_context* file, ggml_context*) { gguf_set_val_str(file, key, text); };
  };
  EXPECT_EQ(edited(value("general.type", "model")), "ADAPTER_CORRUPT");
  EXPECT_EQ(edited(value("adapter.type", "control")), "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(edited(value("general.architecture", "qwen3")), "ADAPTER_MISMATCH");
  EXPECT_EQ(edited(value("general.architecture", "no such thing")), "ADAPTER_MISMATCH");
  EXPECT_EQ(edited(value("adapter.lora.alpha", "16")), "ADAPTER_CORRUPT");
  const auto alpha = [](float number) {
    return [=](gguf_context* file, ggml_context*) { gguf_set_val_f32(file, "adapter.lora.alpha", number); };
  };
  EXPECT_EQ(edited(alpha(NAN)), "ADAPTER_CORRUPT");
  EXPECT_EQ(edited(alpha(INFINITY)), "ADAPTER_CORRUPT");
  for (const char* key : {"general.type", "adapter.type", "general.architecture"}) {
    const auto numbered = [=](gguf_context* file, ggml_context*) { gguf_set_val_u32(file, key, 7); };
    EXPECT_EQ(edited(numbered), "ADAPTER_CORRUPT") << key;
    EXPECT_NE(edited([=](gguf_context* file, ggml_context*) { gguf_remove_key(file, key); }), "") << key;
  }
}

TEST(AdapterGate, RefusesOneThatTokensInvoke) {
  const auto invoked = [](gguf_type type, const void* data, std::size_t count) {
    return refusal(adapter_file("invoked", all_changes(1), [=](gguf_context* file, ggml_context*) {
      gguf_set_arr_data(file, "adapter.alora.invocation_tokens", type, data, count);
    }));
  };
  const std::vector<std::uint32_t> tokens = {5, 9};
  EXPECT_EQ(invoked(GGUF_TYPE_UINT32, tokens.data(), 2), "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(invoked(GGUF_TYPE_UINT32, tokens.data(), 0), "");
  EXPECT_EQ(invoked(GGUF_TYPE_INT32, tokens.data(), 2), "ADAPTER_CORRUPT");
}

TEST(AdapterGate, RefusesTensorsThatTheModelHasNot) {
  const auto one = [](const Change& change) { return refusal(adapter_file("one", {change})); };
  EXPECT_EQ(one(change_of("blk.0.attn_q.weight", 128, 128, 1)), "");
  EXPECT_EQ(one(change_of("blk.2.attn_q.weight", 128, 128, 1)), "ADAPTER_MISMATCH");
  EXPECT_EQ(one(change_of("blk.0.attn_q.weight", 128, 64, 1)), "ADAPTER_MISMATCH");
  EXPECT_EQ(one(change_of("blk.0.attn_q.weight", 64, 128, 1)), "ADAPTER_MISMATCH");
  EXPECT_EQ(one(change_of("token_embd.weight", 128, 511, 1)), "ADAPTER_MISMATCH");
  EXPECT_EQ(one(change_of("output_norm.weight", 128, 1, 1)), "ADAPTER_UNSUPPORTED");
  // llama.cpp compares the ranks of all others.
  Change uneven = change_of("token_embd.weight", 128, 512, 1);
  uneven.b_columns = 2;
  uneven.b.resize(256);
  EXPECT_EQ(one(uneven), "ADAPTER_MISMATCH");
  uneven = change_of("blk.0.attn_q.weight", 128, 128, 1);
  uneven.b_columns = 2;
  uneven.b.resize(256);
  EXPECT_EQ(one(uneven), "ADAPTER_MISMATCH");
}

TEST(AdapterGate, RefusesTensorsThatAreNoPairs) {
  const auto added = [](const char* name, ggml_type type, std::vector<std::int64_t> shape) {
    return refusal(adapter_file(
        "added", {change_of("blk.0.attn_q.weight", 128, 128, 1)}, [=](gguf_context* file, ggml_context* tensors) {
          ggml_tensor* const tensor = ggml_new_tensor(tensors, type, static_cast<int>(shape.size()), shape.data());
          std::memset(ggml_get_data(tensor), 0, ggml_nbytes(tensor));
          gguf_add_tensor(file, ggml_set_name(tensor, name));
        }));
  };
  EXPECT_EQ(added("blk.1.attn_q.weight.lora_a", GGML_TYPE_F32, {128, 4}), "ADAPTER_CORRUPT");
  EXPECT_EQ(added("blk.1.attn_q.weight", GGML_TYPE_F32, {128, 4}), "ADAPTER_CORRUPT");
  EXPECT_EQ(added("blk.1.attn_q.lora_a.weight.lora_a", GGML_TYPE_F32, {128, 4}), "ADAPTER_CORRUPT");
  EXPECT_EQ(added(".lora_b", GGML_TYPE_F32, {128, 4}), "ADAPTER_CORRUPT");
  EXPECT_EQ(added("blk.0.ffn_norm.weight", GGML_TYPE_F32, {128}), "");
}

TEST(AdapterGate, RefusesMatricesThatCannotBeMultiplied) {
  const auto pair = [](ggml_type type, std::vector<std::int64_t> a, std::vector<std::int64_t> b) {
    return refusal(adapter_file("pair", {}, [=](gguf_context* file, ggml_context* tensors) {
      const auto add = [&](const char* name, const std::vector<std::int64_t>& shape) {
        ggml_tensor* const tensor = ggml_new_tensor(tensors, type, static_cast<int>(shape.size()), shape.data());
        std::memset(ggml_get_data(tensor), 0, ggml_nbytes(tensor));
        gguf_add_tensor(file, ggml_set_name(tensor, name));
      };
      add("blk.0.attn_q.weight.lora_a", a);
      add("blk.0.attn_q.weight.lora_b", b);
    }));
  };
  EXPECT_EQ(pair(GGML_TYPE_F16, {128, 4}, {4, 128}), "");
  EXPECT_EQ(pair(GGML_TYPE_BF16, {128, 1}, {1, 128}), "");
  EXPECT_EQ(pair(GGML_TYPE_Q8_0, {128, 32}, {32, 128}), "");
  EXPECT_EQ(pair(GGML_TYPE_I32, {128, 4}, {4, 128}), "ADAPTER_CORRUPT");
  EXPECT_EQ(pair(GGML_TYPE_F64, {128, 4}, {4, 128}), "ADAPTER_CORRUPT");
  EXPECT_EQ(pair(GGML_TYPE_F32, {128, 4, 2}, {4, 128, 2}), "ADAPTER_MISMATCH");
  EXPECT_EQ(pair(GGML_TYPE_F32, {128, 4}, {4, 128, 1, 3}), "ADAPTER_MISMATCH");
  // ggml writes no tensor without elements: the rank is taken out of the bytes.
  const std::string name = "blk.0.attn_q.weight.lora_a";
  std::string bytes = read_file(adapter_file("ranked", {change_of("blk.0.attn_q.weight", 128, 128, 1)}));
  const std::size_t rank = bytes.find(name) + name.size() + sizeof(std::uint32_t) + sizeof(std::uint64_t);
  ASSERT_EQ(bytes[rank], kRank);
  bytes[rank] = 0;
  const std::string path = temp_path("rankless.gguf");
  write_file(path, bytes);
  EXPECT_EQ(refusal(path), "ADAPTER_CORRUPT");
}

// A model whose token embeddings are its output too.
std::string tied_model() {
  ggml_context* raw = nullptr;
  const std::unique_ptr<gguf_context, FreeGguf> from(
      gguf_init_from_file(model_file(plain_shape()).c_str(), {false, &raw}));
  const std::unique_ptr<ggml_context, FreeGgml> tensors(raw);
  const std::unique_ptr<gguf_context, FreeGguf> to(gguf_init_empty());
  gguf_set_kv(to.get(), from.get());
  for (ggml_tensor* each = ggml_get_first_tensor(raw); each != nullptr; each = ggml_get_next_tensor(raw, each)) {
    if (std::string(each->name) != "output.weight" && gguf_find_tensor(from.get(), each->name) >= 0)
      gguf_add_tensor(to.get(), each);
  }
  const std::string path = temp_path("tied.gguf");
  EXPECT_TRUE(gguf_write_to_file(to.get(), path.c_str(), false));
  return path;
}

TEST(AdapterGate, RefusesEmbeddingsThatAreTheOutputToo) {
  const std::shared_ptr<Model> tied = load(tied_model());
  // llama.cpp would multiply by the same pair there, the other way round.
  EXPECT_EQ(refusal(adapter_file("embedding", {change_of("token_embd.weight", 128, 512, 1)}), tied),
            "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(refusal(adapter_file("query", {change_of("blk.0.attn_q.weight", 128, 128, 1)}), tied), "");
}

// Loads it and, where that is not refused, writes with it. Only an EngineError may come of it.
void try_out(const std::string& path) {
  try {
    const auto adapter = Adapter::load(plain(), path);
    const std::unique_ptr<Pool> pool = Pool::create(plain(), pool_of(2));
    pool->adapt({{adapter, 1}});
    const RaceId race = pool->prefill(kPrompt).race;
    pool->fork(race, fork_of(2));
    pool->advance({{race, 2}});
  } catch (const EngineError& error) {
    EXPECT_NE(error.code(), "NATIVE_ASSERT") << error.what();
  }
}

TEST(AdapterGate, SurvivesFilesThatEndAnywhere) {
  const std::string whole = read_file(adapter_file("whole", all_changes(1)));
  const std::string path = temp_path("cut.gguf");
  const std::size_t header = static_cast<std::size_t>(read_gguf(temp_path("whole.gguf")).data_offset);
  for (std::size_t length = 0; length < header; length += 23) {
    write_file(path, whole.substr(0, length));
    EXPECT_EQ(refusal(path), "ADAPTER_CORRUPT") << length;
  }
  for (std::size_t length = header; length < whole.size(); length += whole.size() / 60) {
    write_file(path, whole.substr(0, length));
    EXPECT_EQ(refusal(path), "ADAPTER_CORRUPT") << length;
  }
}

TEST(AdapterGate, SurvivesBytesThatAreOthers) {
  const std::string whole = read_file(adapter_file("whole", all_changes(1)));
  const std::size_t header = static_cast<std::size_t>(read_gguf(temp_path("whole.gguf")).data_offset);
  const std::string path = temp_path("changed.gguf");
  std::mt19937 bits(11);
  for (int i = 0; i < 500; ++i) {
    std::string bytes = whole;
    const std::size_t end = i % 5 == 0 ? bytes.size() : header;
    for (int change = 0; change <= i % 3; ++change) {
      const std::size_t at = bits() % end;
      bytes[at] = static_cast<char>(i % 2 == 0 ? bytes[at] ^ (1 << (bits() % 8)) : static_cast<int>(bits() % 256));
    }
    write_file(path, bytes);
    try_out(path);
  }
}

}  // namespace
}  // namespace winnow::test
