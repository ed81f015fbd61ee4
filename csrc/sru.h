// What the operators of every backend share: checks of their inputs.
//
// Letters: B sequences, T steps, D channels (directions x hidden), K gate planes, F inputs.
// Planes of u: 0 candidate, 1 forget, 2 reset, 3 skip (only if K is 4).
#pragma once

#include "cell.h"

#include <torch/csrc/stable/tensor.h>

#include <optional>

namespace srulight {

using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

struct Sizes {
  int64_t batch, steps, planes, channels, directions, hidden;
};

// What the recurrence reads besides u, checked once, with a sentence for each way to be wrong.
//   skip     (B, T, D)     skip input; only if K is 3; none: no skip term
//   v        (2, D)        peephole weights of forget and reset; none: no peephole
//   b        (2, D)        biases of forget and reset
//   c0       (B, D)        state before the first step; none: zeros
//   mask     (B, D)        factor of the update, constant in time; none: ones
//   lengths  (B,) int64    real steps of each sequence, 0 to T; none: all T
// v, b, c0 and mask are in the wide type of u.
struct Arguments {
  const OptionalTensor &skip, &v;
  const Tensor& b;
  const OptionalTensor &c0, &mask, &lengths;
  double scale;
  int64_t activation;
  bool bidirectional;
};

// u has sizes (B, T, K, D) and this type.
Sizes check(int64_t batch, int64_t steps, int64_t planes, int64_t channels,
            torch::headeronly::ScalarType dtype, const Arguments& arguments);
// The same for u itself.
Sizes check(const Tensor& u, const Arguments& arguments);
// The same for the product of x (B, T, F) and weight (K * D, F); D is that of b.
Sizes check(const Tensor& x, const Tensor& weight, const Arguments& arguments);

}  // namespace srulight
