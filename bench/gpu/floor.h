// Floor: the least time a decode step can take on a device, from what it must read and what it must compute.
//
//   bytes = weight_bytes + branches * mean_cells * kv_bytes_per_token
//   flops = branches * (2 * matrix_parameters + 4 * mean_cells * heads * head_width * layers)
//   floor = max(bytes / bandwidth, flops / peak)
//
// weight_bytes and matrix_parameters leave the embedding table out: of it a step reads one row for each branch. Each
// weight and each cell is read once; attention is two products (with keys, with values) of 2 operations a cell and
// column. Nothing else is counted (norms, sampling, the logits' way to the host), and reading and computing overlap
// wholly: no program is faster.
#pragma once

#include "model.h"
#include "program.h"

struct Peaks {
  double bandwidth = 0;  // bytes a second
  double flops = 0;      // operations a second in f16
};

// --bandwidth BYTES/S --flops OPERATIONS/S; zero where unknown.
Peaks read_peaks(Arguments& arguments);

struct StepFloor {
  double weight_bytes = 0, cell_bytes = 0, flops = 0;
  double seconds = 0;  // NaN where a peak is unknown
};

// `mean_cells`: of a branch, over the steps that are timed.
StepFloor step_floor(const winnow::ModelFacts& facts, double kv_bytes_per_token, double branches, double mean_cells,
                     const Peaks& peaks);

// Bytes of keys and values of one token in f16.
double kv_bytes_per_token(const winnow::ModelFacts& facts);
