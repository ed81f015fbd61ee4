// The operators, once for every backend: checks of their inputs, outputs, and what a backend gives.
//
// Letters: B sequences, T steps, D channels (directions x hidden), K gate planes, F inputs.
// Planes of u: 0 candidate, 1 forget, 2 reset, 3 skip (only if K is 4).
//
// The operators own all tensors until a backend returns, those that they pack included. A backend
// borrows pointers into them.
#pragma once

#include "cell.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <sstream>
#include <stdexcept>

// Refuses what the caller of an operator gave, in a sentence; files and lines of here say nothing
// to those who call from Python.
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

// What the recurrence reads besides u, checked once, with a sentence for each way to be wrong.
// v, b, c0 and mask are in the wide type of u. All lies packed, of skip only the channels of a step.
struct Arguments {
  OptionalTensor skip;     // (B, T, D) skip input; only if K is 3; none: no skip term
  OptionalTensor v;        // (2, D) peephole weights of forget and reset; none: no peephole
  OptionalTensor b;        // (2, D) biases of forget and reset; always there
  OptionalTensor c0;       // (B, D) state before the first step; none: zeros
  OptionalTensor mask;     // (B, D) factor of the update, constant in time; none: ones
  OptionalTensor lengths;  // (B,) int64, real steps of each sequence, 0 to T; none: all T
  double scale = 1.0;      // of skip
  int64_t activation = IDENTITY;
  bool bidirectional = false;
};

// u, (B, T, K, D), as kernels read it: the channels of a step lie side by side, all else anywhere.
// Strides count elements.
struct Planes {
  const void* data;
  int64_t batch, step, plane;
};

// Where kernels write; everything lies packed.
struct Outputs {
  Tensor h;          // (B, T, D), in the type of u
  Tensor last;       // (B, D), wide: the state after the last real step
  OptionalTensor c;  // (B, chunks(T), D), wide: the saved states, zeros beyond the real steps
};
struct Gradients {
  Tensor u;             // (B, T, K, D)
  OptionalTensor skip;  // (B, T, D)
  Tensor sums;          // (B, 4, D), wide: of v and b, forget and reset, each sequence for itself
  Tensor c0;            // (B, D), wide
};

// A backend gives these two.
void forward(const Planes& u, const Arguments& arguments, const Sizes& n, Outputs& out);
//   c          (B, chunks(T), D)  what forward saved, wide
//   grad_h     (B, T, D)          gradient of h: channels side by side
//   grad_last  (B, D)             gradient of last, wide; none: zeros
// All but grad_h lies packed.
void backward(const Planes& u, const Arguments& arguments, const Sizes& n, const Tensor& c,
              const Tensor& grad_h, const OptionalTensor& grad_last, Gradients& out);

// And hands this to STABLE_TORCH_LIBRARY_IMPL of its dispatch key.
void register_operators(torch::stable::detail::StableLibrary& library);

}  // namespace srulight
