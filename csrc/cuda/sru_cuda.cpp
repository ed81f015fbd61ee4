// The GPU backend: forward and backward on tensors, on the current stream.
#include "../sru.h"
#include "kernels.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

namespace srulight {
namespace {

using namespace cuda;
using torch::headeronly::ScalarType;

Type type_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return Type::FLOAT;
    case ScalarType::Double: return Type::DOUBLE;
    case ScalarType::BFloat16: return Type::BFLOAT16;
    default: return Type::HALF;
  }
}

// Describes a tensor to the kernels: untyped, with strides in bytes.
CudaSequences sequences(const void* data, int64_t batch, int64_t step, Type type) {
  return {.data = static_cast<char*>(const_cast<void*>(data)),
          .batch = batch * bytes(type),
          .step = step * bytes(type)};
}
CudaSequences reading(const Tensor& t, Type type) {
  return sequences(t.const_data_ptr(), t.stride(0), t.stride(1), type);
}
CudaSequences writing(Tensor& t, Type type) {
  return sequences(t.mutable_data_ptr(), t.stride(0), t.stride(1), type);
}
// Moves the start of a tensor by some channels, to another plane of u or of its gradient.
CudaSequences moved(CudaSequences s, int64_t channels, Type type) {
  s.data += channels * bytes(type);
  return s;
}

// The data of a contiguous tensor, or null.
const void* numbers(const OptionalTensor& t) { return t ? t->const_data_ptr() : nullptr; }

// The largest power of two that divides `before` and the address of every row.
int64_t alignment(int64_t before, const CudaSequences& s) {
  const int64_t all = before | reinterpret_cast<intptr_t>(s.data) | s.batch | s.step;
  return all & -all;
}

// The inputs that forward and backward share.
CudaArgs cuda_args(const Planes& u, const Arguments& a, const Sizes& n, Type type) {
  CudaArgs args{.type = type,
                .activation = a.activation,
                .batch = n.batch,
                .steps = n.steps,
                .directions = n.directions,
                .hidden = n.hidden,
                .streams = {},
                .v = numbers(a.v),
                .b = numbers(a.b),
                .mask = numbers(a.mask),
                .lengths = static_cast<const int64_t*>(numbers(a.lengths)),
                .scale = a.skip ? a.scale : 1.0,
                // The operators allocate contiguous tensors, so only the size of a row limits
                // their alignment.
                .alignment = alignment(16, {nullptr, 0, n.hidden * bytes(type)})};
  const CudaSequences all = sequences(u.data, u.batch, u.step, type);
  for (int64_t k = 0; k < n.planes; ++k) args.streams[k] = moved(all, k * u.plane, type);
  if (a.skip) args.streams[SKIP] = reading(*a.skip, type);
  for (const CudaSequences& s : args.streams) args.alignment = alignment(args.alignment, s);
  return args;
}

template <typename Args>
void run(cudaError_t (*launch)(const Args&, cudaStream_t), const Args& args, const Tensor& on) {
  const int32_t device = on.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  void* stream;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  const cudaError_t error = launch(args, static_cast<cudaStream_t>(stream));
  SRU_CHECK(error == cudaSuccess, "the CUDA kernel could not be launched: ",
            cudaGetErrorString(error));
}

}  // namespace

void forward(const Planes& u, const Arguments& arguments, const Sizes& n, Outputs& out) {
  const Type type = type_of(out.h);
  CudaForwardArgs args{cuda_args(u, arguments, n, type)};
  args.c0 = numbers(arguments.c0);
  args.h = writing(out.h, type);
  args.last = out.last.mutable_data_ptr();
  args.saved = out.c ? out.c->mutable_data_ptr() : nullptr;
  run(launch_forward, args, out.h);
}

void backward(const Planes& u, const Arguments& arguments, const Sizes& n, const Tensor& c,
              const Tensor& grad_h, const OptionalTensor& grad_last, Gradients& out) {
  const Type type = type_of(out.u);
  CudaBackwardArgs args{cuda_args(u, arguments, n, type)};
  args.streams[GRAD_H] = reading(grad_h, type);
  args.saved = c.const_data_ptr();
  args.grad_last = numbers(grad_last);
  const CudaSequences grad_u = writing(out.u, type);
  for (int64_t k = 0; k < n.planes; ++k) {
    args.grads[k] = moved(grad_u, k * out.u.stride(2), type);
  }
  if (out.skip) args.grads[SKIP] = writing(*out.skip, type);
  args.sums = out.sums.mutable_data_ptr();
  args.grad_c0 = out.c0.mutable_data_ptr();
  args.alignment = alignment(args.alignment, args.streams[GRAD_H]);
  run(launch_backward, args, out.u);
}

}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CUDA, m) { srulight::register_operators(m); }
