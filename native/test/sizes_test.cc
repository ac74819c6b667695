// What a context would take, asked without making it, against what one that was made has taken.
#include "sizes.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>

#include "context.h"
#include "fixture.h"
#include "mirror.h"
#include "streams.h"

namespace winnow::test {
namespace {

std::shared_ptr<Model> outline(const std::string& path) {
  ModelParams params;
  params.path = path;
  params.devices = {"CPU"};
  params.weights = false;
  return Model::load(params);
}

std::string small_path() {
  RandomModelParams params = small_model();
  params.tokenizer = "none";
  return model_file(params);
}

const DeviceSizes& only(const ContextSizes& sizes) {
  EXPECT_EQ(sizes.devices.size(), 1u);
  return sizes.devices.front();
}

void expect_same(const ContextSizes& foreseen, const ContextSizes& taken) {
  EXPECT_EQ(foreseen.streams, taken.streams);
  EXPECT_EQ(foreseen.cells_per_stream, taken.cells_per_stream);
  EXPECT_EQ(only(foreseen).device, only(taken).device);
  EXPECT_EQ(only(foreseen).cells, only(taken).cells);
  EXPECT_EQ(only(foreseen).compute, only(taken).compute);
  EXPECT_EQ(only(foreseen).outputs, only(taken).outputs);
}

TEST(Sizes, AreThoseOfThePoolThatIsMadeOfTheSameParameters) {
  const std::shared_ptr<Model> without = outline(small_path());
  for (const char* type : {"f32", "f16", "q8_0"}) {
    for (const char* flash : {"auto", "on", "off"}) {
      if (std::string(type) == "q8_0" && std::string(flash) == "off") continue;
      for (const int streams : {1, 3, 40, 256}) {
        PoolParams params = pool_of(streams, streams == 3 ? 700 : 256);
        params.kv_type = type;
        params.flash_attention = flash;
        params.batch = streams == 40 ? 16 : 512;
        SCOPED_TRACE(std::string(type) + " flash " + flash + " streams " + std::to_string(streams));
        expect_same(context_sizes(*without, params), Pool::create(small(), params)->sizes());
      }
    }
  }
}

TEST(Sizes, OfCellsAreKeysAndValuesOfEveryLayer) {
  PoolParams params = pool_of(5, 300);
  params.kv_type = "f16";
  const RandomModelParams shape = small_model();
  const std::uint64_t width = static_cast<std::uint64_t>(shape.width) / static_cast<std::uint64_t>(shape.heads) *
                              static_cast<std::uint64_t>(shape.heads_kv);
  const ContextSizes sizes = context_sizes(*outline(small_path()), params);
  EXPECT_EQ(sizes.cells_per_stream, 512);
  EXPECT_EQ(only(sizes).cells, 2u * 2u * width * static_cast<std::uint64_t>(shape.layers) * 5u * 512u);
  EXPECT_EQ(only(sizes).cells, Pool::create(small(), params)->occupancy().kv_bytes);
}

TEST(Sizes, CountTheGhostsAndTheStatesOfAPool) {
  const std::shared_ptr<Model> without = outline(small_path());
  PoolParams params = pool_of(1, 256);
  params.states = false;
  const ContextSizes plain = context_sizes(*without, params);
  params.deterministic = true;
  const ContextSizes paired = context_sizes(*without, params);
  EXPECT_EQ(paired.streams, 2);
  EXPECT_EQ(only(paired).cells, 2 * only(plain).cells);
  EXPECT_EQ(only(paired).outputs, 2 * only(plain).outputs);
  params.states = true;
  EXPECT_GT(only(context_sizes(*without, params)).outputs, only(paired).outputs);
}

TEST(Sizes, AreNotOutgrownByARace) {
  const PoolParams params = pool_of(24, 512);
  const std::unique_ptr<Solo> pool = Solo::create(small(), params);
  pool->prefill(std::vector<Token>(200, 17));
  pool->fork(fork_of(24, 300));
  pool->advance(120);
  pool->kill(ids(3, 15));
  pool->advance(180);
  expect_same(context_sizes(*outline(small_path()), params), pool->sizes());
}

TEST(Sizes, OfAMirrorAreThoseOfItsStreams) {
  PoolParams params = pool_of(6, 512);
  params.states = true;
  const std::atomic<bool> abort{false};
  const ContextSizes taken = Streams::open(small(), params, abort, kMarkRows)->sizes();
  params.deterministic = true;  // which a mirror ignores
  params.states = false;
  expect_same(context_sizes(*outline(small_path()), params, true), taken);
}

TEST(Sizes, OfALargeContextTakeNoMemory) {
  RandomModelParams shape = small_model();
  shape.tokenizer = "none";
  shape.context = 1 << 14;
  const std::shared_ptr<Model> without = outline(model_file(shape));
  PoolParams params = pool_of(32, 1 << 14);
  params.kv_type = "f32";
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const ContextSizes sizes = context_sizes(*without, params);
  getrusage(RUSAGE_SELF, &after);
  // llama.cpp's notes of each cell are made all the same, for the moment: 52 bytes a cell.
  EXPECT_EQ(only(sizes).cells, std::uint64_t{1} << 29);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 256 << 10);  // KiB
}

TEST(Sizes, ComeFromAModelThatHasNoWeightsButItsVocabulary) {
  const std::shared_ptr<Model> without = outline(model_file(small_model()));
  const std::shared_ptr<Model> whole = load(model_file(small_model()));
  EXPECT_FALSE(without->has_weights());
  EXPECT_TRUE(whole->has_weights());
  EXPECT_EQ(without->tokenize("a race", true, false), whole->tokenize("a race", true, false));
  EXPECT_EQ(without->facts().bytes, whole->facts().bytes);
  EXPECT_EQ(without->facts().parameters, whole->facts().parameters);
  const std::uint64_t weights = only(context_sizes(*without, pool_of(1))).weights;
  EXPECT_GE(weights, whole->facts().bytes);
  EXPECT_LT(weights, whole->facts().bytes + whole->facts().bytes / 2);
}

TEST(Sizes, RefuseAModelWithWeightsAndPoolsOneWithout) {
  const std::shared_ptr<Model> without = outline(small_path());
  EXPECT_EQ(code_of([] { context_sizes(*small(), pool_of(1)); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { Pool::create(without, pool_of(1)); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { Mirror::create(without, pool_of(1)); }), "OPTION_INVALID");
}

TEST(Sizes, RefuseWhatAPoolRefuses) {
  const std::shared_ptr<Model> without = outline(small_path());
  EXPECT_EQ(code_of([&] { context_sizes(*without, pool_of(257)); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { context_sizes(*without, pool_of(1, 0)); }), "OPTION_INVALID");
  EXPECT_EQ(code_of([&] { context_sizes(*without, pool_of(1, 1 << 30)); }), "CONTEXT_TOO_LONG");
  PoolParams params = pool_of(1);
  params.kv_type = "q8_0";
  params.flash_attention = "off";
  EXPECT_EQ(code_of([&] { context_sizes(*without, params); }), "OPTION_INVALID");
}

TEST(Sizes, PassTheGatesOfAnyModel) {
  const std::string path = temp_path("no-model.gguf");
  write_file(path, "GGUF and then nothing");
  EXPECT_EQ(code_of([&] { outline(path); }), "MODEL_CORRUPT");
  EXPECT_EQ(code_of([] { outline("/no/such/model.gguf"); }), "MODEL_NOT_FOUND");
  EXPECT_EQ(code_of([] { outline(model_file(small_model("mamba"))); }), "MODEL_UNSUPPORTED");
}

}  // namespace
}  // namespace winnow::test
