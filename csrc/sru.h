// The SRU recurrence: what every backend shares.
//
// Letters: B sequences, T steps, D channels (directions x hidden), K gate planes.
// Planes of u: 0 candidate, 1 forget, 2 reset, 3 skip (only if K is 4).
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>

#if defined(__CUDACC__)
#define SRU_INLINE __host__ __device__ __forceinline__
#else
#define SRU_INLINE inline __attribute__((always_inline))
#endif

namespace srulight {

using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

// Half types are stored narrow and computed wide.
template <typename T>
struct Wide {
  using type = T;
};
template <>
struct Wide<torch::headeronly::BFloat16> {
  using type = float;
};
template <>
struct Wide<torch::headeronly::Half> {
  using type = float;
};

enum Activation : int64_t { IDENTITY = 0, TANH = 1, RELU = 2 };

struct Sizes {
  int64_t batch, steps, planes, channels, directions, hidden;
};

// Checks every input of the forward operator once, with a sentence for each way to be wrong.
//   u        (B, T, K, D)  gate inputs, K 3 or 4
//   x        (B, T, D)     skip input; only if K is 3; none: no skip term
//   v        (2, D)        peephole weights of forget and reset; none: no peephole
//   b        (2, D)        biases of forget and reset
//   c0       (B, D)        state before the first step; none: zeros
//   mask     (B, D)        factor of the update, constant in time; none: ones
//   lengths  (B,) int64    real steps of each sequence, 0 to T; none: all T
// v, b, c0 and mask are in the wide type of u.
Sizes check_inputs(const Tensor& u, const OptionalTensor& x, const OptionalTensor& v,
                   const Tensor& b, const OptionalTensor& c0, const OptionalTensor& mask,
                   const OptionalTensor& lengths, int64_t activation, bool bidirectional);

// ---- one step of one channel: the definition that all kernels share ----

// exp(y) by range reduction y = n ln 2 + r and a polynomial in r; 2 ulp. Branch-free, so that
// compilers vectorise it, which they do not do for calls into libm.
SRU_INLINE float sigmoid(float x) {
  float y = -x;
  y = y < -87.f ? -87.f : y;
  y = y > 88.f ? 88.f : y;
  const float n = rintf(y * 1.44269504f);
  // ln 2 in two parts, so that n ln 2 is exact to the last bit of r.
  const float r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691e-4f;
  p = p * r + 1.3981999e-3f;
  p = p * r + 8.3334519e-3f;
  p = p * r + 4.1665796e-2f;
  p = p * r + 1.6666665e-1f;
  p = p * r + 5.0000001e-1f;
  p = p * (r * r) + (r + 1.f);
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return 1.f / (1.f + p * power);
}
SRU_INLINE double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

SRU_INLINE float hyperbolic_tangent(float x) { return 2.f * sigmoid(2.f * x) - 1.f; }
SRU_INLINE double hyperbolic_tangent(double x) { return tanh(x); }

template <int64_t activation, typename A>
SRU_INLINE A activate(A c) {
  if constexpr (activation == TANH) return hyperbolic_tangent(c);
  if constexpr (activation == RELU) return c > A(0) ? c : A(0);
  return c;
}

// The derivative of g(c), from c and g.
template <int64_t activation, typename A>
SRU_INLINE A slope(A c, A g) {
  if constexpr (activation == TANH) return A(1) - g * g;
  if constexpr (activation == RELU) return c > A(0) ? A(1) : A(0);
  return A(1);
}

// Lei et al. (2018), equations 1 to 4, in the form that needs the fewest operations.
// `skip` is already scaled. Returns h and moves c from the last step to this one.
template <int64_t activation, typename A>
SRU_INLINE A forward_step(A candidate, A forget, A reset, A skip, A v_f, A v_r, A mask, A& c) {
  const A f = sigmoid(forget + v_f * c);
  const A r = sigmoid(reset + v_r * c);
  c = (c - candidate) * f + candidate;
  return (activate<activation>(c) - skip) * (r * mask) + skip;
}

template <typename A>
struct StepGradient {
  A candidate, forget, reset, skip;
};

// Transpose of forward_step. `previous` and `c` are the states before and after it; `grad_c` is the
// gradient that reaches c from later steps, and leaves as the gradient of `previous`.
template <int64_t activation, typename A>
SRU_INLINE StepGradient<A> backward_step(A candidate, A forget, A reset, A skip, A v_f, A v_r,
                                         A mask, A previous, A c, A grad_h, A& grad_c) {
  const A f = sigmoid(forget + v_f * previous);
  const A r = sigmoid(reset + v_r * previous);
  const A g = activate<activation>(c);
  StepGradient<A> grad;
  grad.reset = grad_h * mask * (g - skip) * (r * (A(1) - r));
  const A total = grad_h * mask * r * slope<activation>(c, g) + grad_c;
  grad.forget = total * (previous - candidate) * (f * (A(1) - f));
  grad.candidate = total * (A(1) - f);
  grad.skip = grad_h * (A(1) - mask * r);
  grad_c = total * f + grad.forget * v_f + grad.reset * v_r;
  return grad;
}

}  // namespace srulight
