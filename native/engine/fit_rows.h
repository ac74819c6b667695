// FitRows: labelled inputs of a reward head, and what of them a fit must know before it begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace winnow {

struct FitRows {
  const float* inputs = nullptr;  // rows x columns: the state, then the features, as the head file orders them
  const float* labels = nullptr;
  const std::int32_t* groups = nullptr;  // rows of one group may be ranked against each other; equal ones adjacent
  std::size_t rows = 0;
};

struct Span {
  std::size_t begin = 0, end = 0;
  std::size_t size() const { return end - begin; }
};

// Throws EngineError OPTION_INVALID, `name` in its sentence: no rows, an input or label that is not finite, labels
// outside 0..1 where binary.
void check_rows(const char* name, const FitRows& rows, std::size_t columns, bool binary);

std::vector<Span> groups_of(const FitRows& rows);

struct Standardisation {
  std::vector<float> mean, deviation;  // of each column; a deviation is at least 1e-3
};

Standardisation standardisation_of(const FitRows& rows, std::size_t columns);

}  // namespace winnow
