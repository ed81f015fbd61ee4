// The CPU backend: forward and backward on tensors. The state between steps is wide and stays in
// cache.
#include "inputs.h"

#include <new>

namespace srulight {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::ScalarType;

// Memory that a thread writes at every step. It starts at a multiple of two cache lines, because
// processors fetch lines in pairs, so that threads do not share lines.
template <typename A>
struct Scratch {
  explicit Scratch(int64_t size)
      : data(static_cast<A*>(::operator new(size * sizeof(A), ALIGNMENT))) {}
  ~Scratch() { ::operator delete(data, ALIGNMENT); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  A* const data;

 private:
  static constexpr std::align_val_t ALIGNMENT{128};
};

// Copies the channels of a piece from a (B, D) tensor, or fills `to` with zeros if it is null.
template <typename A>
void copy_row(const A* from, const Piece& p, int64_t channels, A* to) {
  if (from) {
    std::copy_n(from + p.sequence * channels + p.first, p.channels, to);
  } else {
    std::fill_n(to, p.channels, A(0));
  }
}

template <typename T>
void forward_pieces(const CpuInputs<T>& in, const OptionalTensor& c0, Outputs& out) {
  using A = Wide<T>;
  const CpuSequences<T> h = writing<T>(out.h);
  const A* const first = numbers<A>(c0);
  A* const last = out.last.mutable_data_ptr<A>();
  A* const saved = out.c ? out.c->mutable_data_ptr<A>() : nullptr;
  const int64_t channels = in.n.channels, saves = chunks(in.n.steps);
  in.for_each_piece([&](const Piece& p) {
    const Scratch<A> state(p.channels);
    copy_row(first, p, channels, state.data);
    CpuForwardArgs<T> args{in.args(p)};
    args.h = h.rows(p);
    args.c = state.data;
    if (saved) {
      A* const rows = saved + p.sequence * saves * channels + p.first;
      args.checkpoints = {rows, channels};
      for (int64_t i = chunks(p.steps); i < saves; ++i) {
        std::fill_n(rows + i * channels, p.channels, A(0));
      }
    }
    run_forward_kernel(args);
    std::copy_n(state.data, p.channels, last + p.sequence * channels + p.first);
    h.clear_padding(p);
  });
}

template <typename T>
void backward_pieces(const CpuInputs<T>& in, const Tensor& c, const Tensor& grad_h,
                     const OptionalTensor& grad_last, Gradients& out) {
  using A = Wide<T>;
  const GatePlanes<T> grads{writing<T>(out.u), out.u.stride(2)};
  const CpuSequences<const T> incoming = reading<T>(grad_h);
  CpuSequences<T> skip;
  if (in.n.planes == 4) skip = grads[3];
  if (out.skip) skip = writing<T>(*out.skip);
  const A* const saved = c.const_data_ptr<A>();
  const A* const last = numbers<A>(grad_last);
  A* const carries = out.c0.mutable_data_ptr<A>();
  A* const sums = out.sums.mutable_data_ptr<A>();
  const int64_t channels = in.n.channels, saves = chunks(in.n.steps);
  in.for_each_piece([&](const Piece& p) {
    const Scratch<A> scratch(scratch_size(p.channels) + 5 * p.channels);
    A *const carry = scratch.data, *const sum = carry + p.channels;
    copy_row(last, p, channels, carry);
    std::fill_n(sum, 4 * p.channels, A(0));
    CpuBackwardArgs<T> args{in.args(p)};
    args.checkpoints = {saved + p.sequence * saves * channels + p.first, channels};
    args.grad_h = incoming.rows(p);
    args.grad_c = carry;
    args.grad_candidate = grads[0].rows(p);
    args.grad_forget = grads[1].rows(p);
    args.grad_reset = grads[2].rows(p);
    args.grad_skip = skip.rows(p);
    args.grad_v_f = sum;
    args.grad_v_r = sum + p.channels;
    args.grad_b_f = sum + 2 * p.channels;
    args.grad_b_r = sum + 3 * p.channels;
    args.scratch = sum + 4 * p.channels;
    run_backward_kernel(args);
    std::copy_n(carry, p.channels, carries + p.sequence * channels + p.first);
    for (int64_t i = 0; i < 4; ++i) {
      std::copy_n(sum + i * p.channels, p.channels,
                  sums + (p.sequence * 4 + i) * channels + p.first);
    }
    for (int64_t k = 0; k < in.n.planes; ++k) grads[k].clear_padding(p);
    if (out.skip) skip.clear_padding(p);
  });
}

// Calls f with a zero of the C++ type of a dtype.
template <typename F>
void with_type(ScalarType dtype, const F& f) {
  if (dtype == ScalarType::Float) return f(float());
  if (dtype == ScalarType::Double) return f(double());
  if (dtype == ScalarType::BFloat16) return f(BFloat16());
  f(Half());
}

}  // namespace

void forward(const Planes& u, const Arguments& arguments, const Sizes& n, Outputs& out) {
  with_type(out.h.scalar_type(), [&](auto zero) {
    forward_pieces(CpuInputs<decltype(zero)>(u, arguments, n), arguments.c0, out);
  });
}

void backward(const Planes& u, const Arguments& arguments, const Sizes& n, const Tensor& c,
              const Tensor& grad_h, const OptionalTensor& grad_last, Gradients& out) {
  with_type(out.u.scalar_type(), [&](auto zero) {
    backward_pieces(CpuInputs<decltype(zero)>(u, arguments, n), c, grad_h, grad_last, out);
  });
}

}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CPU, m) { srulight::register_operators(m); }
