// One step of the recurrence over a row of channels, for every stored type, as vector instructions.
#pragma once

#include "../sru.h"

namespace srulight {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;

// One binary, three instruction sets, chosen by the loader.
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && \
    defined(__linux__)
#define SRU_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SRU_CLONES
#endif

// No row that a loop writes overlaps another; there are too many to check that at run time.
#if defined(__clang__)
#define SRU_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define SRU_INDEPENDENT _Pragma("GCC ivdep")
#else
#define SRU_INDEPENDENT
#endif

// Inputs of one step; each pointer is a row of channels. A (wide), T (stored).
template <typename T, typename A>
struct Rows {
  const T *candidate, *forget, *reset, *skip;
  const A *v_f, *v_r, *b_f, *b_r, *mask;
  A scale;  // of skip
};

template <typename T, typename A>
struct GradientRows {
  T *candidate, *forget, *reset, *skip;
  A *v_f, *v_r, *b_f, *b_r;  // running sums
};

template <int64_t activation, typename T, typename A>
SRU_INLINE void forward_rows(const Rows<T, A>& rows, A* carry, T* c, T* h, int64_t n) {
  const Rows<T, A> in = rows;
  SRU_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    A state = carry[i];
    const A out = forward_step<activation, A>(
        A(in.candidate[i]), A(in.forget[i]) + in.b_f[i], A(in.reset[i]) + in.b_r[i],
        A(in.skip[i]) * in.scale, in.v_f[i], in.v_r[i], in.mask[i], state);
    carry[i] = state;
    c[i] = T(state);
    h[i] = T(out);
  }
}

template <int64_t activation, typename T, typename A>
SRU_INLINE void backward_rows(const Rows<T, A>& rows, const T* previous, const T* c,
                              const T* grad_h, A* carry, const GradientRows<T, A>& gradients,
                              int64_t n) {
  const Rows<T, A> in = rows;
  const GradientRows<T, A> out = gradients;
  SRU_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    A grad_c = carry[i];
    const A p = A(previous[i]);
    const StepGradient<A> grad = backward_step<activation, A>(
        A(in.candidate[i]), A(in.forget[i]) + in.b_f[i], A(in.reset[i]) + in.b_r[i],
        A(in.skip[i]) * in.scale, in.v_f[i], in.v_r[i], in.mask[i], p, A(c[i]), A(grad_h[i]),
        grad_c);
    carry[i] = grad_c;
    out.candidate[i] = T(grad.candidate);
    out.forget[i] = T(grad.forget);
    out.reset[i] = T(grad.reset);
    out.skip[i] = T(grad.skip * in.scale);
    out.v_f[i] += grad.forget * p;
    out.v_r[i] += grad.reset * p;
    out.b_f[i] += grad.forget;
    out.b_r[i] += grad.reset;
  }
}

// target_clones does not apply to templates: one plain function per stored type.
#define SRU_ROWS(T, A)                                                                          \
  SRU_CLONES void forward_row(int64_t activation, const Rows<T, A>& in, A* carry, T* c, T* h,   \
                              int64_t n) {                                                      \
    if (activation == TANH) return forward_rows<TANH, T, A>(in, carry, c, h, n);                \
    if (activation == RELU) return forward_rows<RELU, T, A>(in, carry, c, h, n);                \
    forward_rows<IDENTITY, T, A>(in, carry, c, h, n);                                           \
  }                                                                                             \
  SRU_CLONES void backward_row(int64_t activation, const Rows<T, A>& in, const T* previous,     \
                               const T* c, const T* grad_h, A* carry,                           \
                               const GradientRows<T, A>& out, int64_t n) {                      \
    if (activation == TANH)                                                                     \
      return backward_rows<TANH, T, A>(in, previous, c, grad_h, carry, out, n);                 \
    if (activation == RELU)                                                                     \
      return backward_rows<RELU, T, A>(in, previous, c, grad_h, carry, out, n);                 \
    backward_rows<IDENTITY, T, A>(in, previous, c, grad_h, carry, out, n);                      \
  }
SRU_ROWS(float, float)
SRU_ROWS(double, double)
SRU_ROWS(BFloat16, float)
SRU_ROWS(Half, float)
#undef SRU_ROWS

}  // namespace
}  // namespace srulight
