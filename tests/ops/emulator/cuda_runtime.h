#pragma once

#include "cuda_runtime_api.h"

#include <cstring>

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

inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

struct float2 {
  float x, y;
};
