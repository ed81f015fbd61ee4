// The loops over time, once for each instruction set. Nothing here allocates or knows of tensors.
#pragma once

#include "../cell.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

namespace srulight {

// Half types are stored narrow and computed wide.
template <typename T>
struct WideOf {
  using type = float;
};
template <>
struct WideOf<double> {
  using type = double;
};
template <typename T>
using Wide = typename WideOf<T>::type;

// A row of channels for every step. Steps count in the order of processing: read from right to
// left, `data` is the last step and `step` is negative.
template <typename T>
struct Rows {
  T* data = nullptr;  // null: there are none
  int64_t step = 0;
  SRU_INLINE T* operator[](int64_t i) const { return data + i * step; }
};

// Some channels of one sequence in one direction.
template <typename T>
struct Stretch {
  int64_t steps, channels;
  Rows<const T> candidate, forget, reset, skip;
  const Wide<T>*v_f, *v_r;  // null: no peephole
  const Wide<T>*b_f, *b_r;
  const Wide<T>* mask;  // null: ones
  Wide<T> scale;        // of skip
};

template <typename T>
struct Forward : Stretch<T> {
  Rows<T> h;
  Wide<T>* c;                 // the state before the first step, then that after the last
  Rows<Wide<T>> checkpoints;  // the state before step 0, CHECKPOINT_STEPS, ...
};

template <typename T>
struct Backward : Stretch<T> {
  Rows<const Wide<T>> checkpoints;
  Rows<const T> grad_h;
  Wide<T>* grad_c;  // of the state after the last step, then of that before the first
  Rows<T> grad_candidate, grad_forget, grad_reset, grad_skip;
  Wide<T>*grad_v_f, *grad_v_r, *grad_b_f, *grad_b_r;  // sums over steps are added to these
  Wide<T>* scratch;                                   // scratch_size(channels) numbers
};

constexpr int64_t scratch_size(int64_t channels) { return (2 * CHECKPOINT_STEPS + 1) * channels; }

// With the kernels of this processor's instruction set.
template <typename T>
void run(const Forward<T>& work, int64_t activation);
template <typename T>
void run(const Backward<T>& work, int64_t activation);

#define SRU_DECLARE_LEVEL(level)                           \
  namespace level {                                        \
  template <typename T>                                    \
  void forward(const Forward<T>& in, int64_t activation);  \
  template <typename T>                                    \
  void backward(const Backward<T>& in, int64_t activation); \
  }
SRU_DECLARE_LEVEL(baseline)
SRU_DECLARE_LEVEL(avx2)
SRU_DECLARE_LEVEL(avx512)
SRU_DECLARE_LEVEL(avx512_bf16)
#undef SRU_DECLARE_LEVEL

}  // namespace srulight
