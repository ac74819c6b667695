#include "fit_wrap.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "addon_data.h"
#include "convert.h"
#include "head_fit.h"
#include "promise_worker.h"

namespace winnow {
namespace {

// Rows as the job owns them: JavaScript may change its arrays meanwhile.
struct OwnedRows {
  std::vector<float> inputs, labels;
  std::vector<std::int32_t> groups;

  FitRows view() const { return {inputs.data(), labels.data(), groups.data(), labels.size()}; }
};

struct Shared {
  OwnedRows train, validation;
  FitParams params;
  // Held by stop() as well, which lives as long as JavaScript keeps it: the rows do not.
  std::shared_ptr<std::atomic<bool>> stop = std::make_shared<std::atomic<bool>>(false);
  std::mutex mutex;  // guards epochs: filled by the job, emptied by JavaScript
  std::vector<Epoch> epochs;
  Napi::FunctionReference on_epoch;  // JavaScript thread only
};

// Copies the columns first..first + columns of the rows that are named, and nothing else: it is the fit's only copy.
OwnedRows to_rows(const Napi::Value& value, const char* name, std::size_t columns) {
  const Napi::Object object = to_object(value, name);
  const auto whole = [&](const char* key, std::int64_t low, std::int64_t high) {
    return static_cast<std::size_t>(to_integer(object.Get(key), key, low, high));
  };
  const std::size_t width = whole("tableColumns", 1, 1 << 21), part_rows = whole("partRows", 1, 1 << 30);
  const std::size_t first = whole("firstColumn", 0, static_cast<std::int64_t>(width));
  const std::vector<std::int32_t> chosen = to_int32s(object.Get("rows"), "rows");
  const Napi::Float32Array labels = to_float32s(object.Get("labels"), "labels");
  const Napi::Value parts = object.Get("parts");
  if (!parts.IsArray()) throw Napi::TypeError::New(value.Env(), "Expected an array for parts but received another");
  std::vector<Napi::Float32Array> values;
  for (std::uint32_t i = 0; i < parts.As<Napi::Array>().Length(); ++i)
    values.push_back(to_float32s(parts.As<Napi::Array>().Get(i), "a part"));
  OwnedRows rows{
      {}, {labels.Data(), labels.Data() + labels.ElementLength()}, to_int32s(object.Get("groups"), "groups")};
  if (chosen.size() != rows.labels.size() || rows.groups.size() != rows.labels.size() || first + columns > width) {
    throw Napi::TypeError::New(value.Env(), std::string("Expected ") + std::to_string(columns) +
                                                " columns, a label and a group for each row of " + name +
                                                " but received another number");
  }
  const auto part_of = [&](std::int32_t row) { return static_cast<std::size_t>(row) / part_rows; };
  const auto begin_of = [&](std::int32_t row) { return static_cast<std::size_t>(row) % part_rows * width + first; };
  for (const std::int32_t row : chosen) {
    if (row < 0 || part_of(row) >= values.size() || begin_of(row) + columns > values[part_of(row)].ElementLength()) {
      throw Napi::RangeError::New(value.Env(), std::string("Expected rows of the table for ") + name +
                                                   " but received row " + std::to_string(row));
    }
  }
  // A row may be named many times, so the copy has no bound in what was given.
  rows.inputs = call<std::vector<float>>(value.Env(), [&] {
    std::vector<float> inputs;
    inputs.reserve(chosen.size() * columns);
    for (const std::int32_t row : chosen) {
      const float* const begin = values[part_of(row)].Data() + begin_of(row);
      inputs.insert(inputs.end(), begin, begin + columns);
    }
    return inputs;
  });
  return rows;
}

FitParams to_fit_params(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "params");
  const auto whole = [&](const char* name, std::int64_t low, std::int64_t high) {
    return static_cast<int>(to_integer(object.Get(name), name, low, high));
  };
  const auto share = [&](const char* name, double low, double high) {
    const double number = to_number(object.Get(name), name);
    if (number >= low && number <= high) return number;
    throw Napi::RangeError::New(value.Env(), std::string("Expected ") + std::to_string(low) + " to " +
                                                 std::to_string(high) + " for " + name + " but received " +
                                                 std::to_string(number));
  };
  FitParams params;
  params.columns = whole("columns", 1, 1 << 20);
  params.state_columns = whole("stateColumns", 0, params.columns);
  params.binary = to_bool(object.Get("binary"), "binary");
  params.hidden = whole("hidden", 0, 1 << 16);
  params.epochs = whole("epochs", 1, 100000);
  params.patience = whole("patience", 1, 100000);
  params.batch = whole("batch", 1, 1 << 24);
  params.rate = share("rate", 1e-9, 10);
  params.decay = share("decay", 0, 10);
  params.dropout = share("dropout", 0, 0.99);
  params.ranking = share("ranking", 0, 1000);
  params.threads = whole("threads", 0, 512);
  params.seed = to_unsigned(object.Get("seed"), "seed");
  return params;
}

Napi::Value from_epoch(Napi::Env env, const Epoch& epoch) {
  Napi::Object object = Napi::Object::New(env);
  object["index"] = Napi::Number::New(env, epoch.index);
  object["trainLoss"] = Napi::Number::New(env, epoch.train_loss);
  object["validationLoss"] = Napi::Number::New(env, epoch.validation_loss);
  return object;
}

Napi::Value from_fit(Napi::Env env, const Fit& fit) {
  Napi::Array epochs = Napi::Array::New(env, fit.epochs.size());
  for (std::size_t i = 0; i < fit.epochs.size(); ++i)
    epochs[static_cast<std::uint32_t>(i)] = from_epoch(env, fit.epochs[i]);
  Napi::Object object = Napi::Object::New(env);
  object["stopped"] = Napi::Boolean::New(env, fit.stopped);
  object["parameters"] = from_floats(env, fit.parameters);
  object["mean"] = from_floats(env, fit.mean);
  object["deviation"] = from_floats(env, fit.deviation);
  object["epochs"] = epochs;
  object["best"] = Napi::Number::New(env, fit.best);
  return object;
}

void tell_epochs(Napi::Env env, Shared& shared) {
  std::vector<Epoch> epochs;
  {
    const std::lock_guard lock(shared.mutex);
    epochs.swap(shared.epochs);
  }
  if (shared.on_epoch.IsEmpty()) return;
  for (const Epoch& epoch : epochs) shared.on_epoch.Call({from_epoch(env, epoch)});
}

}  // namespace

