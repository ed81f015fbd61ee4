// When and how to split sequences into chunks of time.
#include "chunks.h"

#include <algorithm>

namespace srulight::cuda {

__device__ Counted counted[NUM_COUNTERS];

cudaError_t counters(Counted** found) {
  return cudaGetSymbolAddress(reinterpret_cast<void**>(found), counted);
}

namespace {

// A pass either waits for the chain of dependent instructions of one warp, or for the memory. The
// chain takes a fixed time per step; the more warps there are, the more of it is hidden. Chunks
// therefore help where there are too few tiles to keep the memory busy.
struct Cost {
  double bytes;        // read and written per number
  double ns_per_step;  // of a warp that runs alone
  int resident;        // warps of a multiprocessor, as many as its shared memory holds
};
constexpr double BYTES_PER_NS = 30;  // of one multiprocessor
constexpr double LAUNCHES_NS = 12000;
constexpr int64_t MIN_CHUNK = 128;  // the steps before a chunk then cost little

int64_t tiles_of(const CudaArgs& args) {
  return args.type == Type::FLOAT ? number_of_tiles<float>(args)
                                  : number_of_tiles<__nv_bfloat16>(args);
}

// The chunks are the shortest that all run at the same time.
Plan plan(const CudaArgs& args, int multiprocessors, const Cost& cost) {
  Plan plan;
  const int64_t tiles = tiles_of(args);
  if (!supports_chunks(args) || tiles == 0 || multiprocessors <= 0) return plan;
  const int64_t slots = static_cast<int64_t>(multiprocessors) * cost.resident;
  const int64_t per_tile = slots / tiles;  // chunks of a sequence that run at the same time
  if (per_tile < 2) return plan;
  const int64_t steps = (args.steps + per_tile - 1) / per_tile;
  const int64_t rows = (std::max(steps, MIN_CHUNK) + CHECKPOINT_STEPS - 1) / CHECKPOINT_STEPS;
  plan.chunk = rows * CHECKPOINT_STEPS;
  const double memory = cost.bytes * static_cast<double>(args.batch * args.steps) *
                        static_cast<double>(args.directions * args.hidden) /
                        (BYTES_PER_NS * multiprocessors);
  const double in_order = std::max(args.steps * cost.ns_per_step, memory);
  const double warmup = static_cast<double>(plan.warmup);
  const double in_chunks =
      LAUNCHES_NS + std::max((plan.chunk + warmup) * cost.ns_per_step,
                             memory * (1 + warmup / static_cast<double>(plan.chunk)));
  if (in_chunks > 0.8 * in_order) plan.chunk = 0;
  return plan;
}

}  // namespace

bool supports_chunks(const CudaArgs& args) {
  if (args.type == Type::DOUBLE || args.steps == 0 || args.steps > INT32_MAX) return false;
  return args.type == Type::FLOAT || args.alignment % 4 == 0;  // not number by number
}

Plan plan_forward(const CudaArgs& args, int multiprocessors) {
  const double size = static_cast<double>(bytes(args.type));
  Plan best = plan(args, multiprocessors, {5 * size, 80, 13});
  if (!args.v) best.rounds = 2;  // one correction is exact but for rounding
  return best;
}
Plan plan_backward(const CudaArgs& args, int multiprocessors) {
  const double size = static_cast<double>(bytes(args.type));
  return plan(args, multiprocessors, {9 * size, 150, 7});
}

int64_t board_bytes(const CudaArgs& args, const Plan& plan) {
  const int64_t tiles = tiles_of(args), count = count_chunks(plan, args.steps);
  return args.type == Type::FLOAT ? Board<float>::bytes(tiles, count)
                                  : Board<__nv_bfloat16>::bytes(tiles, count);
}

}  // namespace srulight::cuda
