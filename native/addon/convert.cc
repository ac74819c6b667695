#include "convert.h"

#include <cmath>
#include <cstring>

namespace winnow {
namespace {

template <typename Element>
Napi::TypedArrayOf<Element> typed(const Napi::Value& value, napi_typedarray_type type, const char* what,
                                  const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    throw unexpected(value, what, name);
  return value.As<Napi::TypedArrayOf<Element>>();
}

template <typename Element>
std::vector<Element> copy_in(const Napi::Value& value, napi_typedarray_type type, const char* what, const char* name) {
  const Napi::TypedArrayOf<Element> array = typed<Element>(value, type, what, name);
  if (array.ElementLength() == 0) return {};
  return {array.Data(), array.Data() + array.ElementLength()};
}

template <typename Array, typename Element>
Array copy_out(Napi::Env env, const std::vector<Element>& values) {
  Array out = Array::New(env, values.size());
  if (!values.empty()) std::memcpy(out.Data(), values.data(), values.size() * sizeof(Element));
  return out;
}

}  // namespace

Napi::TypeError unexpected(const Napi::Value& value, const std::string& what, const char* name) {
  return Napi::TypeError::New(value.Env(),
                              "Expected " + what + " for " + name + " but received " + value.ToString().Utf8Value());
}

Napi::Object to_object(const Napi::Value& value, const char* name) {
  if (!value.IsObject() || value.IsArray() || value.IsTypedArray()) throw unexpected(value, "an object", name);
  return value.As<Napi::Object>();
}

std::string to_text(const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw unexpected(value, "a string", name);
  return value.As<Napi::String>().Utf8Value();
}

bool to_bool(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) throw unexpected(value, "true or false", name);
  return value.As<Napi::Boolean>().Value();
}

double to_number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber() || !std::isfinite(value.As<Napi::Number>().DoubleValue()))
    throw unexpected(value, "a finite number", name);
  return value.As<Napi::Number>().DoubleValue();
}

std::int64_t to_integer(const Napi::Value& value, const char* name, std::int64_t low, std::int64_t high) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high)) || std::floor(number) != number)
    throw unexpected(value, "an integer from " + std::to_string(low) + " to " + std::to_string(high), name);
  return static_cast<std::int64_t>(number);
}

std::uint64_t to_unsigned(const Napi::Value& value, const char* name) {
  bool lossless = false;
  const std::uint64_t number = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) throw unexpected(value, "a BigInt from 0 to 2^64 - 1", name);
  return number;
}

std::vector<std::int32_t> to_int32s(const Napi::Value& value, const char* name) {
  return copy_in<std::int32_t>(value, napi_int32_array, "an Int32Array", name);
}

std::vector<std::uint8_t> to_bytes(const Napi::Value& value, const char* name) {
  return copy_in<std::uint8_t>(value, napi_uint8_array, "a Uint8Array", name);
}

Napi::Float32Array to_float32s(const Napi::Value& value, const char* name) {
  return typed<float>(value, napi_float32_array, "a Float32Array", name);
}

int integer_of(const Napi::Object& from, const char* key, std::int64_t low, std::int64_t high) {
  return static_cast<int>(to_integer(from.Get(key), key, low, high));
}
std::string text_of(const Napi::Object& from, const char* key) { return to_text(from.Get(key), key); }
bool flag_of(const Napi::Object& from, const char* key) { return to_bool(from.Get(key), key); }
float real_of(const Napi::Object& from, const char* key) { return static_cast<float>(to_number(from.Get(key), key)); }

Napi::Array array_of(const Napi::Object& from, const char* key) {
  const Napi::Value value = from.Get(key);
  if (!value.IsArray()) throw unexpected(value, "an array", key);
  return value.As<Napi::Array>();
}

std::vector<std::string> texts_of(const Napi::Object& from, const char* key) {
  const Napi::Array values = array_of(from, key);
  std::vector<std::string> texts;
  for (std::uint32_t i = 0; i < values.Length(); ++i) texts.push_back(to_text(values[i], key));
  return texts;
}

Napi::Value from_int32s(Napi::Env env, const std::vector<std::int32_t>& values) {
  return copy_out<Napi::Int32Array>(env, values);
}

Napi::Value from_floats(Napi::Env env, const std::vector<float>& values) {
  return copy_out<Napi::Float32Array>(env, values);
}

Napi::Value from_bytes(Napi::Env env, const std::vector<std::uint8_t>& values) {
  return copy_out<Napi::Uint8Array>(env, values);
}

Napi::Value from_texts(Napi::Env env, const std::vector<std::string>& values) {
  Napi::Array list = Napi::Array::New(env, values.size());
  for (std::size_t i = 0; i < values.size(); ++i) list[static_cast<std::uint32_t>(i)] = values[i];
  return list;
}

}  // namespace winnow
