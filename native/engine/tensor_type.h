// The types that cells, and the weights of random models, may have.
#pragma once

#include <ggml.h>

#include <string>

#include "error.h"

namespace winnow {

// Throws OPTION_INVALID; `what` is for the message.
inline ggml_type tensor_type(const std::string& name, const char* what) {
  if (name == "f32") return GGML_TYPE_F32;
  if (name == "f16") return GGML_TYPE_F16;
  if (name == "q8_0") return GGML_TYPE_Q8_0;
  if (name == "q4_0") return GGML_TYPE_Q4_0;
  throw EngineError("OPTION_INVALID",
                    std::string("Expected f32, f16, q8_0 or q4_0 for ") + what + " but received '" + name + "'");
}

}  // namespace winnow
