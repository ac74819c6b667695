#include "grammar.h"

#include <utility>

#include "gbnf.h"
#include "gbnf_text.h"

namespace winnow {
namespace {

using Kind = Grammar::Kind;
using Element = Grammar::Element;
using Elements = std::vector<Element>;

// Which rules can be nothing at all. Linear: a rule is looked at again only when one it names turns out to be so.
std::vector<char> possibly_empty(const std::vector<Elements>& rules) {
  struct Alternative {
    std::int32_t rule, pending;  // elements not known to be possibly empty
  };
  std::vector<Alternative> alternatives;
  std::vector<std::vector<std::size_t>> named_in(rules.size());
  std::vector<char> empty(rules.size(), 0);
  std::vector<std::int32_t> found;
  const auto note = [&](std::int32_t rule) {
    if (empty[static_cast<std::size_t>(rule)]) return;
    empty[static_cast<std::size_t>(rule)] = 1;
    found.push_back(rule);
  };
  for (std::size_t rule = 0; rule < rules.size(); ++rule) {
    Alternative open{static_cast<std::int32_t>(rule), 0};
    for (const Element& element : rules[rule]) {
      if (element.kind == Kind::end || element.kind == Kind::alternative) {
        if (open.pending == 0) note(open.rule);
        alternatives.push_back(open);
        open.pending = 0;
        continue;
      }
      ++open.pending;
      if (element.kind == Kind::rule) named_in[static_cast<std::size_t>(element.value)].push_back(alternatives.size());
    }
  }
  while (!found.empty()) {
    const std::int32_t rule = found.back();
    found.pop_back();
    for (const std::size_t index : named_in[static_cast<std::size_t>(rule)]) {
      if (--alternatives[index].pending == 0) note(alternatives[index].rule);
    }
  }
  return empty;
}

// A rule that can begin with itself would be expanded for ever. Depth first, without recursion.
void refuse_left_recursion(const std::vector<Elements>& rules, const std::vector<std::string>& names) {
  const std::vector<char> empty = possibly_empty(rules);
  std::vector<std::vector<std::int32_t>> first(rules.size());  // rules that each may begin with
  for (std::size_t rule = 0; rule < rules.size(); ++rule) {
    bool begins = true;
    for (const Element& element : rules[rule]) {
      if (element.kind == Kind::alternative) {
        begins = true;
      } else if (begins && element.kind == Kind::rule) {
        first[rule].push_back(element.value);
        begins = empty[static_cast<std::size_t>(element.value)] != 0;
      } else {
        begins = false;
      }
    }
  }
  enum : char { unseen, open, done };
  std::vector<char> state(rules.size(), unseen);
  std::vector<std::pair<std::size_t, std::size_t>> path;  // rule, and which of `first` comes next
  for (std::size_t start = 0; start < rules.size(); ++start) {
    if (state[start] != unseen) continue;
    path.emplace_back(start, 0);
    while (!path.empty()) {
      auto& [rule, next] = path.back();
      state[rule] = open;
      if (next == first[rule].size()) {
        state[rule] = done;
        path.pop_back();
        continue;
      }
      const std::size_t child = static_cast<std::size_t>(first[rule][next++]);
      if (state[child] == open)
        refuse_grammar("the rule '" + names[child] + "', which can begin with itself (left recursion)");
      if (state[child] == unseen) path.emplace_back(child, 0);
    }
  }
}

}  // namespace

std::shared_ptr<const Grammar> Grammar::read(const std::string& text, const std::string& root,
                                             const TokenOf& token_of) {
  if (text.size() > kMostText)
    refuse_grammar(std::to_string(text.size()) + " bytes, more than " + std::to_string(kMostText));
  if (text.find('\0') != std::string::npos) refuse_grammar("a text with a zero byte in it");
  GbnfRules read = read_gbnf(text, token_of);
  for (std::size_t rule = 0; rule < read.rules.size(); ++rule) {
    if (read.rules[rule].empty()) refuse_grammar("no rule '" + read.names[rule] + "', which another names");
  }
  const auto found = read.ids.find(root);
  if (found == read.ids.end()) refuse_grammar("no rule '" + root + "' to begin with");
  refuse_left_recursion(read.rules, read.names);

  auto grammar = std::make_shared<Grammar>();
  for (const Elements& rule : read.rules) {
    grammar->rules.push_back(static_cast<std::int32_t>(grammar->elements.size()));
    grammar->elements.insert(grammar->elements.end(), rule.begin(), rule.end());
  }
  grammar->ranges = std::move(read.ranges);
  grammar->root = found->second;
  return grammar;
}

}  // namespace winnow
