#include "fit_rows.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"

namespace winnow {

void check_rows(const char* name, const FitRows& rows, std::size_t columns, bool binary) {
  const auto invalid = [&](const std::string& expected, const std::string& received) {
    throw EngineError("OPTION_INVALID", "Expected " + expected + " for " + name + " but received " + received);
  };
  if (rows.rows == 0) invalid("at least one row", "none");
  const std::size_t values = rows.rows * columns;
  if (!std::all_of(rows.inputs, rows.inputs + values, [](float x) { return std::isfinite(x); }))
    invalid("finite inputs", "one that is not");
  for (std::size_t i = 0; i < rows.rows; ++i) {
    const float label = rows.labels[i];
    if (!std::isfinite(label) || (binary && (label < 0 || label > 1)))
      invalid(binary ? "labels from 0 to 1" : "finite labels", std::to_string(label));
  }
}

std::vector<Span> groups_of(const FitRows& rows) {
  std::vector<Span> groups;
  for (std::size_t i = 0; i < rows.rows; ++i) {
    if (i == 0 || rows.groups[i] != rows.groups[i - 1]) groups.push_back({i, i});
    ++groups.back().end;
  }
  return groups;
}

Standardisation standardisation_of(const FitRows& rows, std::size_t columns) {
  std::vector<double> sum(columns, 0), square(columns, 0);
  for (std::size_t i = 0; i < rows.rows; ++i) {
    for (std::size_t c = 0; c < columns; ++c) sum[c] += static_cast<double>(rows.inputs[i * columns + c]);
  }
  for (double& value : sum) value /= static_cast<double>(rows.rows);
  for (std::size_t i = 0; i < rows.rows; ++i) {
    for (std::size_t c = 0; c < columns; ++c) {
      const double off = static_cast<double>(rows.inputs[i * columns + c]) - sum[c];
      square[c] += off * off;
    }
  }
  Standardisation found{std::vector<float>(columns), std::vector<float>(columns)};
  for (std::size_t c = 0; c < columns; ++c) {
    found.mean[c] = static_cast<float>(sum[c]);
    found.deviation[c] = static_cast<float>(std::max(1e-3, std::sqrt(square[c] / static_cast<double>(rows.rows))));
  }
  return found;
}

}  // namespace winnow
