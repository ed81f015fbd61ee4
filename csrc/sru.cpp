// Input checks of the operators. Their schemas, fake and autograd formulas are in
// srulight/ops/sru.py, so that they exist before, and without, this library.
#include "sru.h"

#include <torch/headeronly/util/Exception.h>

#include <string>

namespace srulight {
namespace {

template <typename Shape>
std::string text(const Shape& sizes) {
  std::string all;
  for (int64_t size : sizes) all += (all.empty() ? "" : ", ") + std::to_string(size);
  return "(" + all + ")";
}

void expect(const char* name, const OptionalTensor& t, std::initializer_list<int64_t> sizes,
            torch::headeronly::ScalarType dtype) {
  if (!t) return;
  bool same = t->dim() == static_cast<int64_t>(sizes.size());
  for (int64_t i = 0; same && i < t->dim(); ++i) same = t->size(i) == sizes.begin()[i];
  STD_TORCH_CHECK(same, name, " must have shape ", text(sizes), ", got ", text(t->sizes()));
  STD_TORCH_CHECK(t->scalar_type() == dtype, name, " has the wrong dtype: x, weight and skip are ",
                  "in that of u, v, b, c0 and mask are float32 for half types and else in that of ",
                  "u, lengths are int64");
}

}  // namespace

Sizes check(int64_t batch, int64_t steps, int64_t planes, int64_t channels,
            torch::headeronly::ScalarType dtype, const Arguments& a) {
  using torch::headeronly::ScalarType;
  const Sizes n{batch, steps, planes, channels, a.bidirectional ? 2 : 1,
                channels / (a.bidirectional ? 2 : 1)};
  STD_TORCH_CHECK(planes == 3 || planes == 4, "u must have 3 or 4 gates, got ", planes);
  STD_TORCH_CHECK(channels % n.directions == 0,
                  "a bidirectional u must have an even number of channels, got ", channels);
  STD_TORCH_CHECK(!(a.skip && planes == 4), "skip and a fourth gate are both skips: give one");
  STD_TORCH_CHECK(a.activation >= IDENTITY && a.activation <= RELU,
                  "activation must be 0 (identity), 1 (tanh) or 2 (relu), got ", a.activation);
  const ScalarType wide =
      dtype == ScalarType::BFloat16 || dtype == ScalarType::Half ? ScalarType::Float : dtype;
  expect("skip", a.skip, {batch, steps, channels}, dtype);
  expect("v", a.v, {2, channels}, wide);
  expect("b", a.b, {2, channels}, wide);
  expect("c0", a.c0, {batch, channels}, wide);
  expect("mask", a.mask, {batch, channels}, wide);
  expect("lengths", a.lengths, {batch}, ScalarType::Long);
  return n;
}

Sizes check(const Tensor& u, const Arguments& a) {
  STD_TORCH_CHECK(u.dim() == 4, "u must be 4-D (batch, time, gate, channel), got ", text(u.sizes()));
  return check(u.size(0), u.size(1), u.size(2), u.size(3), u.scalar_type(), a);
}

Sizes check(const Tensor& x, const Tensor& weight, const Arguments& a) {
  STD_TORCH_CHECK(x.dim() == 3, "x must be 3-D (batch, time, feature), got ", text(x.sizes()));
  STD_TORCH_CHECK(weight.dim() == 2 && a.b.dim() == 2 && a.b.size(1) > 0 &&
                      weight.size(0) % a.b.size(1) == 0 && weight.size(1) == x.size(2),
                  "weight must have shape (gates * channels, ", x.size(2), "), got ",
                  text(weight.sizes()), ", where b (2, channels) is ", text(a.b.sizes()));
  expect("weight", weight, {weight.size(0), weight.size(1)}, x.scalar_type());
  const int64_t channels = a.b.size(1);
  return check(x.size(0), x.size(1), weight.size(0) / channels, channels, x.scalar_type(), a);
}

}  // namespace srulight
