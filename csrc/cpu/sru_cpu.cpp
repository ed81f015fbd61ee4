// The kernels of the CPU on tensors. The carry stays wide, and in cache.
#include "inputs.h"

#include <new>

namespace srulight {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::ScalarType;

// What a thread writes at every step lies on lines of its own, and not beside those of another:
// processors fetch lines in pairs.
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

template <typename T>
Gates<const T> typed(const Planes& u) {
  return {{static_cast<const T*>(u.data), u.batch, u.step}, u.plane};
}

template <typename T>
void forward(const Inputs<T>& in, const Gates<const T>& gates, Outputs& out) {
  using A = Wide<T>;
  const Sequences<T> h = writing<T>(out.h);
  A* const last = out.last.mutable_data_ptr<A>();
  A* const saved = out.c ? out.c->mutable_data_ptr<A>() : nullptr;
  const int64_t channels = in.n.channels, saves = chunks(in.n.steps);
  in.for_each_piece([&](const Piece& p) {
    const Scratch<A> scratch(p.channels);
    A* const c = scratch.data;
    in.copy_initial_state(p, c);
    Forward<T> work{in.stretch(gates, p), h.rows(p), c, {}};
    if (saved) {
      A* const rows = saved + p.sequence * saves * channels + p.first;
      work.checkpoints = {rows, channels};
      for (int64_t i = chunks(p.steps); i < saves; ++i) {
        std::fill_n(rows + i * channels, p.channels, A(0));
      }
    }
    run(work, in.activation);
    std::copy_n(c, p.channels, last + p.sequence * channels + p.first);
    h.clear_padding(p);
  });
}

template <typename T>
void backward(const Inputs<T>& in, const Gates<const T>& gates, const Tensor& c,
              const Tensor& grad_h, const OptionalTensor& grad_last, Gradients& out) {
  using A = Wide<T>;
  const Gates<T> grads{writing<T>(out.u), out.u.stride(2)};
  const Sequences<const T> incoming = reading<T>(grad_h);
  Sequences<T> skip;
  if (in.n.planes == 4) skip = grads[3];
  if (out.skip) skip = writing<T>(*out.skip);
  const A* const saved = c.const_data_ptr<A>();
  const A* const last = grad_last ? grad_last->const_data_ptr<A>() : nullptr;
  A* const carries = out.c0.mutable_data_ptr<A>();
  A* const sums = out.sums.mutable_data_ptr<A>();
  const int64_t channels = in.n.channels, saves = chunks(in.n.steps);
  in.for_each_piece([&](const Piece& p) {
    const Scratch<A> scratch(scratch_size(p.channels) + 5 * p.channels);
    A* const carry = scratch.data;
    if (last) {
      std::copy_n(last + p.sequence * channels + p.first, p.channels, carry);
    } else {
      std::fill_n(carry, p.channels, A(0));
    }
    A* const sum = carry + p.channels;
    std::fill_n(sum, 4 * p.channels, A(0));
    run(Backward<T>{in.stretch(gates, p),
                    {saved + p.sequence * saves * channels + p.first, channels},
                    incoming.rows(p),
                    carry,
                    grads[0].rows(p),
                    grads[1].rows(p),
                    grads[2].rows(p),
                    skip.rows(p),
                    sum,
                    sum + p.channels,
                    sum + 2 * p.channels,
                    sum + 3 * p.channels,
                    sum + 4 * p.channels},
        in.activation);
    std::copy_n(carry, p.channels, carries + p.sequence * channels + p.first);
    for (int64_t i = 0; i < 4; ++i) {
      std::copy_n(sum + i * p.channels, p.channels,
                  sums + (p.sequence * 4 + i) * channels + p.first);
    }
    for (int64_t k = 0; k < in.n.planes; ++k) grads[k].clear_padding(p);
    if (out.skip) skip.clear_padding(p);
  });
}

// Calls f with a value of the stored type.
template <typename F>
void with_type(ScalarType dtype, const F& f) {
  if (dtype == ScalarType::Float) return f(float());
  if (dtype == ScalarType::Double) return f(double());
  if (dtype == ScalarType::BFloat16) return f(BFloat16());
  if (dtype == ScalarType::Half) return f(Half());
  refuse("u must be float32, float64, bfloat16 or float16");
}

}  // namespace

void forward(const Planes& u, const Arguments& arguments, const Sizes& n, Outputs& out) {
  with_type(out.h.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    forward(Inputs<T>(n, arguments), typed<T>(u), out);
  });
}

void backward(const Planes& u, const Arguments& arguments, const Sizes& n, const Tensor& c,
              const Tensor& grad_h, const OptionalTensor& grad_last, Gradients& out) {
  with_type(out.u.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    backward(Inputs<T>(n, arguments), typed<T>(u), c, grad_h, grad_last, out);
  });
}

}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CPU, m) { srulight::register_operators(m); }
