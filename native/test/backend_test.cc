#include "backend.h"

#include <gtest/gtest.h>
#include <llama.h>

#include <thread>

#include "changed_model.h"

namespace winnow::test {
namespace {

TEST(Backend, KnowsItsDevicesAndVersions) {
  EXPECT_TRUE(backends_loaded());
  const std::vector<Device> all = devices();
  ASSERT_FALSE(all.empty());
  bool cpu = false;
  for (const Device& device : all) cpu = cpu || (device.type == "cpu" && device.memory_total > 0);
  EXPECT_TRUE(cpu);
  EXPECT_FALSE(llama_version_text().empty());
  EXPECT_FALSE(compiled_llama_version().empty());
  EXPECT_NE(system_info().find("CPU"), std::string::npos);
}

TEST(Backend, LoadsOneFolderPerProcess) {
  EXPECT_NO_THROW(load_backends(library_folder()));
  EXPECT_EQ(code_of([] { load_backends("/somewhere/else"); }), "BACKEND_LOAD");
  EXPECT_EQ(code_of([] { load_backends(""); }), "BACKEND_LOAD");
}

TEST(Backend, ThrowsAnAssertOnlyOnAThreadThatAskedForIt) {
  EXPECT_EQ(code_of([] {
              const AssertGuard guard;
              GGML_ASSERT(1 == 2);
            }),
            "NATIVE_ASSERT");
  EXPECT_NE(message_of([] {
              const AssertGuard guard;
              GGML_ABORT("the reason");
            }).find("the reason"),
            std::string::npos);
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(GGML_ABORT("told to stderr"), "told to stderr");
  EXPECT_DEATH(
      {
        const AssertGuard guard;
        std::thread([] { GGML_ABORT("another thread"); }).join();
      },
      "another thread");
}

TEST(Backend, KeepsTheLastWordsOfLlamaPerThreadAndPassesLinesOn) {
  std::string lines;
  set_log_sink([&](int, const std::string& text) { lines += text; });
  clear_last_log();
  load_code(with_bytes(read_file(model_file(small_model())).substr(0, 60000)));
  const std::string here = last_log();
  std::string there = "not asked";
  std::thread([&] { there = last_log(); }).join();
  set_log_sink([](int, const std::string&) { throw 1; });
  load_code(with_bytes("GGUF"));
  set_log_sink(nullptr);
  EXPECT_FALSE(here.empty());
  EXPECT_EQ(there, "");
  EXPECT_NE(lines.find(here.substr(0, 20)), std::string::npos);
}

}  // namespace
}  // namespace winnow::test
