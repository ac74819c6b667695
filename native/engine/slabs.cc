#include "slabs.h"

#include <algorithm>

namespace winnow {

std::vector<Slab> cut_slabs(std::vector<int> lengths, int most_rows) {
  std::vector<Slab> slabs;
  const int count = static_cast<int>(lengths.size());
  int first = 0;
  while (true) {
    while (first < count && lengths[static_cast<std::size_t>(first)] == 0) ++first;
    if (first == count) return slabs;
    Slab slab{first, 0, lengths[static_cast<std::size_t>(first)]};
    for (int stream = first; stream < count && lengths[static_cast<std::size_t>(stream)] > 0; ++stream) {
      slab.tokens = std::min(slab.tokens, lengths[static_cast<std::size_t>(stream)]);
      ++slab.streams;
    }
    slab.tokens = std::min(slab.tokens, std::max(most_rows / slab.streams, 1));
    for (int stream = first; stream < first + slab.streams; ++stream)
      lengths[static_cast<std::size_t>(stream)] -= slab.tokens;
    slabs.push_back(slab);
  }
}

}  // namespace winnow
