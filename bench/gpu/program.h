// What every program of bench/gpu has: its options, the rows it prints, the clock, and how it ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// --name value pairs. A wrong one throws std::invalid_argument with a sentence.
class Arguments {
 public:
  Arguments(int argc, char** argv);

  std::string text(const std::string& name, const std::string& otherwise);
  std::string text(const std::string& name);  // required
  int integer(const std::string& name, int otherwise);
  double number(const std::string& name, double otherwise);
  // Throws for an option that nobody asked for: a misspelt one must not measure the default.
  void done() const;

 private:
  std::map<std::string, std::string> values_;
  std::set<std::string> asked_;
};

// One result: a flat JSON object on a line of its own. Numbers that are not finite become null. Of a text only
// letters, digits and " ._+-/()@=<>" are kept, so that rows can be taken apart without a JSON parser.
class Row {
 public:
  Row& add(const char* key, const std::string& value);
  Row& add(const char* key, const char* value) { return add(key, std::string(value)); }
  Row& add(const char* key, double value);
  Row& add(const char* key, std::int64_t value);
  Row& add(const char* key, int value) { return add(key, static_cast<std::int64_t>(value)); }
  Row& add(const char* key, bool value);
  void print() const;  // and flushes: a process that is killed later keeps it

 private:
  void key(const char* name);
  std::string text_;
};

// Runs `body`. Exit code: 0 done; 1 it threw, or said that something did not hold by returning false; 2 wrong options.
int run_program(int argc, char** argv, const std::function<bool(Arguments&)>& body);
