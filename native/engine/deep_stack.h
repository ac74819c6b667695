// Runs work on a thread whose stack is as deep as asked. llama.cpp splits text for several tokenizers with
// std::wregex, which recurses once for each character of a match: some 40,000 letters without a space overflow the
// usual 8 MiB and end the process.
#pragma once

#include <cstddef>
#include <functional>

namespace winnow {

// Returns once `work` has; what it threw is thrown here. Throws EngineError OUT_OF_MEMORY where there is no such stack.
void run_with_stack(std::size_t bytes, const std::function<void()>& work);

}  // namespace winnow
