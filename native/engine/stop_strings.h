// Stop strings: texts that end a branch when it writes them, found in the bytes of its tokens wherever the tokens
// begin and end. The strings of a fork are one automaton (Aho and Corasick, "Efficient string matching: an aid to
// bibliographic search", CACM 1975), shared by its branches; a branch keeps a node of it and the lengths of a few
// pieces.
//
// The match that ends first counts, and of those that end there the longest, so what is cut does not depend on where
// the tokens part. No byte of a stop string is ever shown: `held()` bytes at the end of the text may be the beginning
// of one, and are shown once they are not, or the branch ended otherwise.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace winnow {

class StopStrings {
 public:
  static constexpr std::size_t kMostStrings = 1024;
  static constexpr std::size_t kMostBytes = 1 << 16;  // of all together

  // Null for no strings. Throws OPTION_INVALID for an empty string, or more than the above.
  static std::shared_ptr<const StopStrings> of(const std::vector<std::string>& strings);

  int longest() const { return longest_; }  // bytes

 private:
  friend class StopScan;
  struct Node {
    std::int32_t fallback = 0;  // the longest proper suffix that is a node too
    std::int32_t depth = 0;     // bytes
    std::int32_t match = 0;     // bytes of the longest stop string that ends here; 0: none does
  };
  std::int32_t next(std::int32_t node, unsigned char byte) const;

  std::vector<Node> nodes_;
  std::array<std::int32_t, 256> from_root_{};
  std::unordered_map<std::uint32_t, std::int32_t> edges_;  // node * 256 + byte
  int longest_ = 0;
};

// A branch's place in its text. Copied on fork.
class StopScan {
 public:
  // What to take off the end of the text, the token that completed the stop string included.
  struct Cut {
    int tokens = 0;  // whole tokens
    int bytes = 0;   // then so many bytes of the token before them; less than it has
    int text = 0;    // bytes in all
  };

  explicit StopScan(std::shared_ptr<const StopStrings> strings) : strings_(std::move(strings)) {}

  // What the next token would end, given its piece; nothing where the branch goes on.
  std::optional<Cut> find(std::string_view piece) const;
  // After that token was taken; it ends nothing.
  void accept(std::string_view piece);
  // Bytes at the end of the text that may begin a stop string: less than the longest has.
  int held() const { return strings_->nodes_[static_cast<std::size_t>(node_)].depth; }

 private:
  Cut cut(int match, int consumed, int size) const;

  std::shared_ptr<const StopStrings> strings_;
  std::int32_t node_ = 0;
  std::vector<std::int32_t> lengths_;  // bytes of the last pieces: those that reach into the held bytes
};

}  // namespace winnow
