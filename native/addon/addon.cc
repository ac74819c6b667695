// winnow.node: what JavaScript sees of the engine. Converts and queues; knows nothing of llama.cpp.
#include <napi.h>

#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include "adapter_wrap.h"
#include "addon_data.h"
#include "backend.h"
#include "confidence.h"
#include "convert.h"
#include "model_values.h"
#include "fit_wrap.h"
#include "head_wrap.h"
#include "mirror_wrap.h"
#include "model_wrap.h"
#include "pool_wrap.h"
#include "promise_worker.h"
#include "random_model.h"
#include "ranker_wrap.h"
#include "sizes_wrap.h"

namespace winnow {
namespace {

// llama.cpp keeps pointers into this library (its log and abort hooks) while Node unloads addons when the worker
// thread that loaded them exits: so it stays.
void stay_loaded() {
#if defined(_WIN32)
  HMODULE self = nullptr;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                     reinterpret_cast<const char*>(&stay_loaded), &self);
#else
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&stay_loaded), &self) != 0) dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
#endif
}

void drain_log(Napi::Env env) {
  AddonData& data = AddonData::of(env);
  if (data.logger.IsEmpty()) return;
  for (const LogLine& line : data.log->drain())
    data.logger.Call({Napi::Number::New(env, line.level), Napi::String::New(env, line.text)});
}

// process.exit() runs no cleanup hooks: exit() would destroy llama.cpp's static objects under a running decode. A
// handler of atexit() comes too late, because some of those objects are made during the first decode.
void shut_down_on_exit(Napi::Env env) {
  const Napi::Object process = env.Global().Get("process").As<Napi::Object>();
  const Napi::Function on_exit = Napi::Function::New(
      env, [](const Napi::CallbackInfo& info) { AddonData::of(info.Env()).jobs->shutdown(); }, "winnowOnExit");
  process.Get("once").As<Napi::Function>().Call(process, {Napi::String::New(env, "exit"), on_exit});
}

void load_backends_once(const Napi::CallbackInfo& info) {
  const std::string folder = to_text(info[0], "folder");
  call<std::monostate>(info.Env(), [&] {
    static std::mutex one_at_a_time;  // worker threads share the process-wide backends
    const std::lock_guard lock(one_at_a_time);
    load_backends(folder);
    return std::monostate{};
  });
  drain_log(info.Env());
}

Napi::Value list_devices(const Napi::CallbackInfo& info) {
  const std::vector<Device> all = call<std::vector<Device>>(info.Env(), devices);
  Napi::Array list = Napi::Array::New(info.Env(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) list[static_cast<std::uint32_t>(i)] = from_device(info.Env(), all[i]);
  return list;
}

Napi::Value say_llama_version(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), call<std::string>(info.Env(), llama_version_text));
}

Napi::Value say_system_info(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), call<std::string>(info.Env(), system_info));
}

void set_logger(const Napi::CallbackInfo& info) {
  AddonData& data = AddonData::of(info.Env());
  if (info[0].IsFunction()) {
    data.logger = Napi::Persistent(info[0].As<Napi::Function>());
  } else if (info[0].IsNull()) {
    data.logger.Reset();
  } else {
    throw Napi::TypeError::New(info.Env(), "Expected a function or null for the logger");
  }
  data.log->listen(!data.logger.IsEmpty());
}

Napi::Value make_random_model(const Napi::CallbackInfo& info) {
  const RandomModelParams params = to_random_model_params(info[0]);
  using Worker = PromiseWorker<std::monostate>;
  Worker::Steps steps;
  steps.work = [params] {
    write_random_model(params);
    return std::monostate{};
  };
  steps.convert = [](Napi::Env env, const std::monostate&) -> Napi::Value { return env.Undefined(); };
  return Worker::run(*AddonData::of(info.Env()).jobs, info.Env(), std::move(steps));
}

}  // namespace

Napi::Object start_addon(Napi::Env env, Napi::Object exports) {
  stay_loaded();
  AddonData* const data = new AddonData;
  env.SetInstanceData(data);
  data->jobs = Jobs::create(env);
  data->log = LogRing::create();
  data->jobs->on_tick(drain_log);
  shut_down_on_exit(env);
  data->model_class = ModelWrap::define(env);
  data->adapter_class = AdapterWrap::define(env);
  data->head_class = HeadWrap::define(env);
  data->pool_class = PoolWrap::define(env);
  data->mirror_class = MirrorWrap::define(env);
  data->ranker_class = RankerWrap::define(env);

  exports["addonVersion"] = Napi::String::New(env, WINNOW_VERSION);
  exports["compiledLlamaVersion"] = Napi::String::New(env, compiled_llama_version());
  Napi::Array names = Napi::Array::New(env, kFeatures);
  for (std::uint32_t i = 0; i < kFeatures; ++i) names[i] = kFeatureNames[i];
  exports["featureNames"] = names;
  exports["llamaVersion"] = Napi::Function::New(env, say_llama_version, "llamaVersion");
  exports["loadBackends"] = Napi::Function::New(env, load_backends_once, "loadBackends");
  exports["devices"] = Napi::Function::New(env, list_devices, "devices");
  exports["systemInfo"] = Napi::Function::New(env, say_system_info, "systemInfo");
  exports["setLogger"] = Napi::Function::New(env, set_logger, "setLogger");
  exports["loadModel"] = Napi::Function::New(env, ModelWrap::load, "loadModel");
  exports["loadAdapter"] = Napi::Function::New(env, AdapterWrap::load, "loadAdapter");
  exports["loadHead"] = Napi::Function::New(env, HeadWrap::load, "loadHead");
  exports["createPool"] = Napi::Function::New(env, PoolWrap::create, "createPool");
  exports["createMirror"] = Napi::Function::New(env, MirrorWrap::create, "createMirror");
  exports["poolSizes"] = Napi::Function::New(env, pool_sizes, "poolSizes");
  exports["mirrorSizes"] = Napi::Function::New(env, mirror_sizes, "mirrorSizes");
  exports["createRanker"] = Napi::Function::New(env, RankerWrap::create, "createRanker");
  exports["rankHead"] = Napi::Function::New(env, RankerWrap::head, "rankHead");
  exports["fitHead"] = Napi::Function::New(env, fit_head_wrapped, "fitHead");
  exports["writeRandomModel"] = Napi::Function::New(env, make_random_model, "writeRandomModel");
  return exports;
}

}  // namespace winnow

using winnow::start_addon;
NODE_API_MODULE(winnow, start_addon)
