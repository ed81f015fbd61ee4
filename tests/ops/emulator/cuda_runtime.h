#pragma once

#include "cuda_runtime_api.h"

#include <cstring>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(threads)
#define __shared__ static
#define threadIdx emulator::thread
#define blockIdx emulator::block

using std::max;
using std::min;

void __syncwarp();
int __all_sync(unsigned mask, int holds);

template <typename T>
cudaError_t cudaGetSymbolAddress(void** found, T& symbol) {
  *found = &symbol;
  return cudaSuccess;
}
template <typename T>
T atomicAdd(T* to, T number) {
  return std::exchange(*to, *to + number);
}

inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

struct float2 {
  float x, y;
};
