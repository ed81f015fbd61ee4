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
struct Sequences {
  char* data = nullptr;  // null: there is none
  int64_t batch = 0, step = 0;
};

// Tensors that a kernel reads row by row.
enum { CANDIDATE, FORGET, RESET, SKIP, GRAD_H, NUM_STREAMS };

// All pointers are to the GPU's memory; those without a type are to the wide type of `type`.
struct Inputs {
  Type type;
  int64_t activation;
  int64_t batch, steps, directions, hidden;
  Sequences streams[NUM_STREAMS];
  const void* v;           // (2, D); null: no peephole
  const void* b;           // (2, D)
  const void* mask;        // (B, D); null: ones
  const int64_t* lengths;  // (B,); null: all steps
  double scale;            // of the skip
  int64_t alignment;       // bytes, 16 at most, at multiples of which all rows start, those below too
};

struct Forward : Inputs {
  const void* c0;  // (B, D); null: zeros
  Sequences h;
  void* last;   // (B, D)
  void* saved;  // (B, chunks, D): the state before every CHECKPOINT_STEPS-th step; null: not saved
};

struct Backward : Inputs {
  const void* saved;
  const void* grad_last;  // (B, D); null: zeros
  Sequences grads[4];     // of candidate, forget, reset and skip; the last may be none
  void* sums;             // (B, 4, D): gradients of v and b
  void* grad_c0;          // (B, D)
};

// Return at once; what is wrong with the launch, not with the run, comes back.
cudaError_t run(const Forward& work, cudaStream_t stream);
cudaError_t run(const Backward& work, cudaStream_t stream);

}  // namespace srulight::cuda
