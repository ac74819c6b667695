#include "reading.h"

#include <algorithm>
#include <utility>

namespace winnow {

Reading::Reading(Streams& streams, CellCount& cells, const MirrorRequest& request)
    : streams_(streams),
      cells_(cells),
      request_(request),
      width_(static_cast<std::size_t>(streams.model().facts().width)),
      parts_(static_cast<std::size_t>(streams.count())) {
  int rows = static_cast<int>(request.ids.size());
  for (const std::uint8_t mark : request.marks) mark_rows_.push_back(mark != 0 ? rows++ : -1);
  states_.resize(static_cast<std::size_t>(rows) * width_);
}

void Reading::add(Follower& branch, std::size_t index) {
  give(branch, index);
  const int length = branch.length();
  if (request_.suffix.empty()) {
    if (branch.state_at == length) return put(index, branch.state.data());
    cut(branch, length - 1);  // a last token that was decoded without its state being kept is decoded again
  }
  const int last = length + static_cast<int>(request_.suffix.size()) - 1;
  parts_[static_cast<std::size_t>(branch.stream)] = {&branch, index, last};
}

void Reading::give(Follower& branch, std::size_t index) {
  const int kept = request_.keep[index];
  cut(branch, kept);
  if (branch.state_at > kept) branch.state_at = -1;
  branch.tokens.resize(static_cast<std::size_t>(kept));
  branch.tokens.insert(branch.tokens.end(), request_.tokens.begin() + request_.offsets[index],
                       request_.tokens.begin() + request_.offsets[index + 1]);
}

void Reading::cut(Follower& branch, int length) {
  if (branch.decoded <= length) return;
  cells_.add(length - branch.decoded);
  branch.decoded = length;
  streams_.cut(branch.stream, length);
}

Token Reading::token(const Follower& branch, int position) const {
  const int own = branch.length();
  return position < own ? branch.tokens[static_cast<std::size_t>(position)]
                        : request_.suffix[static_cast<std::size_t>(position - own)];
}

// The row of states_ that the mark at this position fills, -1 where none is.
int Reading::mark_at(const Part& part, int position) const {
  const int added = position - request_.keep[part.index];
  if (mark_rows_.empty() || added < 0 || position >= part.branch->length()) return -1;
  return mark_rows_[static_cast<std::size_t>(request_.offsets[part.index] + added)];
}

bool Reading::run() {
  std::vector<int> lengths(parts_.size(), 0);
  bool any = false;
  for (std::size_t stream = 0; stream < parts_.size(); ++stream) {
    if (parts_[stream].branch == nullptr) continue;
    lengths[stream] = parts_[stream].last - parts_[stream].branch->decoded;
    any = true;
  }
  if (!any) return true;
  const int most_rows = mark_rows_.empty() ? streams_.most_rows() : streams_.most_outputs();
  bool whole = true;
  for (const Slab& slab : cut_slabs(std::move(lengths), most_rows)) whole = whole && decode_slab(slab);
  whole = whole && decode_last();
  for (const Part& part : parts_) {
    if (part.branch == nullptr) continue;
    // A decode cut short may have left cells that nobody counted.
    if (!whole) streams_.cut(part.branch->stream, part.branch->decoded);
    cut(*part.branch, part.branch->length());
  }
  return whole;
}

bool Reading::decode_slab(const Slab& slab) {
  const int end = slab.first + slab.streams;
  bool marked = false;
  for (int stream = slab.first; stream < end; ++stream) {
    const Part& part = parts_[static_cast<std::size_t>(stream)];
    for (int i = 0; i < slab.tokens; ++i) marked = marked || mark_at(part, part.branch->decoded + i) >= 0;
  }
  int row = 0;
  for (int stream = slab.first; stream < end; ++stream) {
    const Part& part = parts_[static_cast<std::size_t>(stream)];
    for (int i = 0; i < slab.tokens; ++i) {
      const int position = part.branch->decoded + i;
      // With states on llama.cpp takes every row for an output, and logs a warning about one that does not say so.
      streams_.set_row(row++, token(*part.branch, position), position, stream, marked);
    }
  }
  streams_.keep_states(marked);
  if (streams_.due() || !streams_.decode(row)) return false;
  ++cost_.batches;
  row = 0;
  for (int stream = slab.first; stream < end; ++stream) {
    const Part& part = parts_[static_cast<std::size_t>(stream)];
    const int first = part.branch->decoded;
    count(*part.branch, slab.tokens);
    for (int i = 0; i < slab.tokens; ++i, ++row) {
      if (mark_at(part, first + i) >= 0) keep(part, first + i, streams_.state(row));
    }
  }
  return true;
}

bool Reading::decode_last() {
  int row = 0, batches = 0, previous = -2;
  for (std::size_t stream = 0; stream < parts_.size(); ++stream) {
    const Part& part = parts_[stream];
    if (part.branch == nullptr) continue;
    const int here = static_cast<int>(stream);
    streams_.set_row(row++, token(*part.branch, part.last), part.last, here, true);
    batches += previous + 1 == here ? 0 : 1;  // llama.cpp splits the batch at each hole
    previous = here;
  }
  streams_.keep_states(true);
  if (streams_.due() || !streams_.decode(row)) return false;
  cost_.batches += batches;
  row = 0;
  for (const Part& part : parts_) {
    if (part.branch == nullptr) continue;
    count(*part.branch, 1);
    const float* state = streams_.state(row++);
    put(part.index, state);
    keep(part, part.last, state);
  }
  return true;
}

void Reading::count(Follower& branch, int rows) {
  const int beyond = std::max(branch.decoded, branch.length());
  branch.decoded += rows;
  cells_.add(rows);
  cost_.decoded += rows;
  cost_.suffix_decoded += std::max(branch.decoded - beyond, 0);
}

// For the mark at this position, and for later calls where it is the branch's own end.
void Reading::keep(const Part& part, int position, const float* state) {
  const int row = mark_at(part, position);
  if (row >= 0) put(static_cast<std::size_t>(row), state);
  Follower& branch = *part.branch;
  if (position + 1 != branch.length()) return;
  branch.state.assign(state, state + width_);
  branch.state_at = branch.length();
}

void Reading::put(std::size_t row, const float* state) {
  std::copy_n(state, width_, states_.begin() + static_cast<std::ptrdiff_t>(row * width_));
}

}  // namespace winnow
