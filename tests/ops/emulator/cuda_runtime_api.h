// The CUDA runtime that the kernels use, on a CPU: one block after the other, its 32 lanes as
// coroutines that change places at barriers. So logic can be tested without a GPU; not its speed,
// its rounding or its memory model. A copy announced with __pipeline_memcpy_async fills its target
// with NaN at once and is made when it is waited for, so that neither a read too early nor a write
// too early goes unseen.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <type_traits>

// The dispatch key that the operators are registered for: tensors of the emulated GPU are the CPU's.
#define CUDA CPU

enum cudaError_t { cudaSuccess, cudaErrorInvalidConfiguration };
inline const char* cudaGetErrorString(cudaError_t) { return "emulated error"; }
using cudaStream_t = void*;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x = 1) : x(x) {}
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace emulator {
extern dim3 thread, block;
void run(const cudaLaunchConfig_t& config, const std::function<void()>& kernel);
}  // namespace emulator

template <typename... Expected, typename... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...),
                               Given&&... arguments) {
  emulator::run(*config, [&] { kernel(arguments...); });
  return cudaSuccess;
}
