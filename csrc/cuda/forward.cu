// The forward pass of the recurrence: each warp loops over the steps of its tile and keeps the
// state in registers.
#include "tile.h"

namespace srulight::cuda {
namespace {

// Copies run SLOTS - 1 groups of steps ahead. These 28 steps of 512 bytes last a warp longer than
// the latency of memory.
constexpr int GROUP = 4, SLOTS = 8;
static_assert(CHECKPOINT_STEPS % GROUP == 0);

template <typename O>
__global__ void __launch_bounds__(WARP_LANES)
    forward_kernel(const __grid_constant__ CudaForwardArgs args) {
  using T = typename O::T;
  using A = Wide<T>;
  constexpr int N = CHANNELS<T>;
  __shared__ TileRow<T, 4> ring[SLOTS][GROUP];

  const Tile<T> tile(args);
  const Reader<T, 4, O::unit> reader(args, tile);
  reader.clear(ring[0], SLOTS * GROUP);
  const auto fetch = [&](int64_t begin, int slot) {
    reader.template fetch<GROUP>(ring[slot], begin, tile.length - begin);
    __pipeline_commit();
  };
#pragma unroll 1
  for (int slot = 0; slot < SLOTS - 1; ++slot) fetch(slot * GROUP, slot);

  const Parameters<T> p(args, tile);
  Pack<T> c = tile.read(args.c0, tile.sequence, 0);
  Writer<T, O::unit> out(args.h, tile, 0, true);

  const auto step = [&](const TileRow<T, 4>& row) {
    const int at = tile.lane * N;
    const Pack<T> candidate = load(row.stream[CANDIDATE] + at);
    const Pack<T> forget = load(row.stream[FORGET] + at), reset = load(row.stream[RESET] + at);
    const Pack<T> skip = load(row.stream[SKIP] + at);
    Pack<T> h;
    for (int i = 0; i < N; ++i) {
      const Gate<A> forget_gate(p.v_f.at[i], p.b_f.at[i]), reset_gate(p.v_r.at[i], p.b_r.at[i]);
      const A f = forget_gate.template open<O::peephole>(forget.at[i], c.at[i]);
      const A r = reset_gate.template open<O::peephole>(reset.at[i], c.at[i]);
      c.at[i] = next_state(candidate.at[i], f, c.at[i]);
      h.at[i] = output<O::activation>(c.at[i], p.scale * skip.at[i], p.mask.at[i] * r);
    }
    out.put(h);
  };

  int slot = 0;
  int64_t saved = tile.sequence * chunks(args.steps);
  const int64_t end_of_saved = saved + chunks(args.steps);
  for (int64_t begin = 0; begin < tile.length; begin += GROUP) {
    wait<SLOTS - 2>();
    fetch(begin + (SLOTS - 1) * GROUP, slot == 0 ? SLOTS - 1 : slot - 1);
    if (args.saved && begin % CHECKPOINT_STEPS == 0) {
      tile.write(args.saved, saved++, c);
    }
    if (begin + GROUP <= tile.length) {
#pragma unroll
      for (int i = 0; i < GROUP; ++i) step(ring[slot][i]);
    } else {
#pragma unroll 1
      for (int i = 0; i < tile.length - begin; ++i) step(ring[slot][i]);
    }
    slot = slot == SLOTS - 1 ? 0 : slot + 1;
  }

  tile.write(args.last, tile.sequence, c);
  Writer<T, O::unit>::clear_padding(args.h, tile, args.steps);
  while (args.saved && saved < end_of_saved) tile.write(args.saved, saved++, Pack<T>{});
}

}  // namespace

cudaError_t launch_forward(const CudaForwardArgs& args, cudaStream_t stream) {
  return with_options(args, [&](auto options) {
    using O = decltype(options);
    return launch<typename O::T>(forward_kernel<O>, args, stream);
  });
}

}  // namespace srulight::cuda
