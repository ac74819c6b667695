#include "backend.h"

#include <algorithm>
#include <ggml-backend.h>
#include <ggml.h>
#include <llama.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>

#include "error.h"
#include "host_memory.h"

namespace winnow {
namespace {

using LogSink = std::function<void(int level, const std::string& text)>;

// One mutex for the folder, one for the sink: a log line may arrive while backends are being loaded.
std::mutex backend_mutex;
std::string backend_folder;  // empty until the first success
std::mutex sink_mutex;
std::shared_ptr<const LogSink> log_sink;

thread_local int assert_guards = 0;
thread_local std::string thread_log;
thread_local bool thread_log_open = false;  // the last line kept was a warning or an error, and may continue

constexpr std::size_t kLogLimit = 8192;  // bytes kept per thread: a failed load repeats itself

void on_log(ggml_log_level level, const char* text, void*) {
  if (level != GGML_LOG_LEVEL_CONT) thread_log_open = level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR;
  if (thread_log_open && thread_log.size() < kLogLimit) thread_log += text;
  std::shared_ptr<const LogSink> sink;
  {
    const std::lock_guard<std::mutex> lock(sink_mutex);
    sink = log_sink;
  }
  if (!sink) return;
  try {
    (*sink)(static_cast<int>(level), text);
  } catch (...) {
    // llama.cpp logs from C code and from destructors: nothing may leave the sink.
  }
}

// Returning lets ggml call abort(). Throwing is only sound on a thread whose caller asked for it; ggml's
// compute threads have no frame of ours to catch in.
void on_abort(const char* message) {
  if (assert_guards > 0 && std::uncaught_exceptions() == 0) {
    throw EngineError("NATIVE_ASSERT", std::string("Expected llama.cpp's own checks to hold but received: ") + message);
  }
  std::fprintf(stderr, "winnow: llama.cpp stopped the process: %s\n", message);
  std::fflush(stderr);
}

void install_hooks() {
  static std::once_flag once;
  std::call_once(once, [] {
  // Without it a failed check forks a debugger to print a backtrace before it ends the process.
#ifdef _WIN32
    _putenv_s("GGML_NO_BACKTRACE", "1");
#else
    setenv("GGML_NO_BACKTRACE", "1", 0);
#endif
    ggml_set_abort_callback(on_abort);
    llama_log_set(on_log, nullptr);
  });
}

std::string device_type(ggml_backend_dev_t device) {
  switch (ggml_backend_dev_type(device)) {
    case GGML_BACKEND_DEVICE_TYPE_CPU: return "cpu";
    case GGML_BACKEND_DEVICE_TYPE_IGPU: return "igpu";
    case GGML_BACKEND_DEVICE_TYPE_ACCEL: return "accel";
    default: return "gpu";
  }
}

}  // namespace

void load_backends(const std::string& folder) {
  const std::lock_guard<std::mutex> lock(backend_mutex);
  if (folder.empty())
    throw EngineError("BACKEND_LOAD", "Expected a folder of llama.cpp libraries but received an empty path");
  if (!backend_folder.empty()) {
    if (backend_folder == folder) return;
    throw EngineError("BACKEND_LOAD", "Expected one llama.cpp folder per process, which is '" + backend_folder +
                                          "', but received '" + folder + "'");
  }
  install_hooks();
  clear_last_log();
  ggml_backend_load_all_from_path(folder.c_str());
  if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == nullptr) {
    throw EngineError("BACKEND_LOAD", "Expected ggml backend libraries (libggml-cpu*) in '" + folder +
                                          "' but received none that loads. " + last_log());
  }
  llama_backend_init();
  backend_folder = folder;
}

bool backends_loaded() {
  const std::lock_guard<std::mutex> lock(backend_mutex);
  return !backend_folder.empty();
}

std::vector<Device> devices() {
  std::vector<Device> found;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    const ggml_backend_dev_t handle = ggml_backend_dev_get(i);
    Device device;
    device.name = ggml_backend_dev_name(handle);
    device.description = ggml_backend_dev_description(handle);
    device.type = device_type(handle);
    std::size_t memory_free = 0, memory_total = 0;
    ggml_backend_dev_memory(handle, &memory_free, &memory_total);
    device.memory_free = memory_free;
    device.memory_total = memory_total;
    if (device.type == "cpu") {
      const std::uint64_t available = host_memory_available();
      if (available > 0) device.memory_free = std::min(device.memory_free, available);
    }
    found.push_back(std::move(device));
  }
  return found;
}

std::string llama_version_text() { return llama_version(); }

std::string compiled_llama_version() { return WINNOW_LLAMA_VERSION; }

std::string system_info() {
  // llama.cpp returns a static string that every call rewrites.
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  return llama_print_system_info();
}

void set_log_sink(std::function<void(int level, const std::string& text)> sink) {
  install_hooks();
  std::shared_ptr<const LogSink> next;
  if (sink) next = std::make_shared<const LogSink>(std::move(sink));
  const std::lock_guard<std::mutex> lock(sink_mutex);
  log_sink = std::move(next);
}

void clear_last_log() {
  thread_log.clear();
  thread_log_open = false;
}

std::string last_log() {
  std::string text = thread_log;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

AssertGuard::AssertGuard() {
  install_hooks();
  ++assert_guards;
}

AssertGuard::~AssertGuard() { --assert_guards; }

}  // namespace winnow
