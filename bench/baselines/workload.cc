#include "workload.h"

#include <llama.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

namespace {

[[noreturn]] void fail(const std::string& sentence) {
  std::fprintf(stderr, "%s\n", sentence.c_str());
  std::exit(2);
}

}  // namespace

Workload read_workload(int argc, char** argv) {
  Workload workload;
  const std::map<std::string, std::string*> texts = {
      {"--model", &workload.model}, {"--libs", &workload.libs}, {"--prompt", &workload.prompt}};
  const std::map<std::string, int*> numbers = {{"--n", &workload.n},
                                               {"--prompt-tokens", &workload.prompt_tokens},
                                               {"--steps", &workload.steps},
                                               {"--round", &workload.round},
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
  workload.round = std::min(workload.round, workload.steps);
  return workload;
}

std::vector<std::int32_t> workload_prompt(Workload& workload, const llama_vocab* vocab) {
  std::vector<std::int32_t> prompt;
  if (!workload.prompt.empty()) {
    prompt.resize(workload.prompt.size() + 8);
    const int count = llama_tokenize(vocab, workload.prompt.data(), static_cast<std::int32_t>(workload.prompt.size()),
                                     prompt.data(), static_cast<std::int32_t>(prompt.size()), true, true);
    if (count < 1) fail("Expected a prompt the model's tokenizer can read but received '" + workload.prompt + "'");
    prompt.resize(static_cast<std::size_t>(count));
    workload.prompt_tokens = count;
    return prompt;
  }
  const std::int64_t vocabulary = llama_vocab_n_tokens(vocab);
  const std::int64_t first = std::min<std::int64_t>(300, vocabulary / 2);
  for (std::int64_t i = 0; i < workload.prompt_tokens; ++i) {
    prompt.push_back(static_cast<std::int32_t>(first + i * 7919 % (vocabulary - first)));
  }
  return prompt;
}

void print_result(const char* driver, const Workload& workload, std::int64_t rows, double seconds,
                  double decode_seconds, double sample_seconds) {
  std::printf(
      "{\"driver\":\"%s\",\"model\":\"%s\",\"n\":%d,\"prompt_tokens\":%d,\"steps\":%d,\"round\":%d,\"threads\":%d,"
      "\"tokens\":%lld,\"seconds\":%.6f,\"decode_seconds\":%.6f,\"sample_seconds\":%.6f,\"tokens_per_second\":%.2f}\n",
      driver, workload.model.substr(workload.model.find_last_of("/\\") + 1).c_str(), workload.n, workload.prompt_tokens,
      workload.steps, workload.round, workload.threads, static_cast<long long>(rows), seconds, decode_seconds,
      sample_seconds, static_cast<double>(rows) / seconds);
}
