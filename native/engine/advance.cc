#include "advance.h"

namespace winnow {

void forget_taken(std::vector<Branch>& branches) {
  for (Branch& branch : branches) {
    branch.touched = false;
    branch.tokens.clear();
    branch.logprobs.clear();
    branch.entropies.clear();
    branch.certainties.clear();
    branch.top_confidences.clear();
  }
}

void report_taken(const std::vector<Branch>& branches, Advance& into) {
  for (const Branch& branch : branches) {
    if (!branch.touched) continue;
    into.branches.push_back(branch.id);
    into.counts.push_back(static_cast<std::int32_t>(branch.tokens.size()));
    into.status.push_back(static_cast<std::uint8_t>(branch.status));
    into.tokens.insert(into.tokens.end(), branch.tokens.begin(), branch.tokens.end());
    into.logprobs.insert(into.logprobs.end(), branch.logprobs.begin(), branch.logprobs.end());
    into.entropies.insert(into.entropies.end(), branch.entropies.begin(), branch.entropies.end());
    into.certainties.insert(into.certainties.end(), branch.certainties.begin(), branch.certainties.end());
    into.top_confidences.insert(into.top_confidences.end(), branch.top_confidences.begin(),
                                branch.top_confidences.end());
  }
}

}  // namespace winnow
