// What decode_loop and advance_loop have in common: the options, the prompt, and the line of JSON.
//
// The work is cut into rounds. Each begins with the prompt decoded once and forked into n streams, outside the
// clock, and goes on for `round` steps inside it. A trained model's branches end: short rounds keep both programs
// at full width, and each counts the rows it really decoded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct llama_vocab;

struct Workload {
  std::string model;
  std::string libs;
  std::string prompt;  // text; empty: `prompt_tokens` made-up ids
  int n = 64;
  int prompt_tokens = 64;
  int steps = 128;
  int round = 32;
  int threads = 2;

  int cells() const { return (prompt_tokens + round + 1 + 255) / 256 * 256; }
};

// --model FILE --libs FOLDER [--prompt TEXT] [--n 64] [--prompt-tokens 64] [--steps 128] [--round 32] [--threads 2]
// Ends the process with code 2 and a sentence on stderr when they are wrong.
Workload read_workload(int argc, char** argv);

// The prompt as tokens, and prompt_tokens set to their count. Without a text: ordinary ids spread over the
// vocabulary, the same as bench/drivers/prompt-tokens.mjs.
std::vector<std::int32_t> workload_prompt(Workload& workload, const llama_vocab* vocab);

void print_result(const char* driver, const Workload& workload, std::int64_t rows, double seconds,
                  double decode_seconds, double sample_seconds);
