#include "gguf_file.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <unordered_set>
#include <utility>

namespace winnow {
namespace {

// Generous against real files (vocabularies of 300k pieces, 600k merges), small against memory.
constexpr std::uint64_t kMaxValues = 100'000;
constexpr std::uint64_t kMaxTensors = 1'000'000;
constexpr std::uint64_t kMaxElements = 16'000'000;
constexpr std::uint64_t kMaxString = 64u << 20;  // bytes
constexpr std::uint64_t kMaxDimensions = 4;
constexpr std::uint64_t kMaxName = 64;  // ggml's own limit on tensor names

class Reader {
 public:
  Reader(const std::string& path, std::uint64_t size)
      : stream_(std::filesystem::path(path), std::ios::binary), left_(size) {
    if (!stream_) throw GgufError("a file that cannot be read");
  }

  template <typename T>
  T scalar(const char* what) {
    T value;
    bytes(&value, sizeof value, what);
    return value;
  }

  std::string text(const char* what, std::uint64_t limit = kMaxString) {
    const std::uint64_t length = scalar<std::uint64_t>(what);
    if (length > limit || length > left_)
      throw GgufError("a " + std::string(what) + " of " + std::to_string(length) + " bytes");
    std::string value(static_cast<std::size_t>(length), '\0');
    bytes(value.data(), value.size(), what);
    return value;
  }

  void bytes(void* to, std::size_t count, const char* what) {
    if (count > left_) throw GgufError("a file that ends inside its " + std::string(what));
    if (count == 0) return;
    stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(count));
    if (static_cast<std::size_t>(stream_.gcount()) != count)
      throw GgufError("a file that ends inside its " + std::string(what));
    left_ -= count;
  }

  std::uint64_t left() const { return left_; }

 private:
  std::ifstream stream_;
  std::uint64_t left_;  // bytes not yet read
};

std::size_t element_size(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean: return 1;
    case GgufType::u16:
    case GgufType::i16: return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32: return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64: return 8;
    default: return 0;
  }
}

double number(Reader& reader, GgufType type) {
  switch (type) {
    case GgufType::u8: return reader.scalar<std::uint8_t>("metadata");
    case GgufType::i8: return reader.scalar<std::int8_t>("metadata");
    case GgufType::boolean: return reader.scalar<std::uint8_t>("metadata") != 0;
    case GgufType::u16: return reader.scalar<std::uint16_t>("metadata");
    case GgufType::i16: return reader.scalar<std::int16_t>("metadata");
    case GgufType::u32: return reader.scalar<std::uint32_t>("metadata");
    case GgufType::i32: return reader.scalar<std::int32_t>("metadata");
    case GgufType::f32: return static_cast<double>(reader.scalar<float>("metadata"));
    case GgufType::u64: return static_cast<double>(reader.scalar<std::uint64_t>("metadata"));
    case GgufType::i64: return static_cast<double>(reader.scalar<std::int64_t>("metadata"));
    default: return reader.scalar<double>("metadata");
  }
}

GgufType value_type(Reader& reader) {
  const std::uint32_t type = reader.scalar<std::uint32_t>("metadata");
  if (type > static_cast<std::uint32_t>(GgufType::f64))
    throw GgufError("a metadata value of unknown type " + std::to_string(type));
  return static_cast<GgufType>(type);
}

GgufValue read_value(Reader& reader) {
  GgufValue value;
  value.type = value_type(reader);
  if (value.type != GgufType::array) {
    if (value.type == GgufType::string)
      value.text = reader.text("metadata string");
    else
      value.number = number(reader, value.type);
    return value;
  }
  value.is_array = true;
  value.type = value_type(reader);
  if (value.type == GgufType::array) throw GgufError("an array of arrays in the metadata");
  const std::uint64_t count = reader.scalar<std::uint64_t>("metadata");
  const std::uint64_t least = value.type == GgufType::string ? 8 : element_size(value.type);  // bytes of one element
  if (count > kMaxElements || count > reader.left() / least) {
    throw GgufError("a metadata array of " + std::to_string(count) + " elements");
  }
  if (value.type == GgufType::string) {
    value.strings.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count; ++i) value.strings.push_back(reader.text("metadata string"));
  } else {
    value.numbers.reserve(static_cast<std::size_t>(count));
    for (std::uint64_t i = 0; i < count; ++i) value.numbers.push_back(number(reader, value.type));
  }
  return value;
}

