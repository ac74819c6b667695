#include "fault.h"

#include <dlfcn.h>
#include <ggml.h>
#include <llama.h>

#include <stdexcept>
#include <utility>

namespace winnow::test {
namespace {

std::string fault_kind;
int fault_code = 0;

}  // namespace

void arm_fault(const std::string& kind, int code) {
  fault_kind = kind;
  fault_code = code;
}

}  // namespace winnow::test

extern "C" std::int32_t llama_decode(llama_context* context, llama_batch batch) {
  using Decode = std::int32_t (*)(llama_context*, llama_batch);
  static const Decode real = reinterpret_cast<Decode>(dlsym(RTLD_NEXT, "llama_decode"));
  if (!winnow::test::fault_kind.empty()) {
    const std::string kind = std::exchange(winnow::test::fault_kind, {});
    if (kind == "code") return winnow::test::fault_code;
    if (kind == "exception") throw std::runtime_error("no memory for the graph");
    GGML_ABORT("an assert in the middle of a decode");
  }
  return real(context, batch);
}
