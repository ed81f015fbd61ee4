// The CPU backend: forward and backward on tensors.
#include "passes.h"

#include <torch/csrc/stable/ops.h>

namespace srulight {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::ScalarType;

// Runs the passes over all pieces.
template <typename Pass>
void run(const std::vector<Pass>& passes, const Sizes& n, int64_t threads, int64_t time_parallel) {
  if (passes.empty()) return;
  const bool one_at_a_time = sizeof(typename Pass::Number) == sizeof(double);
  const Work work{.rows = static_cast<int64_t>(passes.size()),
                  .steps = n.steps,
                  .channels = passes.front().channels,
                  .lanes = one_at_a_time ? 1 : vector_lanes(),
                  .time_parallel = time_parallel};
  Sweep<Pass>(passes, plan_for(work, threads)).run(threads);
}

template <typename T>
void forward_pieces(const CpuInputs<T>& in, const Arguments& a, Outputs& out) {
  using A = Wide<T>;
  const ForwardOutputs<T> to{.h = writing<T>(out.h),
                             .c0 = numbers<A>(a.c0),
                             .last = out.last.mutable_data_ptr<A>(),
                             .saved = out.c ? out.c->mutable_data_ptr<A>() : nullptr,
                             .saves = chunks(in.n.steps),
                             .channels = in.n.channels};
  const int64_t threads = torch::stable::get_num_threads();
  std::vector<ForwardPass<T>> passes;
  const std::vector<Piece> pieces = in.pieces(threads);
  passes.reserve(pieces.size());
  for (const Piece& p : pieces) passes.emplace_back(in.args(p), p, to);
  run(passes, in.n, threads, a.time_parallel);
}

template <typename T>
void backward_pieces(const CpuInputs<T>& in, const Arguments& a, const Tensor& c,
                     const Tensor& grad_h, const OptionalTensor& grad_last, Gradients& out) {
  using A = Wide<T>;
  BackwardOutputs<T> to{.grad_h = reading<T>(grad_h),
                        .grads = {writing<T>(out.u), out.u.stride(2)},
                        .planes = in.n.planes,
                        .skip = {},
                        .saved = c.const_data_ptr<A>(),
                        .grad_last = numbers<A>(grad_last),
                        .grad_c0 = out.c0.mutable_data_ptr<A>(),
                        .sums = out.sums.mutable_data_ptr<A>(),
                        .saves = chunks(in.n.steps),
                        .channels = in.n.channels};
  if (in.n.planes == 4) to.skip = to.grads[3];
  if (out.skip) to.skip = writing<T>(*out.skip);
  const int64_t threads = torch::stable::get_num_threads();
  const std::vector<Piece> pieces = in.pieces(threads);
  // The sums of each piece have cache lines of their own.
  const auto room = [](const Piece& p) {
    return (BackwardPass<T>::count_segments(p) * 4 * p.channels + 31) / 32 * 32;
  };
  int64_t size = 0;
  for (const Piece& p : pieces) size += room(p);
  const Scratch<A> sums(size);
  std::vector<BackwardPass<T>> passes;
  passes.reserve(pieces.size());
  A* next = sums.data;
  for (const Piece& p : pieces) {
    passes.emplace_back(in.args(p), p, to, next);
    next += room(p);
  }
  run(passes, in.n, threads, a.time_parallel);
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
    forward_pieces(CpuInputs<decltype(zero)>(u, arguments, n), arguments, out);
  });
}

void backward(const Planes& u, const Arguments& arguments, const Sizes& n, const Tensor& c,
              const Tensor& grad_h, const OptionalTensor& grad_last, Gradients& out) {
  with_type(out.u.scalar_type(), [&](auto zero) {
    backward_pieces(CpuInputs<decltype(zero)>(u, arguments, n), arguments, c, grad_h, grad_last,
                    out);
  });
}

}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CPU, m) { srulight::register_operators(m); }
