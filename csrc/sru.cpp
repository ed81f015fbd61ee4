// The operators, which check their inputs and call a backend. srulight/ops/sru.py defines their
// schemas, fake implementations and autograd formulas, which must exist without this library.
#include "sru.h"

#include <torch/csrc/stable/ops.h>

#include <array>
#include <string>
#include <tuple>
#include <vector>

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

const char* name_of(torch::headeronly::ScalarType dtype) {
  using torch::headeronly::ScalarType;
  switch (dtype) {
    case ScalarType::Float: return "float32";
    case ScalarType::Double: return "float64";
    case ScalarType::BFloat16: return "bfloat16";
    case ScalarType::Half: return "float16";
    case ScalarType::Long: return "int64";
    case ScalarType::Int: return "int32";
    default: return "another dtype";
  }
}

void expect(const char* name, const OptionalTensor& t, std::initializer_list<int64_t> sizes,
            torch::headeronly::ScalarType dtype, const Tensor& beside) {
  if (!t) return;
  bool same = t->dim() == static_cast<int64_t>(sizes.size());
  for (int64_t i = 0; same && i < t->dim(); ++i) same = t->size(i) == sizes.begin()[i];
  SRU_CHECK(same, name, " must have shape ", text(sizes), ", got ", text(t->sizes()));
  SRU_CHECK(t->scalar_type() == dtype, name, " must have dtype ", name_of(dtype), ", got ",
            name_of(t->scalar_type()));
  SRU_CHECK(t->get_device_index() == beside.get_device_index(), name,
            " must be on the device of u (or x), ", device(beside), ", got ", device(*t));
}

// Checks the arguments of a recurrence over a u of sizes n, with the dtype and device of `like`.
Sizes check(Sizes n, const Tensor& like, const Arguments& a) {
  using torch::headeronly::ScalarType;
  n.directions = a.bidirectional ? 2 : 1;
  n.hidden = n.channels / n.directions;
  SRU_CHECK(n.planes == 3 || n.planes == 4, "u must have 3 or 4 gates, got ", n.planes);
  SRU_CHECK(n.channels % n.directions == 0,
            "a bidirectional u must have an even number of channels, got ", n.channels);
  SRU_CHECK(!(a.skip && n.planes == 4),
            "skip must be None if u has a fourth gate, which is the skip");
  SRU_CHECK(a.activation >= IDENTITY && a.activation <= RELU,
            "activation must be 0 (identity), 1 (tanh) or 2 (relu), got ", a.activation);
  SRU_CHECK(a.time_parallel >= AUTOMATIC && a.time_parallel <= FORCED,
            "time_parallel must be -1 (auto), 0 (never) or 1 (always), got ", a.time_parallel);
  const ScalarType dtype = like.scalar_type();
  const bool half = dtype == ScalarType::BFloat16 || dtype == ScalarType::Half;
  SRU_CHECK(half || dtype == ScalarType::Float || dtype == ScalarType::Double,
            "u must be float32, float64, bfloat16 or float16, got ", name_of(dtype));
  const ScalarType wide = half ? ScalarType::Float : dtype;
  expect("skip", a.skip, {n.batch, n.steps, n.channels}, dtype, like);
  expect("v", a.v, {2, n.channels}, wide, like);
  expect("b", a.b, {2, n.channels}, wide, like);
  expect("c0", a.c0, {n.batch, n.channels}, wide, like);
  expect("mask", a.mask, {n.batch, n.channels}, wide, like);
  expect("lengths", a.lengths, {n.batch}, ScalarType::Long, like);
  return n;
}

Sizes check(const Tensor& u, const Arguments& a) {
  SRU_CHECK(u.dim() == 4, "u must be 4-D (batch, time, gate, channel), got ", text(u.sizes()));
  const Sizes n{
      .batch = u.size(0), .steps = u.size(1), .planes = u.size(2), .channels = u.size(3)};
  return check(n, u, a);
}

// Checks the same for the product of x (B, T, F) and weight (K * D, F), where b has D channels.
Sizes check(const Tensor& x, const Tensor& weight, const Arguments& a) {
  SRU_CHECK(x.dim() == 3, "x must be 3-D (batch, time, feature), got ", text(x.sizes()));
  SRU_CHECK(weight.dim() == 2 && a.b->dim() == 2 && a.b->size(1) > 0 &&
                weight.size(0) % a.b->size(1) == 0 && weight.size(1) == x.size(2),
            "weight must have shape (gates * channels, ", x.size(2), "), got ",
            text(weight.sizes()), " for a b of shape ", text(a.b->sizes()));
  expect("weight", weight, {weight.size(0), weight.size(1)}, x.scalar_type(), x);
  const int64_t channels = a.b->size(1);
  const Sizes n{.batch = x.size(0),
                .steps = x.size(1),
                .planes = weight.size(0) / channels,
                .channels = channels};
  return check(n, x, a);
}

Tensor packed(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }
OptionalTensor packed(const OptionalTensor& t) {
  return t ? OptionalTensor(packed(*t)) : std::nullopt;
}

