#include "sizes_wrap.h"

#include <memory>
#include <utility>

#include "adapter_wrap.h"
#include "addon_data.h"
#include "model_wrap.h"
#include "pool_values.h"
#include "promise_worker.h"

namespace winnow {
namespace {

Napi::Value ask(const Napi::CallbackInfo& info, const PoolParams& params, bool mirror, const AdapterSet& adapters) {
  const std::shared_ptr<Model> model = ModelWrap::unwrap(info[0]);
  using Worker = PromiseWorker<ContextSizes>;
  Worker::Steps steps;
  steps.work = [=] { return context_sizes(*model, params, mirror, adapters); };
  steps.convert = from_sizes;
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

}  // namespace

Napi::Value pool_sizes(const Napi::CallbackInfo& info) {
  const AdapterSet adapters = info[2].IsUndefined() ? AdapterSet() : AdapterWrap::unwrap_all(info[2]);
  return ask(info, to_pool_params(info[1]), false, adapters);
}

Napi::Value mirror_sizes(const Napi::CallbackInfo& info) { return ask(info, to_mirror_params(info[1]), true, {}); }

Napi::Value from_sizes(Napi::Env env, const ContextSizes& sizes) {
  Napi::Array devices = Napi::Array::New(env, sizes.devices.size());
  for (std::size_t i = 0; i < sizes.devices.size(); ++i) {
    const DeviceSizes& device = sizes.devices[i];
    Napi::Object to = Napi::Object::New(env);
    to["device"] = device.device;
    to["weights"] = static_cast<double>(device.weights);
    to["cells"] = static_cast<double>(device.cells);
    to["compute"] = static_cast<double>(device.compute);
    to["outputs"] = static_cast<double>(device.outputs);
    devices[static_cast<std::uint32_t>(i)] = to;
  }
  Napi::Object to = Napi::Object::New(env);
  to["streams"] = sizes.streams;
  to["cellsPerStream"] = sizes.cells_per_stream;
  to["devices"] = devices;
  return to;
}

}  // namespace winnow
