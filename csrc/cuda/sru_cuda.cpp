// The kernels of the GPU on tensors, on the current stream.
#include "../sru.h"
#include "kernels.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/ops.h>

#include <deque>
#include <utility>

namespace srulight {
namespace {

using cuda::Sequences;
using cuda::Type;
using torch::headeronly::ScalarType;

Type type_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return Type::FLOAT;
    case ScalarType::Double: return Type::DOUBLE;
    case ScalarType::BFloat16: return Type::BFLOAT16;
    case ScalarType::Half: return Type::HALF;
    default: refuse("u must be float32, float64, bfloat16 or float16");
  }
}

// As the kernels want it: in bytes, without a type, and whether they read or write.
Sequences sequences(const void* data, int64_t batch, int64_t step, int64_t offset, Type type) {
  const int64_t size = cuda::bytes(type);
  char* const start = static_cast<char*>(const_cast<void*>(data));
  return {start + offset * size, batch * size, step * size};
}
Sequences reading(const Tensor& t, Type type) {
  return sequences(t.const_data_ptr(), t.stride(0), t.stride(1), 0, type);
}
Sequences writing(Tensor& t, Type type, int64_t offset = 0) {
  return sequences(t.mutable_data_ptr(), t.stride(0), t.stride(1), offset, type);
}

// The largest power of two, 16 at most, that divides `before` and where rows start.
int64_t alignment(int64_t before, const Sequences& s) {
  const int64_t all = before | reinterpret_cast<intptr_t>(s.data) | s.batch | s.step;
  return all & -all;
}

// What forward and backward read alike.
class Reading {
 public:
  Reading(const Planes& u, const Arguments& a, const Sizes& n, Type type) {
    for (int64_t k = 0; k < n.planes; ++k) {
      inputs.streams[k] = sequences(u.data, u.batch, u.step, k * u.plane, type);
    }
    if (a.skip) inputs.streams[cuda::SKIP] = reading(keep(with_packed_channels(*a.skip)), type);
    inputs.type = type;
    inputs.activation = a.activation;
    inputs.batch = n.batch;
    inputs.steps = n.steps;
    inputs.directions = n.directions;
    inputs.hidden = n.hidden;
    inputs.v = packed(a.v);
    inputs.b = packed(a.b);
    inputs.mask = packed(a.mask);
    inputs.lengths = static_cast<const int64_t*>(packed(a.lengths));
    inputs.scale = a.skip ? a.scale : 1.0;
    // What the operators allocate is packed, and so as well aligned as rows of this size can be.
    inputs.alignment = alignment(16, {nullptr, 0, n.hidden * cuda::bytes(type)});
    for (const Sequences& s : inputs.streams) inputs.alignment = alignment(inputs.alignment, s);
  }

  const void* packed(const OptionalTensor& t) {
    return t ? keep(torch::stable::contiguous(*t)).const_data_ptr() : nullptr;
  }

  cuda::Inputs inputs;

 private:
  const Tensor& keep(Tensor t) { return kept_.emplace_back(std::move(t)); }
  std::deque<Tensor> kept_;  // what the pointers point into
};

template <typename Work>
void run(const Work& work, const Tensor& on) {
  const int32_t device = on.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  void* stream;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  const cudaError_t error = cuda::run(work, static_cast<cudaStream_t>(stream));
  SRU_CHECK(error == cudaSuccess, "srulight's CUDA kernel could not be started: ",
            cudaGetErrorString(error));
}

}  // namespace

void forward(const Planes& u, const Arguments& arguments, const Sizes& n, Outputs& out) {
  const Type type = type_of(out.h);
  Reading in(u, arguments, n, type);
  cuda::Forward work{in.inputs};
  work.c0 = in.packed(arguments.c0);
  work.h = writing(out.h, type);
  work.last = out.last.mutable_data_ptr();
  work.saved = out.c ? out.c->mutable_data_ptr() : nullptr;
  run(work, out.h);
}

void backward(const Planes& u, const Arguments& arguments, const Sizes& n, const Tensor& c,
              const Tensor& grad_h, const OptionalTensor& grad_last, Gradients& out) {
  const Type type = type_of(out.u);
  Reading in(u, arguments, n, type);
  cuda::Backward work{in.inputs};
  work.streams[cuda::GRAD_H] = reading(grad_h, type);
  work.saved = c.const_data_ptr();
  work.grad_last = in.packed(grad_last);
  for (int64_t k = 0; k < n.planes; ++k) {
    work.grads[k] = writing(out.u, type, k * out.u.stride(2));
  }
  if (out.skip) work.grads[cuda::SKIP] = writing(*out.skip, type);
  work.sums = out.sums.mutable_data_ptr();
  work.grad_c0 = out.c0.mutable_data_ptr();
  work.alignment = alignment(work.alignment, work.streams[cuda::GRAD_H]);
  run(work, out.u);
}

}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CUDA, m) { srulight::register_operators(m); }
