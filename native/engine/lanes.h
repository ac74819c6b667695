// Lanes: how loops over a row of logits are written so that the compiler turns them into vector instructions.
#pragma once

namespace winnow {

inline constexpr int kLanes = 16;  // one AVX-512 register of floats; narrower machines take two or four

}  // namespace winnow

// One body, compiled for each vector width, chosen at load. Not under the sanitizers: the loader runs the
// chooser before their run-time is ready. The engine is built without contraction to fused multiply-add, so
// every width gives the same bits.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WINNOW_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WINNOW_WIDE
#endif
