#include "fault.h"

#include <dlfcn.h>
#include <ggml.h>
#include <llama.h>

#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

namespace winnow::test {
namespace {

std::string fault_kind;
int fault_code = 0;
thread_local bool fault_in_graph = false;

}  // namespace

void arm_fault(const std::string& kind, int code) {
  fault_kind = kind;
  fault_code = code;
}

}  // namespace winnow::test

namespace {

using Compute = std::int32_t (*)(llama_context*, llama_batch);

std::int32_t computed(Compute real, llama_context* context, const llama_batch& batch) {
  if (!winnow::test::fault_kind.empty()) {
    const std::string kind = std::exchange(winnow::test::fault_kind, {});
    if (kind == "graph") {
      winnow::test::fault_in_graph = true;
      return real(context, batch);
    }
    if (kind == "code") return winnow::test::fault_code;
    if (kind == "exception") throw std::runtime_error("no memory for the graph");
    GGML_ABORT("an assert in the middle of a decode");
  }
  return real(context, batch);
}

}  // namespace

extern "C" std::int32_t llama_decode(llama_context* context, llama_batch batch) {
  static const Compute real = reinterpret_cast<Compute>(dlsym(RTLD_NEXT, "llama_decode"));
  return computed(real, context, batch);
}

extern "C" std::int32_t llama_encode(llama_context* context, llama_batch batch) {
  static const Compute real = reinterpret_cast<Compute>(dlsym(RTLD_NEXT, "llama_encode"));
  return computed(real, context, batch);
}

extern "C" void ggml_rope_yarn_corr_dims(int dims, int context, float base, float fast, float slow,
                                         float corrected[2]) {
  using Correct = void (*)(int, int, float, float, float, float*);
  static const Correct real = reinterpret_cast<Correct>(dlsym(RTLD_NEXT, "ggml_rope_yarn_corr_dims"));
  if (std::exchange(winnow::test::fault_in_graph, false)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // until the other threads wait
    GGML_ABORT("an assert in the middle of a graph");
  }
  real(dims, context, base, fast, slow, corrected);
}
