#include "stop_strings.h"

#include <algorithm>
#include <numeric>

#include "error.h"

namespace winnow {
namespace {

std::uint32_t edge(std::int32_t node, unsigned char byte) { return static_cast<std::uint32_t>(node) << 8 | byte; }

[[noreturn]] void refuse(const std::string& wanted, const std::string& received) {
  throw EngineError("OPTION_INVALID", "Expected " + wanted + " for stop but received " + received);
}

}  // namespace

std::shared_ptr<const StopStrings> StopStrings::of(const std::vector<std::string>& strings) {
  if (strings.empty()) return nullptr;
  if (strings.size() > kMostStrings)
    refuse("at most " + std::to_string(kMostStrings) + " strings", std::to_string(strings.size()));
  std::size_t bytes = 0;
  for (const std::string& string : strings) bytes += string.size();
  if (bytes > kMostBytes) refuse("at most " + std::to_string(kMostBytes) + " bytes in all", std::to_string(bytes));

  auto made = std::make_shared<StopStrings>();
  std::vector<Node>& nodes = made->nodes_;
  nodes.emplace_back();
  struct Child {
    std::int32_t parent, node;
    unsigned char byte;
  };
  std::vector<Child> children;
  for (const std::string& string : strings) {
    if (string.empty()) refuse("strings of at least one character", "an empty one");
    std::int32_t node = 0;
    for (const char each : string) {
      const unsigned char byte = static_cast<unsigned char>(each);
      const auto [found, fresh] = made->edges_.try_emplace(edge(node, byte), static_cast<std::int32_t>(nodes.size()));
      if (fresh) {
        Node child;
        child.depth = nodes[static_cast<std::size_t>(node)].depth + 1;
        children.push_back({node, found->second, byte});
        nodes.push_back(child);
      }
      node = found->second;
    }
    nodes[static_cast<std::size_t>(node)].match = static_cast<std::int32_t>(string.size());
    made->longest_ = std::max(made->longest_, static_cast<int>(string.size()));
  }
  for (const Child& child : children) {
    if (child.parent == 0) made->from_root_[child.byte] = child.node;
  }
  // A fallback is shallower than its node, so nodes in the order of depth find theirs ready.
  std::stable_sort(children.begin(), children.end(), [&](const Child& a, const Child& b) {
    return nodes[static_cast<std::size_t>(a.node)].depth < nodes[static_cast<std::size_t>(b.node)].depth;
  });
  for (const Child& child : children) {
    Node& node = nodes[static_cast<std::size_t>(child.node)];
    if (child.parent != 0)
      node.fallback = made->next(nodes[static_cast<std::size_t>(child.parent)].fallback, child.byte);
    if (node.match == 0) node.match = nodes[static_cast<std::size_t>(node.fallback)].match;
  }
  return made;
}

std::int32_t StopStrings::next(std::int32_t node, unsigned char byte) const {
  while (node != 0) {
    const auto found = edges_.find(edge(node, byte));
    if (found != edges_.end()) return found->second;
    node = nodes_[static_cast<std::size_t>(node)].fallback;
  }
  return from_root_[byte];
}

std::optional<StopScan::Cut> StopScan::find(std::string_view piece) const {
  const int size = static_cast<int>(piece.size());
  std::int32_t node = node_;
  for (int i = 0; i < size; ++i) {
    node = strings_->next(node, static_cast<unsigned char>(piece[static_cast<std::size_t>(i)]));
    const int match = strings_->nodes_[static_cast<std::size_t>(node)].match;
    if (match > 0) return cut(match, i + 1, size);
  }
  return std::nullopt;
}

void StopScan::accept(std::string_view piece) {
  for (const char byte : piece) node_ = strings_->next(node_, static_cast<unsigned char>(byte));
  lengths_.push_back(static_cast<std::int32_t>(piece.size()));
  int bytes = std::accumulate(lengths_.begin(), lengths_.end(), 0);
  auto first = lengths_.begin();
  while (first != lengths_.end() && bytes - *first >= held()) bytes -= *first++;
  lengths_.erase(lengths_.begin(), first);
}

StopScan::Cut StopScan::cut(int match, int consumed, int size) const {
  Cut cut;
  cut.text = size - consumed + match;
  cut.bytes = cut.text;
  int length = size;
  for (auto before = lengths_.rbegin(); cut.bytes > 0 && cut.bytes >= length; ++before) {
    cut.bytes -= length;
    ++cut.tokens;
    if (before == lengths_.rend()) break;
    length = *before;
  }
  return cut;
}

}  // namespace winnow
