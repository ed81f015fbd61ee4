// The GPU backend: forward and backward on tensors, on the current stream.
#include "../sru.h"
#include "kernels.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>

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

// The plan of all passes that chunks support and whose caller leaves the choice to srulight, and
// where they note what they did. Until the rule that chooses chunks has been measured on a GPU, these
// passes process all steps in order, except in tests.
std::optional<Plan> forced = Plan{};
int* swept = nullptr;

constexpr int64_t FORCED_CHUNK = 128;

// The devices that have processed chunks, so that reading their counters touches no other device.
constexpr int MAX_DEVICES = 64;
std::atomic<bool> counting[MAX_DEVICES];

// Plans the work on the current device.
Plan plan_for(Plan (*plan)(const CudaArgs&, int), const CudaArgs& args, int64_t time_parallel) {
  if (time_parallel == FORBIDDEN) return {};
  int device = 0, multiprocessors = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device) !=
          cudaSuccess) {
    return {};
  }
  if (time_parallel == FORCED) {
    Plan found = plan(args, multiprocessors);
    if (found.chunk == 0 && supports_chunks(args)) found.chunk = FORCED_CHUNK;
    return found;
  }
  if (!forced) return plan(args, multiprocessors);
  return supports_chunks(args) ? *forced : Plan{};
}

// Allocates the board of a plan, and notes that the device counts.
Tensor board(const CudaArgs& args, const Plan& plan, const Tensor& wide) {
  const int64_t numbers = (board_bytes(args, plan) + 3) / 4;
  const int device = wide.get_device_index();
  counting[device < 0 ? 0 : device % MAX_DEVICES] = true;
  return torch::stable::new_empty(wide, {numbers});
}

template <typename Launch>
void run(const Tensor& on, const Launch& launch) {
  const int32_t device = on.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  void* stream;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  const cudaError_t error = launch(static_cast<cudaStream_t>(stream));
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
  run(out.h, [&](cudaStream_t stream) {
    const Plan plan = plan_for(plan_forward, args, arguments.time_parallel);
    if (plan.chunk == 0) return launch_forward(args, stream);
    const Tensor kept = board(args, plan, out.last);
    OptionalTensor c;  // the kernels compare states with those that they have saved
    if (!out.c) {
      c = torch::stable::new_empty(out.last, {n.batch, chunks(n.steps), n.channels});
      args.saved = c->mutable_data_ptr();
    }
    return launch_chunked_forward({args, plan, kept.mutable_data_ptr(), swept, 0, 0, nullptr}, stream);
  });
}

bool fuses(ScalarType) { return false; }
void fused_forward(const Tensor&, const Tensor&, const Arguments&, const Sizes&, Outputs&) {}

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
  args.grad_c0 = out.c0.mutable_data_ptr();
  args.alignment = alignment(args.alignment, args.streams[GRAD_H]);
  run(out.u, [&](cudaStream_t stream) {
    const Plan plan = plan_for(plan_backward, args, arguments.time_parallel);
    if (plan.chunk == 0) {
      args.sums = out.sums.mutable_data_ptr();
      return launch_backward(args, stream);
    }
    const Tensor kept = board(args, plan, out.c0);
    const int64_t count = (n.steps + plan.chunk - 1) / plan.chunk;
    out.sums = torch::stable::new_empty(out.sums, {n.batch * count, 4, n.channels});
    args.sums = out.sums.mutable_data_ptr();
    return launch_chunked_backward({args, plan, kept.mutable_data_ptr(), swept, 0, 0, nullptr}, stream);
  });
}

}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CUDA, m) { srulight::register_operators(m); }

extern "C" {
// Read by reports and tests: the counters, summed over all devices. It waits for the devices that
// have processed chunks, and for no other.
__attribute__((visibility("default"))) void srulight_time_counters(int64_t* to) {
  using namespace srulight;
  std::fill_n(to, NUM_COUNTERS, 0);
  int current = 0;
  if (cudaGetDevice(&current) != cudaSuccess) return;
  for (int device = 0; device < MAX_DEVICES; ++device) {
    if (!counting[device]) continue;
    Counted* from = nullptr;
    Counted found[NUM_COUNTERS];
    if (cudaSetDevice(device) == cudaSuccess && counters(&from) == cudaSuccess &&
        cudaDeviceSynchronize() == cudaSuccess &&
        cudaMemcpy(found, from, sizeof(found), cudaMemcpyDeviceToHost) == cudaSuccess) {
      for (int i = 0; i < NUM_COUNTERS; ++i) to[i] += static_cast<int64_t>(found[i]);
    }
  }
  cudaSetDevice(current);
}

// For tests. All passes that chunks of time support use this plan, unless their caller forces or
// forbids chunks. With a chunk of 0 steps, they
// process all sequences in order; with a negative number, they plan again. `noted`, if it is not
// null, receives the number of steps of each chunk in each launch; see `swept` in kernels.h.
__attribute__((visibility("default"))) void srulight_force_plan(int64_t chunk, int64_t warmup,
                                                                int rounds, float tolerance,
                                                                int* noted) {
  srulight::forced.reset();
  if (chunk >= 0) srulight::forced = srulight::cuda::Plan{chunk, warmup, rounds, tolerance};
  srulight::swept = noted;
}
}
