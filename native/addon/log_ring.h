// LogRing: log lines on their way from any thread to JavaScript. llama.cpp's log is process-wide, so every ring that
// listens gets every line; the JavaScript thread drains its own ring between jobs. When JavaScript is busy for long,
// the oldest lines are lost and counted.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace winnow {

struct LogLine {
  int level;
  std::string text;
};

class LogRing {
 public:
  static constexpr std::size_t kLines = 1024;

  // Rings are handed every line of llama.cpp from now on.
  static std::shared_ptr<LogRing> create();

  void listen(bool on);                           // JavaScript thread
  std::vector<LogLine> drain();                   // JavaScript thread
  void push(int level, const std::string& text);  // any thread

 private:
  LogRing() = default;
  std::mutex mutex_;
  std::deque<LogLine> lines_;
  std::size_t lost_ = 0;
  bool on_ = false;
};

}  // namespace winnow
