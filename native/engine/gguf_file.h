// GgufFile: the header of a GGUF file, read with every size checked against the bytes that are really there.
//
// llama.cpp's own reader is not built for hostile files: some of them end the process (a repeated token string)
// or read past an array (scores shorter than tokens). So each file is read by this one first; llama.cpp sees
// only what passed. Also all that a head needs. Format: ggml's docs/gguf.md, versions 2 and 3, little endian.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace winnow {

// Why the file was refused, as the second half of a sentence ("... but received <what>").
class GgufError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class GgufType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12
};

struct GgufValue {
  GgufType type = GgufType::u32;  // of the value, or of an array's elements
  bool is_array = false;
  double number = 0;                 // scalars that are not strings; exact up to 2^53
  std::string text;                  // string scalars
  std::vector<double> numbers;       // arrays that are not of strings
  std::vector<std::string> strings;  // arrays of strings
};

struct GgufTensor {
  std::string name;
  std::uint32_t type = 0;            // ggml_type; 0 is F32
  std::vector<std::uint64_t> shape;  // ggml order: the row length first
  std::uint64_t offset = 0;          // bytes from data_offset
};

struct GgufFile {
  std::uint32_t version = 0;
  std::uint64_t data_offset = 0;  // bytes
  std::uint64_t file_size = 0;    // bytes
  std::unordered_map<std::string, GgufValue> values;
  std::vector<GgufTensor> tensors;

  const GgufValue* find(const std::string& key) const;
  const GgufTensor* tensor(const std::string& name) const;
};

// Throws GgufError. The file must exist and be a regular file.
GgufFile read_gguf(const std::string& path);

// The first `bytes` bytes of a tensor. Throws GgufError when they lie outside the file.
std::vector<char> read_gguf_bytes(const std::string& path, const GgufFile& file, const GgufTensor& tensor,
                                  std::uint64_t bytes);

// The values of an F32 tensor. Throws GgufError when its type differs or its bytes lie outside the file.
std::vector<float> read_gguf_f32(const std::string& path, const GgufFile& file, const GgufTensor& tensor);

}  // namespace winnow
