// The operators on CPU. The carry stays wide, and in cache.
#include "inputs.h"

#include <torch/csrc/stable/library.h>

#include <array>
#include <new>
#include <tuple>

namespace srulight {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::ScalarType;

struct Outputs {
  Tensor h, last;
  OptionalTensor c;  // the states before every CHECKPOINT_STEPS-th step

  Outputs(const Tensor& like, const Tensor& wide, const Sizes& n)
      : h(torch::stable::new_empty(like, {n.batch, n.steps, n.channels})),
        last(torch::stable::new_empty(wide, {n.batch, n.channels})) {}
};

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
void backward(const Inputs<T>& in, const Tensor& u, const Tensor& c, const Tensor& grad_h,
              const OptionalTensor& grad_last, Tensor& grad_u, OptionalTensor grad_skip,
              Tensor& grad_parameters, Tensor& grad_c0) {
  using A = Wide<T>;
  const Gates<const T> gates{reading<T>(u), u.stride(2)};
  const Gates<T> grads{writing<T>(grad_u), grad_u.stride(2)};
  const Sequences<const T> incoming = reading<T>(grad_h);
  Sequences<T> skip;
  if (in.n.planes == 4) skip = grads[3];
  if (grad_skip) skip = writing<T>(*grad_skip);
  const A* const saved = c.const_data_ptr<A>();
  const A* const last = grad_last ? grad_last->const_data_ptr<A>() : nullptr;
  A* const carries = grad_c0.mutable_data_ptr<A>();
  A* const sums = grad_parameters.mutable_data_ptr<A>();
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
    // (B, 4, D): one row a sequence, so that the sum over sequences has one order, whatever the
    // number of threads.
    for (int64_t i = 0; i < 4; ++i) {
      std::copy_n(sum + i * p.channels, p.channels,
                  sums + (p.sequence * 4 + i) * channels + p.first);
    }
    for (int64_t k = 0; k < in.n.planes; ++k) grads[k].clear_padding(p);
    if (grad_skip) skip.clear_padding(p);
  });
}

// Calls f with a value of the stored type.
template <typename F>
void with_type(ScalarType dtype, const F& f) {
  if (dtype == ScalarType::Float) return f(float());
  if (dtype == ScalarType::Double) return f(double());
  if (dtype == ScalarType::BFloat16) return f(BFloat16());
  if (dtype == ScalarType::Half) return f(Half());
  STD_TORCH_CHECK(false, "u must be float32, float64, bfloat16 or float16");
}

// ---- the operators ----

std::tuple<Tensor, Tensor, Tensor> sru_cpu(
    const Tensor& u, const OptionalTensor& skip, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& c0, const OptionalTensor& mask, const OptionalTensor& lengths,
    double scale, int64_t activation, bool bidirectional, bool save) {
  const Arguments arguments{skip, v, b, c0, mask, lengths, scale, activation, bidirectional};
  const Sizes n = check(u, arguments);
  Outputs out(u, b, n);
  if (save) out.c = torch::stable::new_empty(b, {n.batch, chunks(n.steps), n.channels});
  with_type(u.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Tensor packed = with_packed_channels(u);
    forward(Inputs<T>(n, arguments), Gates<const T>{reading<T>(packed), packed.stride(2)},
            out);
  });
  return {out.h, out.last, out.c ? *out.c : torch::stable::new_empty(b, {0, 0, n.channels})};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> sru_backward_cpu(
    const Tensor& u, const OptionalTensor& skip, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& mask, const OptionalTensor& lengths, const Tensor& c,
    const Tensor& grad_h, const OptionalTensor& grad_last, double scale, int64_t activation,
    bool bidirectional) {
  const OptionalTensor none;
  const Arguments arguments{skip, v, b, none, mask, lengths, scale, activation, bidirectional};
  const Sizes n = check(u, arguments);
  const Tensor packed = with_packed_channels(u), incoming = with_packed_channels(grad_h);
  OptionalTensor last;
  if (grad_last) last = torch::stable::contiguous(*grad_last);
  Tensor grad_u = torch::stable::new_empty(u, {n.batch, n.steps, n.planes, n.channels});
  Tensor grad_skip = torch::stable::new_empty(u, {skip ? n.batch : 0, n.steps, n.channels});
  Tensor grad_c0 = torch::stable::new_empty(b, {n.batch, n.channels});
  Tensor sums = torch::stable::new_empty(b, {n.batch, 4, n.channels});
  with_type(u.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    backward(Inputs<T>(n, arguments), packed, c, incoming, last, grad_u,
             skip ? OptionalTensor(grad_skip) : std::nullopt, sums, grad_c0);
  });
  const int64_t over_batch = 0;
  const torch::headeronly::IntHeaderOnlyArrayRef dim(&over_batch, 1);
  return {grad_u, grad_skip, torch::stable::sum(sums, dim), grad_c0};
}

// All steps of x times the transpose of weight, (B * T, K * D). Given where to write, it is not
// autocast: the types were chosen before.
Tensor product(const Tensor& x, Tensor weight) {
  using torch::stable::detail::from;
  const int64_t rows = x.size(0) * x.size(1);
  Tensor u = torch::stable::new_empty(x, {rows, weight.size(0)});
  std::array<StableIValue, 3> stack{from(torch::stable::reshape(x, {rows, x.size(2)})),
                                    from(torch::stable::transpose(weight, 0, 1)),
                                    from(u)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[0]);  // takes the reference that the call returns
  return u;
}

std::tuple<Tensor, Tensor> sru_step_cpu(const Tensor& x, const Tensor& weight,
                                        const OptionalTensor& skip, const OptionalTensor& v,
                                        const Tensor& b, const OptionalTensor& c0, double scale,
                                        int64_t activation) {
  const OptionalTensor none;
  const Arguments arguments{skip, v, b, c0, none, none, scale, activation, false};
  const Sizes n = check(x, weight, arguments);
  Outputs out(x, b, n);
  with_type(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Tensor u = product(x, weight);
    const int64_t step = u.size(1);
    const Sequences<const T> gates{u.const_data_ptr<T>(), n.steps * step, step};
    forward(Inputs<T>(n, arguments), Gates<const T>{gates, n.channels}, out);
  });
  return {out.h, out.last};
}

}  // namespace
}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CPU, m) {
  m.impl("sru", TORCH_BOX(&srulight::sru_cpu));
  m.impl("sru_backward", TORCH_BOX(&srulight::sru_backward_cpu));
  m.impl("sru_step", TORCH_BOX(&srulight::sru_step_cpu));
}
