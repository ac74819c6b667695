// What decode_loop and advance_loop have in common: the options, the rounds and the lines of JSON.
//
// A round is the whole work once, the prompts' decoding included: so many prompts, n candidates of each, every
// candidate just `length` tokens long. They are asked for on standard input, one after another, so that whoever
// measures can let several programs take turns: a line with the length, a line for each prompt, an empty line. One line
// of JSON answers each. Races that fit into the streams together are decoded together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct llama_vocab;

struct Workload {
  std::string model;
  std::string libs;
  int n = 64;        // candidates a prompt
  int prompts = 1;   // a round
  int streams = 64;  // decoded at once
  int cells = 256;   // tokens a candidate may hold, its prompt included
  int threads = 1;

  int races_at_once() const { return streams / n; }
};

struct Round {
  int length = 0;
  std::vector<std::string> prompts;
};

// What a round took; `seconds` is its wall time.
struct Taken {
  std::int64_t tokens = 0;
  std::int64_t prompt_tokens = 0;
  double seconds = 0;
};

// --model FILE --libs FOLDER [--n 64] [--prompts 1] [--streams 64] [--cells 256] [--threads 1]
// Ends the process with code 2 and a sentence on stderr when they are wrong.
Workload read_workload(int argc, char** argv);

// The next round that is asked for; false once there are no more. Says first, once, that the program is ready.
bool next_round(Round& round);

// The prompt as tokens, special ones recognised. Ends the process where it leaves no room for `length` more.
std::vector<std::int32_t> prompt_tokens(const Workload& workload, const Round& round, std::size_t index,
                                        const llama_vocab* vocab);

void print_taken(const Taken& taken);
