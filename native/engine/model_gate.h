// What a GGUF must hold before llama.cpp sees it. llama.cpp trusts a file's metadata and tensor types: a repeated
// token string or a negative epsilon ends the process by an assert, an integer tensor where weights belong by a
// jump through an empty table of dot products. Assets from strangers must end in a sentence instead.
#pragma once

#include <string>

namespace winnow {

// Throws EngineError MODEL_NOT_FOUND or MODEL_CORRUPT.
void check_model_file(const std::string& path);

[[noreturn]] void throw_corrupt_model(const std::string& path, const std::string& received);

}  // namespace winnow
