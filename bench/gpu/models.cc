// Writes one GGUF of random weights: --shape 8b|1b|check|tiny --out FILE. An f16 llama with a tokenizer of bytes.
//   8b     Llama-3-8B: 8.0 G parameters, 131072 bytes of cells a token
//   1b     Llama-3.2-1B with an output matrix of its own: 1.5 G parameters, 32768 bytes of cells a token
//   check  small and with a vocabulary of 2048, so that the CPU computes the same in seconds
//   tiny   what a machine without a GPU runs everything on
// The weights' deviation is 0.02 in the large ones, as in an untrained model: activations stay within f16. The small
// ones have a larger one, for distributions as sharp as a trained model's.
#include <filesystem>
#include <stdexcept>

#include "backend.h"
#include "program.h"
#include "random_model.h"

namespace {

winnow::RandomModelParams shape_of(const std::string& name) {
  winnow::RandomModelParams params;
  if (name == "tiny") return params;
  params.context = 8192;
  if (name == "check") {
    params.vocabulary = 2048;
    params.width = 512;
    params.layers = 4;
    params.heads = 8;
    params.heads_kv = 2;
    params.feed_forward = 1024;
    params.spread = 0.08f;
    return params;
  }
  params.vocabulary = 128256;
  params.heads = 32;
  params.heads_kv = 8;
  params.spread = 0.02f;
  if (name == "1b") {
    params.width = 2048;
    params.layers = 16;
    params.feed_forward = 8192;
  } else if (name == "8b") {
    params.width = 4096;
    params.layers = 32;
    params.feed_forward = 14336;
  } else {
    throw std::invalid_argument("Expected 8b, 1b, check or tiny for --shape but received " + name);
  }
  return params;
}

bool body(Arguments& arguments) {
  const std::string shape = arguments.text("shape");
  winnow::RandomModelParams params = shape_of(shape);
  const std::string out = arguments.text("out");
  winnow::load_backends(arguments.text("libs"));
  arguments.done();
  // Under its own name only once it is whole: a run that is cut short writes it again.
  params.path = out + ".part";
  const Clock::time_point start = Clock::now();
  winnow::write_random_model(params);
  std::filesystem::rename(params.path, out);
  const double bytes = static_cast<double>(std::filesystem::file_size(out));
  Row()
      .add("shape", shape)
      .add("bytes", bytes)
      .add("layers", params.layers)
      .add("width", params.width)
      .add("heads", params.heads)
      .add("heads_kv", params.heads_kv)
      .add("feed_forward", params.feed_forward)
      .add("vocabulary", params.vocabulary)
      .add("weights", params.weights)
      .add("seconds", seconds_since(start))
      .print();
  return true;
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, body); }
