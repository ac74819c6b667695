#include "workload.h"

#include <llama.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>

namespace {

[[noreturn]] void fail(const std::string& sentence) {
  std::fprintf(stderr, "%s\n", sentence.c_str());
  std::exit(2);
}

}  // namespace

Workload read_workload(int argc, char** argv) {
  Workload workload;
  const std::map<std::string, std::string*> texts = {{"--model", &workload.model}, {"--libs", &workload.libs}};
  const std::map<std::string, int*> numbers = {{"--n", &workload.n},
                                               {"--prompts", &workload.prompts},
                                               {"--streams", &workload.streams},
                                               {"--cells", &workload.cells},
                                               {"--threads", &workload.threads}};
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 >= argc) fail("Expected a value after " + name + " but received none");
    const auto text = texts.find(name);
    const auto number = numbers.find(name);
    if (text != texts.end()) {
      *text->second = argv[i + 1];
    } else if (number != numbers.end()) {
      *number->second = std::atoi(argv[i + 1]);
      if (*number->second < 1) fail("Expected 1 or more for " + name + " but received " + argv[i + 1]);
    } else {
      fail("Expected a known option but received " + name);
    }
  }
  if (workload.model.empty() || workload.libs.empty()) fail("Expected --model and --libs but received neither or one");
  if (workload.streams < workload.n) {
    fail("Expected a stream for each of --n " + std::to_string(workload.n) + " candidates but received --streams " +
         std::to_string(workload.streams));
  }
  return workload;
}

bool next_round(Round& round) {
  static bool ready = false;
  if (!ready) {
    std::printf("{\"ready\":true}\n");
    std::fflush(stdout);
    ready = true;
  }
  std::string line;
  if (!std::getline(std::cin, line)) return false;
  round.length = std::atoi(line.c_str());
  round.prompts.clear();
  while (std::getline(std::cin, line) && !line.empty()) round.prompts.push_back(line);
  if (round.length < 1 || round.prompts.empty()) fail("Expected a length and prompts but received neither or one");
  return true;
}

std::vector<std::int32_t> prompt_tokens(const Workload& workload, const Round& round, std::size_t index,
                                        const llama_vocab* vocab) {
  const std::string& prompt = round.prompts[index];
  std::vector<std::int32_t> tokens(prompt.size() + 8);
  const int count = llama_tokenize(vocab, prompt.data(), static_cast<std::int32_t>(prompt.size()), tokens.data(),
                                   static_cast<std::int32_t>(tokens.size()), true, true);
  if (count < 1) fail("Expected a prompt the model's tokenizer can read but received '" + prompt + "'");
  if (count + round.length > workload.cells) {
    fail("Expected at most " + std::to_string(workload.cells) + " tokens with the prompt but received " +
         std::to_string(count) + " and " + std::to_string(round.length));
  }
  tokens.resize(static_cast<std::size_t>(count));
  return tokens;
}

void print_taken(const Taken& taken) {
  std::printf("{\"tokens\":%lld,\"promptTokens\":%lld,\"seconds\":%.6f}\n", static_cast<long long>(taken.tokens),
              static_cast<long long>(taken.prompt_tokens), taken.seconds);
  std::fflush(stdout);
}
