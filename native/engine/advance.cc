#include "advance.h"

#include <utility>

namespace winnow {
namespace {

template <typename Element>
void append(std::vector<Element>& to, std::vector<Element>& from) {
  to.insert(to.end(), from.begin(), from.end());
  from.clear();
}

}  // namespace

Advance take_untold(Race& race, AdvanceReason reason) {
  Advance told = std::exchange(race.untold, {});
  told.reason = reason;
  told.cells_peak = race.cells_peak;
  for (Branch& branch : race.branches) {
    if (!branch.touched) continue;
    const std::ptrdiff_t taken = static_cast<std::ptrdiff_t>(branch.logprobs.size());
    told.branches.push_back(branch.id);
    told.counts.push_back(static_cast<std::int32_t>(taken));
    told.status.push_back(static_cast<std::uint8_t>(branch.status));
    told.cuts.push_back(branch.cut);
    told.cut_tokens.push_back(branch.cut_tokens);
    told.tokens.insert(told.tokens.end(), branch.tokens.end() - taken, branch.tokens.end());
    append(told.logprobs, branch.logprobs);
    append(told.entropies, branch.entropies);
    append(told.certainties, branch.certainties);
    append(told.top_confidences, branch.top_confidences);
    branch.touched = false;
  }
  return told;
}

}  // namespace winnow
