// The engine's one exception. `code` is stable and reaches the user unchanged; the message is a
// sentence, "Expected X for Y but received Z" where a value was at fault.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace winnow {

class EngineError : public std::runtime_error {
 public:
  EngineError(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}

  const std::string& code() const noexcept { return code_; }

 private:
  std::string code_;
};

}  // namespace winnow
