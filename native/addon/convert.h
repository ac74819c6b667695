// JavaScript values <-> plain ones, checked at the door: a value of the wrong type is a TypeError that names it. What
// is made of several has a file of its own, such as pool_values.h.
#pragma once

#include <napi.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace winnow {

constexpr std::int64_t kIntMax = std::numeric_limits<int>::max();

Napi::TypeError unexpected(const Napi::Value& value, const std::string& what, const char* name);

// Of an argument (`name` is for the message).
Napi::Object to_object(const Napi::Value& value, const char* name);
std::string to_text(const Napi::Value& value, const char* name);
bool to_bool(const Napi::Value& value, const char* name);
double to_number(const Napi::Value& value, const char* name);  // finite
std::int64_t to_integer(const Napi::Value& value, const char* name, std::int64_t low, std::int64_t high);
std::uint64_t to_unsigned(const Napi::Value& value, const char* name);            // BigInt of 64 bits
std::vector<std::int32_t> to_int32s(const Napi::Value& value, const char* name);  // copies an Int32Array
std::vector<std::uint8_t> to_bytes(const Napi::Value& value, const char* name);   // copies a Uint8Array
Napi::Float32Array to_float32s(const Napi::Value& value, const char* name);       // a view, not a copy

// The key of an options object; a missing one is `undefined`, which the conversion refuses.
int integer_of(const Napi::Object& from, const char* key, std::int64_t low = 0, std::int64_t high = kIntMax);
std::string text_of(const Napi::Object& from, const char* key);
bool flag_of(const Napi::Object& from, const char* key);
float real_of(const Napi::Object& from, const char* key);
Napi::Array array_of(const Napi::Object& from, const char* key);
std::vector<std::string> texts_of(const Napi::Object& from, const char* key);

Napi::Value from_int32s(Napi::Env env, const std::vector<std::int32_t>& values);
Napi::Value from_bytes(Napi::Env env, const std::vector<std::uint8_t>& values);
Napi::Value from_floats(Napi::Env env, const std::vector<float>& values);
// V8 replaces bytes that are not UTF-8 by U+FFFD.
Napi::Value from_texts(Napi::Env env, const std::vector<std::string>& values);

}  // namespace winnow
