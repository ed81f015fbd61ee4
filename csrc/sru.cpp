// Input checks of the operators. Their schemas, fake and autograd formulas are in
// srulight/ops/sru.py, so that they exist before, and without, this library.
#include "sru.h"

#include <torch/headeronly/util/Exception.h>

#include <string>

namespace srulight {
namespace {

std::string shape(const Tensor& t) {
  std::string text = "(";
  for (int64_t i = 0; i < t.dim(); ++i) text += (i ? ", " : "") + std::to_string(t.size(i));
  return text + ")";
}

void expect(const char* name, const OptionalTensor& t, std::initializer_list<int64_t> sizes,
            torch::headeronly::ScalarType dtype) {
  if (!t) return;
  bool same = t->dim() == static_cast<int64_t>(sizes.size());
  std::string expected = "(";
  int64_t i = 0;
  for (int64_t size : sizes) {
    expected += (i ? ", " : "") + std::to_string(size);
    same = same && t->size(i) == size;
    ++i;
  }
  STD_TORCH_CHECK(same, name, " must have shape ", expected, "), got ", shape(*t));
  STD_TORCH_CHECK(t->scalar_type() == dtype, name, " has the wrong dtype: x is in that of u, ",
                  "v, b, c0 and mask are float32 for half types and else in that of u, lengths ",
                  "are int64");
}

}  // namespace

Sizes check_inputs(const Tensor& u, const OptionalTensor& x, const OptionalTensor& v,
                   const Tensor& b, const OptionalTensor& c0, const OptionalTensor& mask,
                   const OptionalTensor& lengths, int64_t activation, bool bidirectional) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(u.dim() == 4, "u must be 4-D (batch, time, gate, channel), got ", shape(u));
  const Sizes n{u.size(0), u.size(1), u.size(2), u.size(3),
                bidirectional ? 2 : 1, u.size(3) / (bidirectional ? 2 : 1)};
  STD_TORCH_CHECK(n.planes == 3 || n.planes == 4, "u must have 3 or 4 gates, got ", n.planes);
  STD_TORCH_CHECK(n.channels % n.directions == 0,
                  "a bidirectional u must have an even number of channels, got ", n.channels);
  STD_TORCH_CHECK(!(x && n.planes == 4), "x and a fourth gate are both skip inputs: give one");
  STD_TORCH_CHECK(activation >= IDENTITY && activation <= RELU,
                  "activation must be 0 (identity), 1 (tanh) or 2 (relu), got ", activation);
  const ScalarType narrow = u.scalar_type();
  const ScalarType wide =
      narrow == ScalarType::BFloat16 || narrow == ScalarType::Half ? ScalarType::Float : narrow;
  expect("x", x, {n.batch, n.steps, n.channels}, narrow);
  expect("v", v, {2, n.channels}, wide);
  expect("b", b, {2, n.channels}, wide);
  expect("c0", c0, {n.batch, n.channels}, wide);
  expect("mask", mask, {n.batch, n.channels}, wide);
  expect("lengths", lengths, {n.batch}, ScalarType::Long);
  return n;
}

}  // namespace srulight
