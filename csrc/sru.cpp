// The operators around a backend's kernels. Their schemas, fake and autograd formulas are in
// srulight/ops/sru.py, so that they exist before, and without, this library.
#include "sru.h"

#include <torch/csrc/stable/ops.h>

#include <array>
#include <string>
#include <tuple>

namespace srulight {
namespace {

template <typename Shape>
std::string text(const Shape& sizes) {
  std::string all;
  for (int64_t size : sizes) all += (all.empty() ? "" : ", ") + std::to_string(size);
  return "(" + all + ")";
}

std::string device(const Tensor& t) {
  return t.is_cpu() ? "cpu" : "cuda:" + std::to_string(t.get_device_index());
}

void expect(const char* name, const OptionalTensor& t, std::initializer_list<int64_t> sizes,
            torch::headeronly::ScalarType dtype, const Tensor& beside) {
  if (!t) return;
  bool same = t->dim() == static_cast<int64_t>(sizes.size());
  for (int64_t i = 0; same && i < t->dim(); ++i) same = t->size(i) == sizes.begin()[i];
  SRU_CHECK(same, name, " must have shape ", text(sizes), ", got ", text(t->sizes()));
  SRU_CHECK(t->scalar_type() == dtype, name, " has the wrong dtype: x, weight, skip and grad_h ",
            "are in that of u, v, b, c0, mask, c and grad_last are float32 for half types and else ",
            "in that of u, lengths are int64");
  SRU_CHECK(t->get_device_index() == beside.get_device_index(), name,
            " must be on the device of u (or x), ", device(beside), ", got ", device(*t));
}

// u has sizes (B, T, K, D), and the type and device of `like`.
Sizes check(int64_t batch, int64_t steps, int64_t planes, int64_t channels, const Tensor& like,
            const Arguments& a) {
  using torch::headeronly::ScalarType;
  const Sizes n{batch, steps, planes, channels, a.bidirectional ? 2 : 1,
                channels / (a.bidirectional ? 2 : 1)};
  SRU_CHECK(planes == 3 || planes == 4, "u must have 3 or 4 gates, got ", planes);
  SRU_CHECK(channels % n.directions == 0,
            "a bidirectional u must have an even number of channels, got ", channels);
  SRU_CHECK(!(a.skip && planes == 4), "skip and a fourth gate are both skips: give one");
  SRU_CHECK(a.activation >= IDENTITY && a.activation <= RELU,
            "activation must be 0 (identity), 1 (tanh) or 2 (relu), got ", a.activation);
  const ScalarType dtype = like.scalar_type();
  const ScalarType wide =
      dtype == ScalarType::BFloat16 || dtype == ScalarType::Half ? ScalarType::Float : dtype;
  expect("skip", a.skip, {batch, steps, channels}, dtype, like);
  expect("v", a.v, {2, channels}, wide, like);
  expect("b", a.b, {2, channels}, wide, like);
  expect("c0", a.c0, {batch, channels}, wide, like);
  expect("mask", a.mask, {batch, channels}, wide, like);
  expect("lengths", a.lengths, {batch}, ScalarType::Long, like);
  return n;
}

Sizes check(const Tensor& u, const Arguments& a) {
  SRU_CHECK(u.dim() == 4, "u must be 4-D (batch, time, gate, channel), got ", text(u.sizes()));
  return check(u.size(0), u.size(1), u.size(2), u.size(3), u, a);
}

// The same for the product of x (B, T, F) and weight (K * D, F); D is that of b.
Sizes check(const Tensor& x, const Tensor& weight, const Arguments& a) {
  SRU_CHECK(x.dim() == 3, "x must be 3-D (batch, time, feature), got ", text(x.sizes()));
  SRU_CHECK(weight.dim() == 2 && a.b.dim() == 2 && a.b.size(1) > 0 &&
                weight.size(0) % a.b.size(1) == 0 && weight.size(1) == x.size(2),
            "weight must have shape (gates * channels, ", x.size(2), "), got ",
            text(weight.sizes()), ", where b (2, channels) is ", text(a.b.sizes()));
  expect("weight", weight, {weight.size(0), weight.size(1)}, x.scalar_type(), x);
  const int64_t channels = a.b.size(1);
  return check(x.size(0), x.size(1), weight.size(0) / channels, channels, x, a);
}

Planes planes(const Tensor& u) {
  return {u.const_data_ptr(), u.stride(0), u.stride(1), u.stride(2)};
}

Outputs outputs(const Tensor& like, const Tensor& wide, const Sizes& n) {
  return {torch::stable::new_empty(like, {n.batch, n.steps, n.channels}),
          torch::stable::new_empty(wide, {n.batch, n.channels}), std::nullopt};
}

// ---- the operators ----

std::tuple<Tensor, Tensor, Tensor> sru(
    const Tensor& u, const OptionalTensor& skip, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& c0, const OptionalTensor& mask, const OptionalTensor& lengths,
    double scale, int64_t activation, bool bidirectional, bool save) {
  const Arguments arguments{skip, v, b, c0, mask, lengths, scale, activation, bidirectional};
  const Sizes n = check(u, arguments);
  Outputs out = outputs(u, b, n);
  if (save) out.c = torch::stable::new_empty(b, {n.batch, chunks(n.steps), n.channels});
  const Tensor packed = with_packed_channels(u);
  forward(planes(packed), arguments, n, out);
  return {out.h, out.last, out.c ? *out.c : torch::stable::new_empty(b, {0, 0, n.channels})};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> sru_backward(
    const Tensor& u, const OptionalTensor& skip, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& mask, const OptionalTensor& lengths, const Tensor& c,
    const Tensor& grad_h, const OptionalTensor& grad_last, double scale, int64_t activation,
    bool bidirectional) {
  const OptionalTensor none;
  const Arguments arguments{skip, v, b, none, mask, lengths, scale, activation, bidirectional};
  const Sizes n = check(u, arguments);
  const auto dtype = u.scalar_type(), wide = b.scalar_type();  // of b, which is checked
  expect("c", c, {n.batch, chunks(n.steps), n.channels}, wide, u);
  expect("grad_h", grad_h, {n.batch, n.steps, n.channels}, dtype, u);
  expect("grad_last", grad_last, {n.batch, n.channels}, wide, u);
  OptionalTensor last;
  if (grad_last) last = torch::stable::contiguous(*grad_last);
  const Tensor grad_skip = torch::stable::new_empty(u, {skip ? n.batch : 0, n.steps, n.channels});
  Gradients out{torch::stable::new_empty(u, {n.batch, n.steps, n.planes, n.channels}),
                skip ? OptionalTensor(grad_skip) : std::nullopt,
                torch::stable::new_empty(b, {n.batch, 4, n.channels}),
                torch::stable::new_empty(b, {n.batch, n.channels})};
  const Tensor packed = with_packed_channels(u);
  backward(planes(packed), arguments, n, torch::stable::contiguous(c),
           with_packed_channels(grad_h), last, out);
  // One row a sequence, so that the sum over sequences has one order, whatever ran side by side.
  const int64_t over_batch = 0;
  const torch::headeronly::IntHeaderOnlyArrayRef dim(&over_batch, 1);
  return {out.u, grad_skip, torch::stable::sum(out.sums, dim), out.c0};
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

std::tuple<Tensor, Tensor> sru_step(const Tensor& x, const Tensor& weight,
                                    const OptionalTensor& skip, const OptionalTensor& v,
                                    const Tensor& b, const OptionalTensor& c0, double scale,
                                    int64_t activation) {
  const OptionalTensor none;
  const Arguments arguments{skip, v, b, c0, none, none, scale, activation, false};
  const Sizes n = check(x, weight, arguments);
  Outputs out = outputs(x, b, n);
  const Tensor u = product(x, weight);
  const int64_t step = n.planes * n.channels;
  forward({u.const_data_ptr(), n.steps * step, step, n.channels}, arguments, n, out);
  return {out.h, out.last};
}

}  // namespace

Tensor with_packed_channels(const Tensor& t) {
  const int64_t last = t.dim() - 1;
  return t.size(last) <= 1 || t.stride(last) == 1 ? t : torch::stable::contiguous(t);
}

void register_operators(torch::stable::detail::StableLibrary& library) {
  library.impl("sru", TORCH_BOX(&sru));
  library.impl("sru_backward", TORCH_BOX(&sru_backward));
  library.impl("sru_step", TORCH_BOX(&sru_step));
}

}  // namespace srulight