Napi::Value fit_head_wrapped(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<Shared> shared = std::make_shared<Shared>();
  shared->params = to_fit_params(info[2]);
  const std::size_t columns = static_cast<std::size_t>(shared->params.columns);
  shared->train = to_rows(info[0], "train", columns);
  shared->validation = to_rows(info[1], "validation", columns);
  if (info[3].IsFunction()) shared->on_epoch = Napi::Persistent(info[3].As<Napi::Function>());

  using Worker = PromiseWorker<Fit>;
  Worker::Steps steps;
  steps.work = [shared] {
    return fit_head(shared->train.view(), shared->validation.view(), shared->params, *shared->stop,
                    [&](const Epoch& epoch) {
                      const std::lock_guard lock(shared->mutex);
                      shared->epochs.push_back(epoch);
                    });
  };
  steps.convert = from_fit;
  steps.abort = [shared] { *shared->stop = true; };
  steps.tick = [shared](Napi::Env tick_env) { tell_epochs(tick_env, *shared); };
  steps.settled = [shared](Napi::Env settled_env) { tell_epochs(settled_env, *shared); };
  Napi::Object handle = Napi::Object::New(env);
  handle["done"] = Worker::run(*AddonData::of(env).jobs, env, std::move(steps));
  handle["stop"] = Napi::Function::New(
      env, [stop = shared->stop](const Napi::CallbackInfo&) { *stop = true; }, "stop");
  return handle;
}

}  // namespace winnow