GgufTensor read_tensor(Reader& reader) {
  GgufTensor tensor;
  tensor.name = reader.text("tensor name", kMaxName);
  const std::uint32_t dimensions = reader.scalar<std::uint32_t>("tensor list");
  if (dimensions > kMaxDimensions) {
    throw GgufError("tensor '" + tensor.name + "' of " + std::to_string(dimensions) + " dimensions");
  }
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const std::uint64_t length = reader.scalar<std::uint64_t>("tensor list");
    constexpr std::uint64_t limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (length > limit || (length != 0 && elements > limit / length))
      throw GgufError("tensor '" + tensor.name + "' of impossible size");
    elements *= length;
    tensor.shape.push_back(length);
  }
  tensor.type = reader.scalar<std::uint32_t>("tensor list");
  tensor.offset = reader.scalar<std::uint64_t>("tensor list");
  return tensor;
}

}  // namespace

const GgufValue* GgufFile::find(const std::string& key) const {
  const auto at = values.find(key);
  return at == values.end() ? nullptr : &at->second;
}

const GgufTensor* GgufFile::tensor(const std::string& name) const {
  for (const GgufTensor& candidate : tensors) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

GgufFile read_gguf(const std::string& path) {
  GgufFile file;
  std::error_code failed;
  file.file_size = std::filesystem::file_size(std::filesystem::path(path), failed);
  if (failed) throw GgufError("a file whose size cannot be read (" + failed.message() + ")");
  Reader reader(path, file.file_size);

  char magic[4] = {};
  reader.bytes(magic, sizeof magic, "header");
  if (std::memcmp(magic, "GGUF", sizeof magic) != 0) throw GgufError("a file that does not start with 'GGUF'");
  file.version = reader.scalar<std::uint32_t>("header");
  if (file.version != 2 && file.version != 3) throw GgufError("GGUF version " + std::to_string(file.version));
  const std::uint64_t tensors = reader.scalar<std::uint64_t>("header");
  const std::uint64_t values = reader.scalar<std::uint64_t>("header");
  if (tensors > kMaxTensors) throw GgufError("a list of " + std::to_string(tensors) + " tensors");
  if (values > kMaxValues) throw GgufError("a list of " + std::to_string(values) + " metadata values");

  for (std::uint64_t i = 0; i < values; ++i) {
    std::string key = reader.text("metadata key");
    if (key.empty()) throw GgufError("an empty metadata key");
    GgufValue value = read_value(reader);
    if (!file.values.emplace(key, std::move(value)).second) throw GgufError("metadata key '" + key + "' twice");
  }
  std::uint64_t alignment = 32;
  if (const GgufValue* stated = file.find("general.alignment")) {
    if (stated->is_array || stated->type != GgufType::u32) throw GgufError("a general.alignment that is not a u32");
    alignment = static_cast<std::uint64_t>(stated->number);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > (1u << 20)) {
      throw GgufError("a general.alignment of " + std::to_string(alignment));
    }
  }
  std::unordered_set<std::string> names;
  for (std::uint64_t i = 0; i < tensors; ++i) {
    GgufTensor tensor = read_tensor(reader);
    if (!names.insert(tensor.name).second) throw GgufError("tensor '" + tensor.name + "' twice");
    file.tensors.push_back(std::move(tensor));
  }
  const std::uint64_t end = file.file_size - reader.left();
  file.data_offset = (end + alignment - 1) / alignment * alignment;
  return file;
}

std::vector<char> read_gguf_bytes(const std::string& path, const GgufFile& file, const GgufTensor& tensor,
                                  std::uint64_t bytes) {
  const std::uint64_t room = file.file_size > file.data_offset ? file.file_size - file.data_offset : 0;
  if (tensor.offset > room || bytes > room - tensor.offset) {
    throw GgufError("tensor '" + tensor.name + "' that lies outside the file");
  }
  std::vector<char> values(static_cast<std::size_t>(bytes));
  if (values.empty()) return values;
  std::ifstream stream(std::filesystem::path(path), std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(file.data_offset + tensor.offset));
  stream.read(values.data(), static_cast<std::streamsize>(bytes));
  if (stream.gcount() != static_cast<std::streamsize>(bytes))
    throw GgufError("tensor '" + tensor.name + "' that cannot be read");
  return values;
}

std::vector<float> read_gguf_f32(const std::string& path, const GgufFile& file, const GgufTensor& tensor) {
  if (tensor.type != 0) throw GgufError("tensor '" + tensor.name + "' of a type other than F32");
  std::uint64_t elements = 1;
  for (const std::uint64_t length : tensor.shape) elements *= length;  // cannot overflow: checked when it was read
  if (elements > file.file_size / sizeof(float))
    throw GgufError("tensor '" + tensor.name + "' that lies outside the file");
  const std::vector<char> bytes = read_gguf_bytes(path, file, tensor, elements * sizeof(float));
  std::vector<float> values(static_cast<std::size_t>(elements));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace winnow
