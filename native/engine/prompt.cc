#include "prompt.h"

#include <algorithm>

namespace winnow {
namespace {

constexpr int kFewRows = 32;  // llama.cpp's flash attention on the CPU takes its tiles from 64 rows of a stream on

}  // namespace

std::uint64_t hash_prompt(const std::vector<Token>& prompt) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const Token token : prompt) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash ^= (static_cast<std::uint32_t>(token) >> shift) & 0xFFu;
      hash *= 0x100000001B3u;
    }
  }
  return hash;
}

// All but the last token in chunks without outputs; the last one alone, so that its logits and state do not depend on
// how the prompt was cut, nor on whether states are kept.
bool decode_prompt(Streams& streams, int stream, const std::vector<Token>& prompt, int held,
                   Streams::Clock::time_point deadline) {
  const int length = static_cast<int>(prompt.size());
  streams.keep_states(false);
  streams.arm(deadline);
  bool stopped = false;
  for (int done = held; done < length && !stopped;) {
    const bool last = done == length - 1;
    const int rows = last ? 1 : std::min(streams.prompt_rows(), length - 1 - done);
    for (int row = 0; row < rows; ++row)
      streams.set_row(row, prompt[static_cast<std::size_t>(done + row)], done + row, stream, last);
    if (last) streams.keep_states(true);
    stopped = streams.due() || !streams.decode(rows);
    done += rows;
  }
  streams.disarm();
  streams.keep_states(true);
  return !stopped;
}

void replay(Streams& streams, int stream, const std::vector<Token>& tokens, int held, bool written) {
  const int count = static_cast<int>(tokens.size());
  const bool careful = written && streams.least_rows() > 1;
  const int most = careful ? std::min(streams.prompt_rows(), kFewRows) : streams.prompt_rows();
  // Beside a lone row: the next stream, which is empty, or else the one before.
  const int ghost = stream + 1 < streams.count() ? stream + 1 : stream - 1;
  streams.keep_states(false);
  for (int done = 0; done < count;) {
    const int rows = std::min(most, count - done);
    const bool alone = careful && rows == 1;
    const int end = alone ? streams.last(ghost) + 1 : 0;  // of the ghost's stream
    const bool lone = alone && (end == 0 || (end < streams.limit() && streams.movable()));
    const int first = lone && ghost < stream ? 1 : 0;
    if (lone) streams.set_row(1 - first, tokens[static_cast<std::size_t>(done)], end, ghost, false);
    for (int row = 0; row < rows; ++row)
      streams.set_row(first + row, tokens[static_cast<std::size_t>(done + row)], held + done + row, stream, false);
    streams.decode(rows + (lone ? 1 : 0));
    if (lone && end == 0) streams.free_cells(ghost);
    if (lone && end > 0) streams.cut(ghost, end);
    done += rows;
  }
  streams.keep_states(true);
}

}  // namespace winnow
