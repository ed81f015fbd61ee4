// An emulation of the CUDA runtime on a CPU. Blocks run one after the other; the 32 lanes of a block
// are coroutines that switch at barriers. This tests the logic of the kernels, but not their speed,
// their rounding or the memory model. __pipeline_memcpy_async fills its target with NaNs at once and
// copies only when the kernel waits for it, which exposes reads and writes that come too early.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <type_traits>

// The dispatch key of the operators: tensors of the emulated GPU are CPU tensors.
#define CUDA CPU

enum cudaError_t { cudaSuccess, cudaErrorInvalidValue, cudaErrorInvalidConfiguration };
inline const char* cudaGetErrorString(cudaError_t) { return "emulated error"; }
using cudaStream_t = void*;

enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 100;
  return cudaSuccess;
}

inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
enum cudaMemcpyKind { cudaMemcpyDeviceToHost };
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind) {
  std::memcpy(to, from, size);
  return cudaSuccess;
}

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
