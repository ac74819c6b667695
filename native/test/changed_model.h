// Model files that are not as they were written.
#pragma once

#include <gguf.h>

#include "fixture.h"

namespace winnow::test {

inline std::string load_code(const std::string& path) {
  return code_of([&] { load(path); });
}

inline std::string with_bytes(const std::string& bytes) {
  const std::string path = temp_path("changed.gguf");
  write_file(path, bytes);
  return path;
}

// The file `from` with its metadata changed and the tensors' bytes behind it as they were.
template <typename Change>
std::string changed(const std::string& from, const std::string& name, Change change) {
  gguf_context* file = gguf_init_from_file(from.c_str(), {true, nullptr});
  const std::string weights = read_file(from).substr(gguf_get_data_offset(file));
  change(file);
  std::string bytes(gguf_get_meta_size(file), '\0');
  gguf_get_meta_data(file, bytes.data());
  gguf_free(file);
  const std::string path = temp_path(name);
  write_file(path, bytes + weights);
  return path;
}

}  // namespace winnow::test
