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

// How a sequence is split into chunks of time, which are processed in parallel.
struct Plan {
  int64_t chunk = 0;    // steps of a chunk, a multiple of CHECKPOINT_STEPS; 0: no chunks
  int64_t warmup = 64;  // steps before a chunk that lead to its guessed state, a multiple of
                        // CHECKPOINT_STEPS
  int rounds = 4;       // launches of the forward pass that correct guesses
  // States this close, relative to the largest number in the chunk, count as equal once the guesses
  // have been corrected once. Rounding errors of some hundred steps add up to this much.
  float tolerance = 1.f / (1 << 20);
};

// What the kernels of chunks have done on a device so far: counters in its memory, in this order.
// All but the first three count steps times channels.
enum class Counter { PASSES, CHUNKS, REPAIRED, NUMBERS, WARMUP, REPAIRS };
constexpr int NUM_COUNTERS = 6;
using Counted = unsigned long long;

struct ChunkedForwardArgs : CudaForwardArgs {
  Plan plan;
  void* board;  // board_bytes(); `saved` must not be null
  int* swept;   // (rounds + 2, chunks, tiles) zeros; written: how many steps of each chunk each
                // launch processed; null: not written
  int round;    // set by the launch, as are the next two
  int count;    // number of chunks
  Counted* counted;
};

struct ChunkedBackwardArgs : CudaBackwardArgs {
  Plan plan;
  void* board;  // board_bytes(); `sums` has a row for each sequence and chunk, (B, chunks, 4, D)
  int* swept;   // (2, chunks, tiles) zeros; the same
  int round;
  int count;
  Counted* counted;
};

// Whether a plan may have chunks.
bool supports_chunks(const CudaArgs& args);

// Chooses a plan for a GPU with this many multiprocessors. Its `chunk` is 0 where the kernels that
// process each sequence in order are as fast, or where the others do not support the arguments.
Plan plan_forward(const CudaArgs& args, int multiprocessors);
Plan plan_backward(const CudaArgs& args, int multiprocessors);

// The bytes of memory that both passes need for the ends of the chunks.
int64_t board_bytes(const CudaArgs& args, const Plan& plan);

// Gives the counters of the current device.
cudaError_t counters(Counted** found);

// Neither waits for the kernels. The results report errors of the launches only.
cudaError_t launch_chunked_forward(ChunkedForwardArgs args, cudaStream_t stream);
cudaError_t launch_chunked_backward(ChunkedBackwardArgs args, cudaStream_t stream);

// These return without waiting for the kernel. The result reports errors of the launch only.
cudaError_t launch_forward(const CudaForwardArgs& args, cudaStream_t stream);
cudaError_t launch_backward(const CudaBackwardArgs& args, cudaStream_t stream);

}  // namespace srulight::cuda
