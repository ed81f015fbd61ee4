// What the kernels are given, and how they are started. Knows nothing of torch, so that nvcc reads
// none of its headers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace srulight::cuda {

enum class Type { FLOAT, DOUBLE, BFLOAT16, HALF };

constexpr int64_t bytes(Type type) {
  return type == Type::DOUBLE ? 8 : type == Type::FLOAT ? 4 : 2;
}

// A (B, T, D) tensor; strides count bytes, channels lie side by side.
struct CudaSequences {
  char* data = nullptr;  // null: there is none
  int64_t batch = 0, step = 0;
};

// Tensors that a kernel reads row by row.
enum { CANDIDATE, FORGET, RESET, SKIP, GRAD_H, NUM_STREAMS };

// What both kernels read: B sequences, T steps, D channels (directions x hidden).
//
// All pointers are to the GPU's memory and borrowed from the operator's tensors, which may be freed
// once the kernel has been started: torch hands their memory only to what follows on the stream.
// Pointers without a type are to the wide type of `type`.
struct CudaArgs {
  Type type;
  int64_t activation;
  int64_t batch, steps, directions, hidden;
  CudaSequences streams[NUM_STREAMS];  // (B, T, D) each: planes of u or skip input, and grad_h
  const void* v;           // (2, D) peephole weights of forget and reset; null: no peephole
  const void* b;           // (2, D) biases of forget and reset
  const void* mask;        // (B, D) factor of the update; null: ones
  const int64_t* lengths;  // (B,) real steps; null: all
  double scale;            // of the skip
  int64_t alignment;       // bytes, 16 at most, at multiples of which all rows start, also those below
};

struct CudaForwardArgs : CudaArgs {
  const void* c0;   // (B, D) the state before the first step; null: zeros
  CudaSequences h;  // (B, T, D) written
  void* last;       // (B, D) written: the state after the last real step
  void* saved;      // (B, chunks(T), D) written: the state before every CHECKPOINT_STEPS-th step;
                    // null: not saved
};

struct CudaBackwardArgs : CudaArgs {
  const void* saved;       // (B, chunks(T), D) what forward wrote
  const void* grad_last;   // (B, D) gradient of the last state; null: zeros
  CudaSequences grads[4];  // (B, T, D) written: of candidate, forget, reset and maybe skip
  void* sums;              // (B, 4, D) written: gradients of v and b
  void* grad_c0;           // (B, D) written
};

// Return at once; what is wrong with the launch, not with the run, comes back.
cudaError_t launch_forward(const CudaForwardArgs& args, cudaStream_t stream);
cudaError_t launch_backward(const CudaBackwardArgs& args, cudaStream_t stream);

}  // namespace srulight::cuda
