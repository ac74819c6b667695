#include "floor.h"

#include <algorithm>
#include <limits>

Peaks read_peaks(Arguments& arguments) {
  Peaks peaks;
  peaks.bandwidth = arguments.number("bandwidth", 0);
  peaks.flops = arguments.number("flops", 0);
  return peaks;
}

double kv_bytes_per_token(const winnow::ModelFacts& facts) {
  return 2.0 * 2.0 * facts.layers * facts.heads_kv * (static_cast<double>(facts.width) / facts.heads);
}

StepFloor step_floor(const winnow::ModelFacts& facts, double kv_bytes, double branches, double mean_cells,
                     const Peaks& peaks) {
  const double embedding = static_cast<double>(facts.vocabulary) * facts.width;
  const double matrices = static_cast<double>(facts.parameters) - embedding;
  StepFloor floor;
  floor.weight_bytes = matrices * static_cast<double>(facts.bytes) / static_cast<double>(facts.parameters);
  floor.cell_bytes = branches * mean_cells * kv_bytes;
  floor.flops = branches * (2 * matrices + 4 * mean_cells * facts.width * facts.layers);
  floor.seconds = peaks.bandwidth > 0 && peaks.flops > 0
                      ? std::max((floor.weight_bytes + floor.cell_bytes) / peaks.bandwidth, floor.flops / peaks.flops)
                      : std::numeric_limits<double>::quiet_NaN();
  return floor;
}
