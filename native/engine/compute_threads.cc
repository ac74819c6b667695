#include "compute_threads.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <llama.h>

#include "backend.h"
#include "error.h"

namespace winnow {
namespace {

// ggml's CPU backend is a library of its own, chosen at run time by what the processor can do.
template <typename Function>
Function cpu_function(const char* name) {
  const ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  if (cpu == nullptr) return nullptr;
  return reinterpret_cast<Function>(ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), name));
}

}  // namespace

ComputeThreads::ComputeThreads(int count) {
  using New = ggml_threadpool* (*)(ggml_threadpool_params*);
  if (count < 2) return;
  const New create = cpu_function<New>("ggml_threadpool_new");
  if (create == nullptr) return;
  ggml_threadpool_params params = ggml_threadpool_params_default(count);
  const AssertGuard guard;
  try {
    pool_ = create(&params);
  } catch (const EngineError&) {
    // Those that did start wait for work and are never joined.
    throw EngineError("OUT_OF_MEMORY", "Expected " + std::to_string(count) + " compute threads but received fewer");
  }
}

ComputeThreads::~ComputeThreads() {
  using Free = void (*)(ggml_threadpool*);
  if (pool_ == nullptr) return;
  if (const Free release = cpu_function<Free>("ggml_threadpool_free")) release(pool_);
}

void ComputeThreads::attach(llama_context* context) const {
  if (pool_ != nullptr) llama_attach_threadpool(context, pool_, pool_);
}

}  // namespace winnow
