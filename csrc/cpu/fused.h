// The matrix product and the recurrence of a layer in one pass.
//
// A product of all steps writes u, (B, T, K, D), to memory, and the recurrence reads it again. Here a
// thread computes u for a few steps and channels at a time, and runs the recurrence on them while
// they are in its cache. Training copies them from there to memory, for the backward pass. This also
// brings fast products of half types to processors for which torch's libraries have none.
#pragma once

#include "../cell.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

namespace srulight {

// Columns of the weight, for some channels of all gates, in the order in which the kernel reads them.
// Gates are padded to whole panels.
struct WeightBlock {
  const void* weight;  // (K * D, F)
  int64_t features;    // F
  int64_t planes;      // K
  int64_t all;         // D
  int64_t first, channels;
};

// u of some rows of x.
template <typename T>
struct TileProduct {
  const T* x;     // (rows, F), contiguous
  int64_t rows, features;
  const void* weight;  // packed
  int64_t planes, width;  // width: channels of a gate, with padding
  T* u;                   // (rows, K, width) written
  void* scratch;          // TileShape::scratch bytes, on a cache line
};

// How the kernels of a level divide the work.
struct TileShape {
  int64_t rows, columns;  // of the block that stays in registers
  int64_t weight, x;      // bytes of a number of the packed weight, and of x as the kernel reads it
  int64_t cache;          // bytes of packed weight that should stay in the cache of a core

  // The bytes of some columns of the packed weight, and of the scratch memory.
  int64_t packed(int64_t features, int64_t count) const { return padded(features) * count * weight; }
  int64_t scratch(int64_t features) const { return padded(features) * rows * x; }

 private:
  static int64_t padded(int64_t features) { return (features + 31) / 32 * 32; }
};

// Of this processor's instruction set, for numbers of type T.
template <typename T>
TileShape tile_shape();
template <typename T>
void pack_weight(const WeightBlock& block, void* to);
template <typename T>
void run_tile_product(const TileProduct<T>& args);

// Whether the fused kernel is faster on this processor than the product of a library and the
// recurrence, for half types. For AVX-512 and matrix units, torch's libraries have fast products, and
// the fused kernel has not been measured there.
bool fuses_halves();

#define SRU_DECLARE_LEVEL(level)                   \
  namespace level {                                \
  template <typename T>                            \
  TileShape tile_shape();                          \
  template <typename T>                            \
  void pack_weight(const WeightBlock&, void*);     \
  template <typename T>                            \
  void tile_product(const TileProduct<T>&);        \
  }
SRU_DECLARE_LEVEL(baseline)
SRU_DECLARE_LEVEL(avx2)
SRU_DECLARE_LEVEL(avx512)
SRU_DECLARE_LEVEL(avx512_bf16)
SRU_DECLARE_LEVEL(amx_bf16)
#undef SRU_DECLARE_LEVEL

}  // namespace srulight
