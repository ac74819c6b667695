// GBNF as text turned into rules, not yet checked as a whole: that is grammar.cc's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "grammar.h"

namespace winnow {

struct GbnfRules {
  std::vector<std::vector<Grammar::Element>> rules;  // empty: named but not given
  std::vector<std::string> names;                    // of each; a group or repetition has that of the rule it stands in
  std::map<std::string, std::int32_t> ids;           // of those with a name of their own
  std::vector<Grammar::Range> ranges;
};

// Throws GRAMMAR_INVALID.
GbnfRules read_gbnf(const std::string& text, const Grammar::TokenOf& token_of);

}  // namespace winnow