Tensor with_packed_channels(const Tensor& t) {
  const int64_t last = t.dim() - 1;
  return t.size(last) <= 1 || t.stride(last) == 1 ? t : torch::stable::contiguous(t);
}

// Makes checked arguments contiguous.
void pack(Arguments& a) {
  if (a.skip) a.skip = with_packed_channels(*a.skip);
  for (OptionalTensor* t : {&a.v, &a.b, &a.c0, &a.mask, &a.lengths}) *t = packed(*t);
}

Planes planes(const Tensor& u) {
  return {.data = u.const_data_ptr(),
          .batch = u.stride(0),
          .step = u.stride(1),
          .plane = u.stride(2)};
}

Outputs outputs(const Tensor& like, const Sizes& n, const Tensor& last) {
  return {.h = torch::stable::new_empty(like, {n.batch, n.steps, n.channels}), .last = last};
}

// ---- Operators ----

std::tuple<Tensor, Tensor, Tensor> sru(
    const Tensor& u, const OptionalTensor& skip, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& c0, const OptionalTensor& mask, const OptionalTensor& lengths,
    double scale, int64_t activation, bool bidirectional, bool save, int64_t time_parallel) {
  Arguments arguments{.skip = skip, .v = v, .b = b, .c0 = c0, .mask = mask, .lengths = lengths,
                      .scale = scale, .activation = activation, .bidirectional = bidirectional,
                      .time_parallel = time_parallel};
  const Sizes n = check(u, arguments);
  pack(arguments);
  Outputs out = outputs(u, n, torch::stable::new_empty(b, {n.batch, n.channels}));
  if (save) out.c = torch::stable::new_empty(b, {n.batch, chunks(n.steps), n.channels});
  const Tensor with_rows = with_packed_channels(u);
  forward(planes(with_rows), arguments, n, out);
  return {out.h, out.last, out.c ? *out.c : torch::stable::new_empty(b, {0, 0, n.channels})};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> sru_backward(
    const Tensor& u, const OptionalTensor& skip, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& mask, const OptionalTensor& lengths, const Tensor& c,
    const Tensor& grad_h, const OptionalTensor& grad_last, double scale, int64_t activation,
    bool bidirectional, int64_t time_parallel) {
  Arguments arguments{.skip = skip, .v = v, .b = b, .mask = mask, .lengths = lengths,
                      .scale = scale, .activation = activation, .bidirectional = bidirectional,
                      .time_parallel = time_parallel};
  const Sizes n = check(u, arguments);
  const auto dtype = u.scalar_type(), wide = b.scalar_type();  // b was checked
  expect("c", c, {n.batch, chunks(n.steps), n.channels}, wide, u);
  expect("grad_h", grad_h, {n.batch, n.steps, n.channels}, dtype, u);
  expect("grad_last", grad_last, {n.batch, n.channels}, wide, u);
  pack(arguments);
  const Tensor grad_skip = torch::stable::new_empty(u, {skip ? n.batch : 0, n.steps, n.channels});
  Gradients out{
      .u = torch::stable::new_empty(u, {n.batch, n.steps, n.planes, n.channels}),
      .skip = skip ? OptionalTensor(grad_skip) : std::nullopt,
      .sums = torch::stable::new_empty(b, {n.batch, 4, n.channels}),
      .c0 = torch::stable::new_empty(b, {n.batch, n.channels})};
  const Tensor with_rows = with_packed_channels(u);
  backward(planes(with_rows), arguments, n, packed(c), with_packed_channels(grad_h),
           packed(grad_last), out);
  // The backend writes a row per sequence, or per part of one. Summing them here keeps the order of additions fixed,
  // however the work was divided among threads.
  const int64_t over_batch = 0;
  const torch::headeronly::IntHeaderOnlyArrayRef dim(&over_batch, 1);
  return {out.u, grad_skip, torch::stable::sum(out.sums, dim), out.c0};
}

// All steps of x times the transpose of weight, (B * T, K * D). Autocast leaves the out variant of
// mm alone, as it should, because the caller has chosen the dtypes.
Tensor product(const Tensor& x, Tensor weight) {
  using torch::stable::detail::from;
  const int64_t rows = x.size(0) * x.size(1);
  Tensor u = torch::stable::new_empty(x, {rows, weight.size(0)});
  std::array<StableIValue, 3> stack{from(torch::stable::reshape(x, {rows, x.size(2)})),
                                    from(torch::stable::transpose(weight, 0, 1)),
                                    from(u)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[0]);  // takes ownership of the result
  return u;
}

// With fewer rows, reordering the weight for the fused kernel takes too long.
constexpr int64_t FUSED_ROWS = 32;

// A layer whose state after the last step goes to `last`, and which keeps what backward needs if
// `save` is set.
Outputs layer(const Tensor& x, const Tensor& weight, Arguments& arguments, const Tensor& last,
              bool save = false) {
  const Sizes n = check(x, weight, arguments);
  expect("last", last, {n.batch, n.channels}, arguments.b->scalar_type(), x);
  pack(arguments);
  Outputs out = outputs(x, n, last);
  if (save) out.c = torch::stable::new_empty(last, {n.batch, chunks(n.steps), n.channels});
  const bool empty = n.channels * x.size(2) == 0;
  const bool in_chunks = arguments.time_parallel == FORCED;  // which need u of all steps
  if (!empty && !in_chunks && n.batch * n.steps >= FUSED_ROWS && fuses(x.scalar_type())) {
    if (save) out.u = torch::stable::new_empty(x, {n.batch, n.steps, n.planes, n.channels});
    fused_forward(packed(x), packed(weight), arguments, n, out);
    return out;
  }
  const Tensor u = product(x, weight);
  const int64_t step = n.planes * n.channels;
  const Planes planes{.data = u.const_data_ptr(),
                      .batch = n.steps * step,
                      .step = step,
                      .plane = n.channels};
  forward(planes, arguments, n, out);
  if (save) out.u = torch::stable::reshape(u, {n.batch, n.steps, n.planes, n.channels});
  return out;
}

std::tuple<Tensor, Tensor> sru_step(const Tensor& x, const Tensor& weight,
                                    const OptionalTensor& skip, const OptionalTensor& v,
                                    const Tensor& b, const OptionalTensor& c0, double scale,
                                    int64_t activation) {
  Arguments arguments{.skip = skip, .v = v, .b = b, .c0 = c0, .scale = scale,
                      .activation = activation};
  const Sizes n = check(x, weight, arguments);
  const Outputs out =
      layer(x, weight, arguments, torch::stable::new_empty(b, {n.batch, n.channels}));
  return {out.h, out.last};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> sru_fused(
    const Tensor& x, const Tensor& weight, const OptionalTensor& skip, const OptionalTensor& v,
    const Tensor& b, const OptionalTensor& c0, const OptionalTensor& mask,
    const OptionalTensor& lengths, double scale, int64_t activation, bool bidirectional, bool save,
    int64_t time_parallel) {
  Arguments arguments{.skip = skip, .v = v, .b = b, .c0 = c0, .mask = mask, .lengths = lengths,
                      .scale = scale, .activation = activation, .bidirectional = bidirectional,
                      .time_parallel = time_parallel};
  const Sizes n = check(x, weight, arguments);
  const Outputs out =
      layer(x, weight, arguments, torch::stable::new_empty(b, {n.batch, n.channels}), save);
  return {out.h, out.last, out.c ? *out.c : torch::stable::new_empty(b, {0, 0, n.channels}),
          out.u ? *out.u : torch::stable::new_empty(x, {0, 0, n.planes, n.channels})};
}

// Layers in a row, without gradients. Each reads the outputs of the one before it. `peepholes` is
// empty if no layer has a peephole, and a layer skips its input if `skip` is set and the sizes allow.
std::tuple<Tensor, Tensor> sru_stack(const Tensor& x, std::vector<Tensor> weights,
                                     std::vector<Tensor> peepholes, std::vector<Tensor> biases,
                                     const OptionalTensor& c0, const OptionalTensor& lengths,
                                     std::vector<double> scales, bool skip, int64_t activation,
                                     bool bidirectional) {
  const size_t count = weights.size();
  SRU_CHECK(count > 0 && biases.size() == count && scales.size() == count &&
                (peepholes.empty() || peepholes.size() == count),
            "weights, biases, scales and peepholes must have an entry for each layer, got ", count,
            ", ", biases.size(), ", ", scales.size(), " and ", peepholes.size());
  SRU_CHECK(x.dim() == 3, "x must be 3-D (batch, time, feature), got ", text(x.sizes()));
  expect("b", biases[0], {2, biases[0].size(-1)}, biases[0].scalar_type(), x);
  const int64_t layers = static_cast<int64_t>(count);
  expect("c0", c0, {layers, x.size(0), biases[0].size(1)}, biases[0].scalar_type(), x);
  Tensor h = x;
  const Tensor last =
      torch::stable::new_empty(biases[0], {layers, x.size(0), biases[0].size(1)});
  for (int64_t i = 0; i < layers; ++i) {
    const Tensor& b = biases[i];
    Arguments arguments{.v = peepholes.empty() ? std::nullopt : OptionalTensor(peepholes[i]),
                        .b = b,
                        .lengths = lengths,
                        .scale = scales[i],
                        .activation = activation,
                        .bidirectional = bidirectional};
    if (c0) arguments.c0 = torch::stable::select(*c0, 0, i);
    if (skip && b.dim() == 2 && weights[i].size(0) == 3 * b.size(1)) arguments.skip = h;
    h = layer(h, weights[i], arguments, torch::stable::select(last, 0, i)).h;
  }
  return {h, last};
}

}  // namespace

void register_operators(torch::stable::detail::StableLibrary& library) {
  library.impl("sru", TORCH_BOX(&sru));
  library.impl("sru_backward", TORCH_BOX(&sru_backward));
  library.impl("sru_step", TORCH_BOX(&sru_step));
  library.impl("sru_fused", TORCH_BOX(&sru_fused));
  library.impl("sru_stack", TORCH_BOX(&sru_stack));
}

}  // namespace srulight
