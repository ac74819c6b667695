// loader.node: opens the llama.cpp libraries of one variant into the process-wide symbol scope, where winnow.node
// (whose llama.cpp symbols are undefined) then finds them. Apart from winnow.node because that one cannot even be
// opened before the libraries are there. Handles are never closed: code and static data stay until the process ends,
// also when the worker thread that opened them exits.
#include <napi.h>

#include <string>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif
#if defined(__linux__)
#include <link.h>
#elif defined(__APPLE__)
#include <mach-o/dyld.h>
#endif

namespace {

std::string text_argument(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw Napi::TypeError::New(info.Env(), "Expected a string for the path of a library");
  return info[0].As<Napi::String>().Utf8Value();
}

// (path, global) -> null, or the sentence of the dynamic linker.
Napi::Value open_library(const Napi::CallbackInfo& info) {
  const std::string path = text_argument(info);
#if defined(_WIN32)
  if (LoadLibraryA(path.c_str()) != nullptr) return info.Env().Null();
  return Napi::String::New(info.Env(), "LoadLibrary failed with error " + std::to_string(GetLastError()));
#else
  const bool global = info[1].IsBoolean() && info[1].As<Napi::Boolean>().Value();
  if (dlopen(path.c_str(), RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL)) != nullptr) return info.Env().Null();
  const char* reason = dlerror();
  return Napi::String::New(info.Env(), reason == nullptr ? "dlopen failed" : reason);
#endif
}

// Paths of every library in the process, so that one that node-llama-cpp opened before is found and shared.
Napi::Value loaded_libraries(const Napi::CallbackInfo& info) {
  Napi::Array paths = Napi::Array::New(info.Env());
#if defined(__linux__)
  struct Collector {
    Napi::Env env;
    Napi::Array paths;
  } collector{info.Env(), paths};
  dl_iterate_phdr(
      [](dl_phdr_info* library, std::size_t, void* data) {
        Collector& to = *static_cast<Collector*>(data);
        if (library->dlpi_name != nullptr && library->dlpi_name[0] != '\0')
          to.paths[to.paths.Length()] = Napi::String::New(to.env, library->dlpi_name);
        return 0;
      },
      &collector);
#elif defined(__APPLE__)
  for (std::uint32_t i = 0; i < _dyld_image_count(); ++i)
    paths[paths.Length()] = Napi::String::New(info.Env(), _dyld_get_image_name(i));
#endif
  return paths;
}

// Registers one backend library with the ggml that was opened before: the CUDA 12 build of node-llama-cpp's "-ext"
// package lies in a folder of its own. false when ggml refuses it.
Napi::Value load_backend(const Napi::CallbackInfo& info) {
  const std::string path = text_argument(info);
#if defined(_WIN32)
  return Napi::Boolean::New(info.Env(), false);
#else
  using Load = void* (*)(const char*);
  const Load load = reinterpret_cast<Load>(dlsym(RTLD_DEFAULT, "ggml_backend_load"));
  return Napi::Boolean::New(info.Env(), load != nullptr && load(path.c_str()) != nullptr);
#endif
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports["compiledLlamaVersion"] = Napi::String::New(env, WINNOW_LLAMA_VERSION);
  exports["open"] = Napi::Function::New(env, open_library, "open");
  exports["loaded"] = Napi::Function::New(env, loaded_libraries, "loaded");
  exports["loadBackend"] = Napi::Function::New(env, load_backend, "loadBackend");
  return exports;
}

}  // namespace

NODE_API_MODULE(loader, init)
