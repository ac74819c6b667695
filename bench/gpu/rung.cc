#include "rung.h"

#include <ggml-backend.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "program.h"

namespace {

constexpr std::size_t kHeader = 8;  // magic and sequence

struct FreeBuffer {
  void operator()(ggml_backend_buffer* buffer) const { ggml_backend_buffer_free(buffer); }
};

// One block of host memory. Pinned memory comes from the device's own allocator: copies need no second buffer.
class HostBlock {
 public:
  HostBlock(std::size_t bytes, bool pinned) {
    ggml_backend_dev_t const device = pinned ? ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) : nullptr;
    ggml_backend_buffer_type_t type = device == nullptr ? nullptr : ggml_backend_dev_host_buffer_type(device);
    if (type == nullptr) type = host_type();
    buffer_.reset(ggml_backend_buft_alloc_buffer(type, bytes));
    if (!buffer_) throw std::runtime_error("Expected host memory for a rung move but received none");
  }
  std::uint8_t* data() const { return static_cast<std::uint8_t*>(ggml_backend_buffer_get_base(buffer_.get())); }

 private:
  static ggml_backend_buffer_type_t host_type() {
    return ggml_backend_dev_buffer_type(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
  }
  std::unique_ptr<ggml_backend_buffer, FreeBuffer> buffer_;
};

std::uint32_t read_u32(const std::uint8_t* at) {
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Where the one stream that holds cells begins and ends in a saved sequence.
struct Part {
  std::size_t begin = 0, end = 0;
};

Part held_part(const std::uint8_t* saved, std::size_t bytes) {
  const std::uint32_t streams = read_u32(saved + kHeader);
  Part part{kHeader + 4, bytes};
  std::uint32_t before = 0;
  while (before < streams && read_u32(saved + part.begin) == 0) {
    part.begin += 4;
    ++before;
  }
  if (before == streams) throw std::runtime_error("Expected a sequence with cells but received an empty one");
  part.end = bytes - 4 * std::size_t{streams - 1 - before};
  return part;
}

// The saved sequence as a context of `streams` streams would have written it: the held stream first, the rest empty.
// `room`: at least 4 * streams bytes more than the sequence has.
std::size_t restream(std::uint8_t* saved, std::size_t bytes, std::uint32_t streams) {
  const Part part = held_part(saved, bytes);
  std::memcpy(saved + kHeader, &streams, sizeof streams);
  std::memmove(saved + kHeader + 4, saved + part.begin, part.end - part.begin);
  const std::size_t end = kHeader + 4 + part.end - part.begin;
  std::memset(saved + end, 0, 4 * std::size_t{streams - 1});
  return end + 4 * std::size_t{streams - 1};
}

double lap(Clock::time_point& start) {
  const Clock::time_point now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - start).count();
  start = now;
  return seconds;
}

}  // namespace

std::unique_ptr<BareContext> move_rung(std::unique_ptr<BareContext> from, const std::vector<int>& survivors,
                                       const std::vector<std::vector<winnow::Token>>& tokens, const BareParams& to,
                                       const std::string& how, RungCost& cost) {
  const std::shared_ptr<winnow::Model> model = from->model();
  const int position = from->position();
  const bool replay = how == "replay";
  if (!replay && how != "pinned" && how != "pageable")
    throw std::invalid_argument("Expected pageable, pinned or replay for --how but received " + how);

  std::vector<std::size_t> sizes;
  std::size_t room = 0;
  if (!replay) {
    for (const int stream : survivors) {
      sizes.push_back(llama_state_seq_get_size(from->raw(), stream));
      room += sizes.back() + 4 * static_cast<std::size_t>(to.streams);
    }
  }
  // The block is kept from move to move in an engine: making it is not part of one.
  const std::unique_ptr<HostBlock> block = replay ? nullptr : std::make_unique<HostBlock>(room, how == "pinned");

  Clock::time_point at = Clock::now();
  std::vector<std::uint8_t*> places;
  std::uint8_t* next = replay ? nullptr : block->data();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    places.push_back(next);
    if (llama_state_seq_get_data(from->raw(), next, sizes[i], survivors[i]) != sizes[i])
      throw std::runtime_error("Expected llama.cpp to save a sequence whole but it did not");
    next += sizes[i] + 4 * static_cast<std::size_t>(to.streams);
    cost.bytes += sizes[i];
  }
  cost.save_seconds = lap(at);
  from.reset();
  cost.close_seconds = lap(at);
  auto moved = std::make_unique<BareContext>(model, to);
  cost.open_seconds = lap(at);
  for (std::size_t i = 0; i < survivors.size(); ++i) {
    const int stream = static_cast<int>(i);
    if (replay) {
      moved->replay(stream, tokens[i]);
      continue;
    }
    const std::size_t bytes = restream(places[i], sizes[i], static_cast<std::uint32_t>(to.streams));
    if (llama_state_seq_set_data(moved->raw(), places[i], bytes, stream) == 0)
      throw std::runtime_error("Expected llama.cpp to take a sequence of another context but it refused");
  }
  llama_synchronize(moved->raw());
  cost.restore_seconds = lap(at);
  moved->set_position(position);
  return moved;
}
