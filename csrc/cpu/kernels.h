// The loops over time, compiled once per instruction set. They neither allocate nor know tensors.
#pragma once

#include "../cell.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

namespace srulight {

// One row of channels per step. Steps are numbered in the order of processing: for a direction that
// reads right to left, `data` points to the last step and `step` is negative.
template <typename T>
struct Rows {
  T* data = nullptr;  // null: no rows
  int64_t step = 0;
  SRU_INLINE T* operator[](int64_t i) const { return data + i * step; }
  // The rows from step `begin` and channel `first` on.
  Rows from(int64_t begin, int64_t first) const {
    return data ? Rows{data + begin * step + first, step} : Rows{};
  }
};

// The inputs that both kernels read: N channels of one sequence in one direction, at T real steps.
// Rows are (T, N); everything else is (N,). A kernel processes several such streams side by side,
// so that one waits for its arithmetic while another computes.
//
// No pointer is owned. Rows, parameters and checkpoints point into the operator's tensors; c,
// grad_c, the sums and scratch belong to the thread that runs the kernel.
template <typename T>
struct CpuArgs {
  int64_t steps, channels, activation;
  int64_t before, after;                   // steps that may be prefetched around these
  Rows<const T> candidate, forget, reset;  // planes of u
  Rows<const T> skip;                      // none: no skip term
  const Wide<T>*v_f, *v_r;                 // peephole weights of forget and reset; null: none
  const Wide<T>*b_f, *b_r;                 // biases of forget and reset
  const Wide<T>* mask;                     // factor of the update; null: ones
  Wide<T> scale;                           // of skip
};

template <typename T>
struct CpuForwardArgs : CpuArgs<T> {
  Rows<T> h;                  // written; none: only states are computed
  Wide<T>* c;                 // in: the state before the first step; out: the state after the last
  Rows<Wide<T>> checkpoints;  // (chunks(T), N) written: the states before step 0, CHECKPOINT_STEPS,
                              // ...; none: not saved
};

template <typename T>
struct CpuBackwardArgs : CpuArgs<T> {
  Rows<const Wide<T>> checkpoints;  // (chunks(T), N) the states that forward saved
  Rows<const T> grad_h;             // gradient of h
  Wide<T>* grad_c;  // in: gradient of the state after the last step; out: before the first
  Rows<T> grad_candidate, grad_forget, grad_reset;    // written; none: only grad_c is needed
  Rows<T> grad_skip;                                  // written; none: no skip term
  Wide<T>*grad_v_f, *grad_v_r, *grad_b_f, *grad_b_r;  // sums over steps are added to these
  Wide<T>* scratch;                                   // scratch_size(N) numbers
};

constexpr int64_t scratch_size(int64_t channels) { return (2 * CHECKPOINT_STEPS + 1) * channels; }

constexpr int64_t MAX_STREAMS = 8;

// These run the kernel for this processor's instruction set on 1 to MAX_STREAMS streams. The result
// of a stream does not depend on the others. That of a channel does not depend on the channels
// beside it, if the first channel of a stream is a multiple of MAX_LANES in every call.
template <typename T>
void run_forward_kernel(const CpuForwardArgs<T>* streams, int64_t count);
template <typename T>
void run_backward_kernel(const CpuBackwardArgs<T>* streams, int64_t count);

constexpr int64_t MAX_LANES = 16;
// The number of floats in a vector of that instruction set.
int64_t vector_lanes();

#define SRU_DECLARE_LEVEL(level)                          \
  namespace level {                                       \
  template <typename T>                                   \
  void forward_kernel(const CpuForwardArgs<T>*, int64_t); \
  template <typename T>                                   \
  void backward_kernel(const CpuBackwardArgs<T>*, int64_t); \
  }
SRU_DECLARE_LEVEL(baseline)
SRU_DECLARE_LEVEL(avx2)
SRU_DECLARE_LEVEL(avx512)
SRU_DECLARE_LEVEL(avx512_bf16)
#undef SRU_DECLARE_LEVEL

}  // namespace srulight
