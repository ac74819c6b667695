#include "program.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "error.h"

namespace {

[[noreturn]] void wrong(const std::string& sentence) { throw std::invalid_argument(sentence); }

bool kept(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string(" ._+-/()@=<>").find(c) != std::string::npos;
}

}  // namespace

Arguments::Arguments(int argc, char** argv) {
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (name.rfind("--", 0) != 0) wrong("Expected an option but received " + name);
    if (i + 1 >= argc) wrong("Expected a value after " + name + " but received none");
    values_[name.substr(2)] = argv[i + 1];
  }
}

std::string Arguments::text(const std::string& name, const std::string& otherwise) {
  asked_.insert(name);
  const auto found = values_.find(name);
  return found == values_.end() ? otherwise : found->second;
}

std::string Arguments::text(const std::string& name) {
  const std::string value = text(name, "");
  if (value.empty()) wrong("Expected a value for --" + name + " but received none");
  return value;
}

double Arguments::number(const std::string& name, double otherwise) {
  const std::string value = text(name, "");
  if (value.empty()) return otherwise;
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (*end != '\0' || !(number >= 0)) wrong("Expected a number from 0 for --" + name + " but received " + value);
  return number;
}

int Arguments::integer(const std::string& name, int otherwise) {
  const double value = number(name, otherwise);
  if (value != std::floor(value) || value > 1e9) wrong("Expected a whole number for --" + name);
  return static_cast<int>(value);
}

void Arguments::done() const {
  for (const auto& [name, value] : values_)
    if (asked_.count(name) == 0) wrong("Expected a known option but received --" + name + " " + value);
}

void Row::key(const char* name) {
  text_ += text_.empty() ? "\"" : ",\"";
  text_ += name;
  text_ += "\":";
}

Row& Row::add(const char* name, const std::string& value) {
  key(name);
  text_ += '"';
  for (const char c : value)
    if (kept(c)) text_ += c;
  text_ += '"';
  return *this;
}

Row& Row::add(const char* name, double value) {
  key(name);
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.6g", value);
  text_ += std::isfinite(value) ? digits : "null";
  return *this;
}

Row& Row::add(const char* name, std::int64_t value) {
  key(name);
  text_ += std::to_string(value);
  return *this;
}

Row& Row::add(const char* name, bool value) {
  key(name);
  text_ += value ? "true" : "false";
  return *this;
}

void Row::print() const {
  std::printf("{%s}\n", text_.c_str());
  std::fflush(stdout);
}

int run_program(int argc, char** argv, const std::function<bool(Arguments&)>& body) {
  try {
    Arguments arguments(argc, argv);
    return body(arguments) ? 0 : 1;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  } catch (const winnow::EngineError& error) {
    std::fprintf(stderr, "%s: %s\n", error.code().c_str(), error.what());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
