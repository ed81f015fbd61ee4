// One step of the SRU cell, shared by all backends. Independent of torch.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#define SRU_INLINE __host__ __device__ __forceinline__
#else
#define SRU_INLINE inline __attribute__((always_inline))
#endif

namespace srulight {

// Numbers are stored as T and computed as Wide<T>: float for half types, else T itself.
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

enum Activation : int64_t { IDENTITY = 0, TANH = 1, RELU = 2 };

// Calls f with the activation as a compile-time constant.
template <typename F>
auto with_activation(int64_t activation, const F& f) {
  if (activation == TANH) return f(std::integral_constant<int64_t, TANH>());
  if (activation == RELU) return f(std::integral_constant<int64_t, RELU>());
  return f(std::integral_constant<int64_t, IDENTITY>());
}

// The forward pass saves a state every so many steps. The backward pass recomputes the others.
constexpr int64_t CHECKPOINT_STEPS = 16;

// The number of saved states.
SRU_INLINE constexpr int64_t chunks(int64_t steps) {
  return (steps + CHECKPOINT_STEPS - 1) / CHECKPOINT_STEPS;
}

// V is a scalar or a vector. A backend defines these functions for its own V.
template <typename V>
SRU_INLINE V sigmoid(V x);
template <typename V>
SRU_INLINE V hyperbolic_tangent(V x);

template <>
SRU_INLINE double sigmoid(double x) {
  return 1.0 / (1.0 + exp(-x));
}
template <>
SRU_INLINE double hyperbolic_tangent(double x) {
  return tanh(x);
}

template <int64_t activation, typename V>
SRU_INLINE V activate(V c) {
  if constexpr (activation == TANH) return hyperbolic_tangent(c);
  if constexpr (activation == RELU) return c < V{} ? V{} : c;
  return c;
}

// The derivative of the activation at c, where g is its value.
template <int64_t activation, typename V>
SRU_INLINE V slope(V c, V g) {
  if constexpr (activation == TANH) return 1 - g * g;
  if constexpr (activation == RELU) return c > V{} ? V{} + 1 : V{};
  return V{} + 1;
}

// Lei et al. (2018), equations 2 and 4, in the form with the fewest operations. f and r_masked are
// the gates, the latter times the dropout mask; skip is already scaled.
template <typename V>
SRU_INLINE V next_state(V candidate, V f, V c) {
  return (c - candidate) * f + candidate;
}
// The derivative of the next state with respect to the state c.
template <bool peephole, typename V>
SRU_INLINE V state_derivative(V candidate, V f, V v_f, V c) {
  if constexpr (!peephole) return f;
  return (c - candidate) * f * (v_f - v_f * f) + f;
}
template <int64_t activation, typename V>
SRU_INLINE V output(V c, V skip, V r_masked) {
  return (activate<activation>(c) - skip) * r_masked + skip;
}

template <typename V>
struct StepGradient {
  V candidate, forget, reset, skip;
};

// The backward pass of one step. `previous` and `c` are the states before and after the step, f and
// r its gates. On entry `grad_c` is the gradient that c receives from later steps; on return it is
// that of `previous`.
template <int64_t activation, typename V>
SRU_INLINE StepGradient<V> transposed_step(V candidate, V f, V r, V skip, V v_f, V v_r, V mask,
                                           V previous, V c, V grad_h, V& grad_c) {
  const V g = activate<activation>(c);
  const V through = grad_h * (mask * r);  // the gradient of g(c)
  StepGradient<V> grad;
  grad.reset = through * (g - skip) * (1 - r);
  const V total = through * slope<activation>(c, g) + grad_c;
  grad.candidate = total - total * f;
  grad.forget = grad.candidate * (previous - candidate) * f;
  grad.skip = grad_h - through;
  grad_c = total * f + (grad.forget * v_f + grad.reset * v_r);
  return grad;
}

}  // namespace srulight
