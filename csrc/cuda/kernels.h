// The arguments of the kernels and the functions that launch them. Independent of torch, so that
// nvcc compiles none of its headers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace srulight::cuda {

enum class Type { FLOAT, DOUBLE, BFLOAT16, HALF };

constexpr int64_t bytes(Type type) {
  return type == Type::DOUBLE ? 8 : type == Type::FLOAT ? 4 : 2;
}

// A (B, T, D) tensor with contiguous channels. Strides are in bytes.
struct CudaSequences {
  char* data = nullptr;  // null: no tensor
  int64_t batch = 0, step = 0;
};

// The tensors that a kernel reads row by row.
enum { CANDIDATE, FORGET, RESET, SKIP, GRAD_H, NUM_STREAMS };

// The inputs that both kernels read: B sequences, T steps, D channels (directions * hidden).
//
// All pointers refer to GPU memory and are borrowed from the operator's tensors. These may be freed
// once the kernel has been launched, because torch reuses their memory only for later work on the
// same stream. Void pointers refer to numbers of the wide type of `type`.
struct CudaArgs {
  Type type;
  int64_t activation;
  int64_t batch, steps, directions, hidden;
  CudaSequences streams[NUM_STREAMS];  // (B, T, D) each: planes of u, the skip input, grad_h
  const void* v;           // (2, D) peephole weights of forget and reset; null: no peephole
  const void* b;           // (2, D) biases of forget and reset
  const void* mask;        // (B, D) factor of the update; null: ones
  const int64_t* lengths;  // (B,) number of real steps; null: T for all
  double scale;            // factor of the skip
  int64_t alignment;       // all rows, including those below, start at multiples of this many bytes
};

struct CudaForwardArgs : CudaArgs {
  const void* c0;   // (B, D) the state before the first step; null: zeros
  CudaSequences h;  // (B, T, D) written
  void* last;       // (B, D) written: the state after the last real step
  void* saved;      // (B, chunks(T), D) written: the state before every CHECKPOINT_STEPS-th step;
                    // null: not saved
};

struct CudaBackwardArgs : CudaArgs {
  const void* saved;       // (B, chunks(T), D) the states that forward saved
  const void* grad_last;   // (B, D) gradient of the last state; null: zeros
  CudaSequences grads[4];  // (B, T, D) written: of candidate, forget, reset and, if any, skip
  void* sums;              // (B, 4, D) written: gradients of v and b
  void* grad_c0;           // (B, D) written
};

// These return without waiting for the kernel. The result reports errors of the launch only.
cudaError_t launch_forward(const CudaForwardArgs& args, cudaStream_t stream);
cudaError_t launch_backward(const CudaBackwardArgs& args, cudaStream_t stream);

}  // namespace srulight::cuda
