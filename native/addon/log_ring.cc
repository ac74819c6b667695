#include "log_ring.h"

#include <algorithm>

#include "backend.h"

namespace winnow {
namespace {

// Lock order: this one before LogRing::mutex_.
std::mutex rings_mutex;
std::vector<std::weak_ptr<LogRing>>& rings() {
  static std::vector<std::weak_ptr<LogRing>> all;
  return all;
}

void push_to_all(int level, const std::string& text) {
  const std::lock_guard lock(rings_mutex);
  for (const std::weak_ptr<LogRing>& ring : rings())
    if (const std::shared_ptr<LogRing> alive = ring.lock()) alive->push(level, text);
}

}  // namespace

std::shared_ptr<LogRing> LogRing::create() {
  std::shared_ptr<LogRing> ring(new LogRing);
  const std::lock_guard lock(rings_mutex);
  std::erase_if(rings(), [](const std::weak_ptr<LogRing>& other) { return other.expired(); });
  rings().push_back(ring);
  static std::once_flag once;
  std::call_once(once, [] { set_log_sink(push_to_all); });
  return ring;
}

void LogRing::listen(bool on) {
  const std::lock_guard lock(mutex_);
  on_ = on;
  if (!on) lines_.clear();
}

void LogRing::push(int level, const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (!on_) return;
  if (lines_.size() == kLines) {
    lines_.pop_front();
    ++lost_;
  }
  lines_.push_back({level, text});
}

std::vector<LogLine> LogRing::drain() {
  const std::lock_guard lock(mutex_);
  std::vector<LogLine> lines(std::make_move_iterator(lines_.begin()), std::make_move_iterator(lines_.end()));
  lines_.clear();
  if (lost_ > 0) lines.push_back({3, std::to_string(lost_) + " earlier log lines were lost while JavaScript was busy"});
  lost_ = 0;
  return lines;
}

}  // namespace winnow
