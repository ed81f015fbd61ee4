// The interface between the operators, which are the same for every backend, and a backend.
//
// Shapes: B sequences, T steps, D channels (directions * hidden), K gate planes, F input features.
// Planes of u: 0 candidate, 1 forget, 2 reset, 3 skip (only if K is 4).
//
// The operators own all tensors, including packed copies, until the backend returns. A backend only
// borrows pointers into them.
#pragma once

#include "cell.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <sstream>
#include <stdexcept>

// Throws an error about an argument of an operator. Its message leaves out file and line, which
// would not help a caller in Python.
#define SRU_CHECK(holds, ...)                    \
  do {                                           \
    if (!(holds)) ::srulight::refuse(__VA_ARGS__); \
  } while (false)

namespace srulight {

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream sentence;
  (sentence << ... << parts);
  throw std::runtime_error(sentence.str());
}

using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

struct Sizes {
  int64_t batch, steps, planes, channels;
  int64_t directions = 1, hidden = 0;
};

// Whether the steps of a sequence may be divided into chunks that are processed in parallel.
enum TimeParallel : int64_t { AUTOMATIC = -1, FORBIDDEN = 0, FORCED = 1 };

// The arguments of the recurrence besides u, already checked. v, b, c0 and mask have the wide type
// of u. All are contiguous, except that skip only has contiguous channels.
struct Arguments {
  OptionalTensor skip;     // (B, T, D) skip input, only if K is 3; none: no skip term
  OptionalTensor v;        // (2, D) peephole weights of forget and reset; none: no peephole
  OptionalTensor b;        // (2, D) biases of forget and reset; never none
  OptionalTensor c0;       // (B, D) state before the first step; none: zeros
  OptionalTensor mask;     // (B, D) factor of the update at every step; none: ones
  OptionalTensor lengths;  // (B,) int64 number of real steps, 0 to T; none: T for all
  double scale = 1.0;      // of skip
  int64_t activation = IDENTITY;
  bool bidirectional = false;
  int64_t time_parallel = AUTOMATIC;
};

// u, (B, T, K, D), with contiguous channels and any other strides, in elements.
struct Planes {
  const void* data;
  int64_t batch, step, plane;
};

// The tensors that kernels write; all are contiguous.
struct Outputs {
  Tensor h;          // (B, T, D) in the type of u
  Tensor last;       // (B, D) wide: the state after the last real step
  OptionalTensor c;  // (B, chunks(T), D) wide: saved states, zeros past the last real step
  OptionalTensor u;  // (B, T, K, D): the product, where the backend computes it
};
struct Gradients {
  Tensor u;             // (B, T, K, D)
  OptionalTensor skip;  // (B, T, D)
  Tensor sums;          // (B, 4, D) wide: per sequence, of v and then of b, forget before reset.
                        // A backend may replace it by a tensor with more rows.
  Tensor c0;            // (B, D) wide
};

// A backend implements these functions.
void forward(const Planes& u, const Arguments& arguments, const Sizes& n, Outputs& out);
//   c          (B, chunks(T), D)  what forward saved, wide
//   grad_h     (B, T, D)          gradient of h, with contiguous channels
//   grad_last  (B, D)             gradient of last, wide; none: zeros
// c and grad_last are contiguous.
void backward(const Planes& u, const Arguments& arguments, const Sizes& n, const Tensor& c,
              const Tensor& grad_h, const OptionalTensor& grad_last, Gradients& out);

// Whether layers of a type may run through fused_forward.
bool fuses(torch::headeronly::ScalarType dtype);
// The same as forward, on the product of x, (B, T, F), and weight, (K * D, F), both contiguous, for
// which fuses() holds. No size is 0. Of out.u, if it is there, rows of padding may stay unwritten.
void fused_forward(const Tensor& x, const Tensor& weight, const Arguments& arguments,
                   const Sizes& n, Outputs& out);

// A backend calls this from STABLE_TORCH_LIBRARY_IMPL for its dispatch key.
void register_operators(torch::stable::detail::StableLibrary& library);

}  // namespace srulight
