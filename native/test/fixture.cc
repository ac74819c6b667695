#include "fixture.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <random>
#include <sstream>

#include "backend.h"

namespace winnow::test {
namespace {

std::filesystem::path folder;

std::string key_of(const RandomModelParams& p) {
  std::ostringstream key;
  key << p.architecture << '-' << p.weights << '-' << p.tokenizer << '-' << p.vocabulary << '-' << p.width << '-'
      << p.layers << '-' << p.heads << '-' << p.heads_kv << '-' << p.feed_forward << '-' << p.context << '-' << p.spread
      << '-' << p.seed << '-' << p.chat_template.size();
  return key.str();
}

}  // namespace

std::string library_folder() {
  const char* stated = std::getenv("WINNOW_LLAMA_LIBS");
  return stated != nullptr && *stated != '\0' ? stated : WINNOW_LLAMA_LIBS;
}

std::string temp_path(const std::string& name) { return (folder / name).string(); }

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream stream(path, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(stream.good()) << path;
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << stream.rdbuf();
  return bytes.str();
}

RandomModelParams small_model(const std::string& architecture, const std::string& weights) {
  RandomModelParams params;
  params.architecture = architecture;
  params.weights = weights;
  return params;
}

std::string model_file(RandomModelParams params) {
  static std::map<std::string, std::string> written;
  const std::string key = key_of(params);
  if (written.count(key) == 0) {
    params.path = temp_path("model-" + key + ".gguf");
    write_random_model(params);
    written[key] = params.path;
  }
  return written[key];
}

std::shared_ptr<Model> load(const std::string& path) {
  ModelParams params;
  params.path = path;
  params.devices = {"CPU"};
  return Model::load(params);
}

std::shared_ptr<Model> small() {
  static const std::shared_ptr<Model> model = [] {
    RandomModelParams params = small_model();
    params.tokenizer = "none";
    return load(model_file(params));
  }();
  return model;
}

PoolParams pool_of(int streams, int cells) {
  PoolParams params;
  params.streams = streams;
  params.cells_per_stream = cells;
  params.threads = 1;
  return params;
}

ForkParams fork_of(int count, int max_tokens, std::uint64_t seed) {
  ForkParams params;
  params.count = count;
  params.max_tokens = max_tokens;
  params.seed = seed;
  return params;
}

std::vector<std::int32_t> ids(int first, int count) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), first);
  return all;
}

std::unique_ptr<Solo> Solo::create(const std::shared_ptr<Model>& model, const PoolParams& params) {
  return std::unique_ptr<Solo>(new Solo(Pool::create(model, params)));
}

Prefill Solo::prefill(const std::vector<Token>& prompt, double deadline_seconds) {
  pool_->end(race_);
  steps_ = 0;
  race_ = 0;
  const Prefill prefill = pool_->prefill(prompt, deadline_seconds);
  race_ = prefill.race;
  return prefill;
}

Advance Solo::advance(int steps, double deadline_seconds) {
  const std::vector<Advance> results = pool_->advance({{race_, steps_ + steps}}, deadline_seconds);
  steps_ += results.at(0).steps;
  return results.at(0);
}

std::vector<float> Solo::score(const Head& head, const std::vector<std::int32_t>& ids) const {
  return pool_->score(head, race_, ids);
}

void gather(const Advance& advance, Written& into) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < advance.branches.size(); ++i) {
    std::vector<Token>& tokens = into[advance.branches[i]];
    for (std::int32_t taken = 0; taken < advance.counts[i]; ++taken) tokens.push_back(advance.tokens[at++]);
  }
  EXPECT_EQ(at, advance.tokens.size());
  EXPECT_EQ(at, advance.logprobs.size());
  EXPECT_EQ(at, advance.entropies.size());
}

}  // namespace winnow::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  std::random_device entropy;
  winnow::test::folder = std::filesystem::temp_directory_path() / ("winnow-engine-test-" + std::to_string(entropy()));
  std::filesystem::create_directories(winnow::test::folder);
  winnow::load_backends(winnow::test::library_folder());
  const int result = RUN_ALL_TESTS();
  std::error_code ignored;
  std::filesystem::remove_all(winnow::test::folder, ignored);
  return result;
}
