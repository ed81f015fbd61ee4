// Products of fixed-point activations and 4-bit indices into codebooks, compiled once per
// instruction set. srulight/ops/codebook.py defines them. All sums are exact, so every instruction
// set gives the same numbers.
#pragma once

#include "../cell.h"

namespace srulight {

// Rows of activations, (M, F), to round. No pointer is owned.
struct CodebookRows {
  int64_t rows, features;
  const float* x;      // (M, F)
  bool has_fraction;   // whether all rows have the fraction length `fraction`
  int64_t fraction;
  int64_t bits;
  int16_t* integers;   // (M, padded_features(F)) written, in the order that the product reads
  float* steps;        // (M,) written: the value of 1; NaN if a row contains a NaN
};

struct CodebookProduct {
  int64_t rows, features, outputs, codebooks;  // M, F, N and G
  const int16_t* integers;
  const float* steps;
  const uint8_t* indices;  // (N, ceil(F / 2))
  const int8_t* codebook;  // (G, 16)
  const float* scale;      // (N,)
  float* y;                // (M, N) written
};

// Size of a row of integers, which ends with zeros.
SRU_INLINE constexpr int64_t padded_features(int64_t features) { return (features + 63) / 64 * 64; }

// These run the kernel for this processor's instruction set. The second one computes the columns of
// y from `begin` to before `end`.
void round_codebook_rows(const CodebookRows& args);
void run_codebook_kernel(const CodebookProduct& args, int64_t begin, int64_t end);

#define SRU_DECLARE_LEVEL(level)                                                      \
  namespace level {                                                                   \
  void round_codebook_rows(const CodebookRows& args);                                 \
  void codebook_kernel(const CodebookProduct& args, int64_t begin, int64_t end);      \
  }
SRU_DECLARE_LEVEL(baseline)
SRU_DECLARE_LEVEL(avx2)
SRU_DECLARE_LEVEL(avx512)
SRU_DECLARE_LEVEL(avx512_bf16)
#undef SRU_DECLARE_LEVEL

}  // namespace srulight
