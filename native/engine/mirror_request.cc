#include "mirror_request.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "error.h"
#include "request.h"

namespace winnow {
namespace {

void expect(bool holds, const std::string& what, std::size_t received) {
  if (!holds) throw EngineError("OPTION_INVALID", "Expected " + what + " but received " + std::to_string(received));
}

}  // namespace

void check_shape(const MirrorRequest& request, int vocabulary) {
  const std::size_t count = request.ids.size(), tokens = request.tokens.size();
  expect(request.keep.size() == count, "one number to keep for each branch", request.keep.size());
  expect(request.offsets.size() == count + 1, "one offset more than branches", request.offsets.size());
  expect(request.offsets.front() == 0 && std::is_sorted(request.offsets.begin(), request.offsets.end()) &&
             static_cast<std::size_t>(request.offsets.back()) == tokens,
         "offsets that rise from 0 to the " + std::to_string(tokens) + " tokens",
         static_cast<std::size_t>(std::max(request.offsets.back(), 0)));
  expect(request.marks.empty() || request.marks.size() == tokens, "no marks or one for each new token",
         request.marks.size());
  for (const std::uint8_t mark : request.marks) expect(mark <= 1, "marks of 0 or 1", mark);
  std::vector<std::int32_t> sorted = request.ids;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    throw EngineError("OPTION_INVALID",
                      "Expected each branch once but received " + std::to_string(*twice) + " more than once");
  check_tokens("token ids", request.tokens, vocabulary);
  check_tokens("suffix tokens", request.suffix, vocabulary);
}

void check_branch(const MirrorRequest& request, std::size_t branch, int length, int limit) {
  const std::string name = "branch " + std::to_string(request.ids[branch]);
  const std::int32_t keep = request.keep[branch];
  if (keep < 0 || keep > length) {
    throw EngineError("OPTION_INVALID", "Expected 0 to " + std::to_string(length) + " tokens to keep of " + name +
                                            " but received " + std::to_string(keep));
  }
  const std::size_t total =
      static_cast<std::size_t>(keep) + static_cast<std::size_t>(request.new_tokens(branch)) + request.suffix.size();
  if (total == 0) throw EngineError("OPTION_INVALID", "Expected a token to score " + name + " at but received none");
  if (total > static_cast<std::size_t>(limit)) {
    throw EngineError("CONTEXT_TOO_LONG", "Expected at most " + std::to_string(limit) + " tokens in " + name +
                                              ", suffix included, but received " + std::to_string(total));
  }
}

}  // namespace winnow
