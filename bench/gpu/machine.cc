// What the machine is, and the two rates that bound it: as its maker states them, and as measured through ggml.
//   --bytes 1073741824  one copy from device memory to device memory; bytes read and written both count
//   --size 8192         one product of two square matrices of random numbers, f16 weights and f32 activations, as
//                       llama.cpp computes a layer
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "philox.h"
#include "target.h"

namespace {

constexpr int kRuns = 10;

struct FreeBackend {
  void operator()(ggml_backend* backend) const { ggml_backend_free(backend); }
};
struct FreeGgml {
  void operator()(ggml_context* context) const { ggml_free(context); }
};
struct FreeBuffer {
  void operator()(ggml_backend_buffer* buffer) const { ggml_backend_buffer_free(buffer); }
};
using Backend = std::unique_ptr<ggml_backend, FreeBackend>;
using Tensors = std::unique_ptr<ggml_context, FreeGgml>;
using Buffer = std::unique_ptr<ggml_backend_buffer, FreeBuffer>;

// Dense rates by the makers' datasheets, SXM parts: bytes a second and f16 operations a second.
struct Datasheet {
  const char* name;
  double bandwidth, flops;
};
constexpr Datasheet kDatasheets[] = {{"H200", 4.8e12, 989e12}, {"H100", 3.35e12, 989e12}, {"A100", 2.039e12, 312e12}};

Tensors space() { return Tensors(ggml_init({ggml_tensor_overhead() * 8 + ggml_graph_overhead(), nullptr, true})); }

Buffer allocate(ggml_context* context, ggml_backend_t backend) {
  Buffer buffer(ggml_backend_alloc_ctx_tensors(context, backend));
  if (!buffer) throw std::runtime_error("Expected device memory for the measurement but received none");
  return buffer;
}

void fill(ggml_tensor* tensor) {
  std::vector<float> values(static_cast<std::size_t>(ggml_nelements(tensor)));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] =
        static_cast<float>(winnow::philox4x32({static_cast<std::uint32_t>(i), 0, 0, 0}, {1, 2})[0]) / 4294967296.0f -
        0.5f;
  std::vector<unsigned char> bytes(ggml_nbytes(tensor));
  ggml_quantize_chunk(tensor->type, values.data(), bytes.data(), 0, ggml_nrows(tensor), tensor->ne[0], nullptr);
  ggml_backend_tensor_set(tensor, bytes.data(), 0, bytes.size());
}

// The middle of kRuns, after one that warms up.
template <typename Action>
double median_seconds(ggml_backend_t backend, Action action) {
  std::vector<double> runs;
  for (int run = -1; run < kRuns; ++run) {
    const Clock::time_point start = Clock::now();
    action();
    ggml_backend_synchronize(backend);
    if (run >= 0) runs.push_back(seconds_since(start));
  }
  std::sort(runs.begin(), runs.end());
  return (runs[kRuns / 2 - 1] + runs[kRuns / 2]) / 2;
}

double copy_rate(ggml_backend_t backend, std::int64_t bytes) {
  const Tensors tensors = space();
  ggml_tensor* from = ggml_new_tensor_1d(tensors.get(), GGML_TYPE_I8, bytes);
  ggml_tensor* to = ggml_new_tensor_1d(tensors.get(), GGML_TYPE_I8, bytes);
  const Buffer buffer = allocate(tensors.get(), backend);
  ggml_backend_buffer_clear(buffer.get(), 0x5A);
  ggml_backend_synchronize(backend);
  return 2.0 * static_cast<double>(bytes) / median_seconds(backend, [&] { ggml_backend_tensor_copy(from, to); });
}

double product_rate(ggml_backend_t backend, int size) {
  const Tensors tensors = space();
  ggml_tensor* left = ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F16, size, size);
  ggml_tensor* right = ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F32, size, size);
  ggml_cgraph* graph = ggml_new_graph_custom(tensors.get(), 8, false);
  ggml_build_forward_expand(graph, ggml_mul_mat(tensors.get(), left, right));
  const Buffer buffer = allocate(tensors.get(), backend);
  fill(left);
  fill(right);
  const double seconds = median_seconds(backend, [&] {
    if (ggml_backend_graph_compute(backend, graph) != GGML_STATUS_SUCCESS)
      throw std::runtime_error("Expected the device to compute a product but it failed");
  });
  return 2.0 * size * static_cast<double>(size) * size / seconds;
}

void use_threads(ggml_backend_t backend, ggml_backend_dev_t device, int threads) {
  using SetThreads = void (*)(ggml_backend_t, int);
  void* const found =
      ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_set_n_threads");
  if (found != nullptr) reinterpret_cast<SetThreads>(found)(backend, threads);
}

bool body(Arguments& arguments) {
  const Target target(arguments);
  const double bytes = arguments.number("bytes", 1073741824);
  const int size = arguments.integer("size", 8192);
  arguments.done();
  ggml_backend_dev_t const device = ggml_backend_dev_by_name(target.device.name.c_str());
  const Backend backend(ggml_backend_dev_init(device, nullptr));
  if (!backend) throw std::runtime_error("Expected a backend on " + target.device.name + " but received none");
  use_threads(backend.get(), device, target.threads);
  Datasheet stated{"", 0, 0};
  for (const Datasheet& known : kDatasheets)
    if (target.device.description.find(known.name) != std::string::npos) stated = known;
  const double copied = copy_rate(backend.get(), static_cast<std::int64_t>(bytes));
  const double multiplied = product_rate(backend.get(), size);
  // What floors are computed with: the stated rates, and where none is known the measured ones.
  Row()
      .add("device", target.device.description)
      .add("name", target.device.name)
      .add("memory_total", static_cast<std::int64_t>(target.device.memory_total))
      .add("memory_free", static_cast<std::int64_t>(target.device.memory_free))
      .add("threads", target.threads)
      .add("llama", winnow::llama_version_text())
      .add("stated_bandwidth", stated.bandwidth)
      .add("stated_flops", stated.flops)
      .add("measured_bandwidth", copied)
      .add("measured_flops", multiplied)
      .add("peak_from", stated.bandwidth > 0 ? "datasheet" : "measurement")
      .add("bandwidth", stated.bandwidth > 0 ? stated.bandwidth : copied)
      .add("flops", stated.flops > 0 ? stated.flops : multiplied)
      .print();
  return true;
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, body); }
