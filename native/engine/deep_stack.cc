#include "deep_stack.h"

#include <exception>
#include <thread>

#include "error.h"

#ifndef _WIN32
#include <pthread.h>
#endif

namespace winnow {
namespace {

struct Call {
  const std::function<void()>& work;
  std::exception_ptr error;

  void run() noexcept {
    try {
      work();
    } catch (...) {
      error = std::current_exception();
    }
  }
};

[[noreturn]] void refuse(std::size_t bytes) {
  throw EngineError("OUT_OF_MEMORY", "Expected a stack of " + std::to_string(bytes) + " bytes but received none");
}

}  // namespace

void run_with_stack(std::size_t bytes, const std::function<void()>& work) {
  Call call{work, nullptr};
#ifdef _WIN32
  (void)bytes;  // there llama.cpp splits with the same recursion, and threads of this library have no size
  std::thread([&call] { call.run(); }).join();
#else
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) refuse(bytes);
  pthread_t thread;
  const bool started = pthread_attr_setstacksize(&attributes, bytes) == 0 && pthread_create(
                                                                                 &thread, &attributes,
                                                                                 [](void* data) -> void* {
                                                                                   static_cast<Call*>(data)->run();
                                                                                   return nullptr;
                                                                                 },
                                                                                 &call) == 0;
  pthread_attr_destroy(&attributes);
  if (!started) refuse(bytes);
  pthread_join(thread, nullptr);
#endif
  if (call.error) std::rethrow_exception(call.error);
}

}  // namespace winnow
