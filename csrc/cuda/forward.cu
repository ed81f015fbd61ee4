// The recurrence: each warp walks over the steps of its tile, with the state in registers.
#include "tile.h"

namespace srulight::cuda {
namespace {

// Copies run SLOTS - 1 groups of steps ahead: 28 steps of 512 bytes, more than a warp uses up in the
// time that memory takes to answer.
constexpr int GROUP = 4, SLOTS = 8;
static_assert(CHECKPOINT_STEPS % GROUP == 0);

template <typename T, typename O>
__global__ void __launch_bounds__(LANES) forward(const __grid_constant__ Forward in) {
  using A = Wide<T>;
  constexpr int N = CHANNELS<T>;
  __shared__ Row<T, 4> ring[SLOTS][GROUP];

  const Tile<T> tile(in);
  const Reader<T, 4, O::unit> reader(in, tile);
  reader.clear(ring[0], SLOTS * GROUP);
  const auto fetch = [&](int64_t begin, int slot) {
    reader.template fetch<GROUP>(ring[slot], begin, tile.length - begin);
    __pipeline_commit();
  };
#pragma unroll 1
  for (int slot = 0; slot < SLOTS - 1; ++slot) fetch(slot * GROUP, slot);

  const Pack<T> v_f = tile.read(in.v, 0, 0), v_r = tile.read(in.v, 1, 0);
  const Pack<T> b_f = tile.read(in.b, 0, 0), b_r = tile.read(in.b, 1, 0);
  const Pack<T> mask = tile.read(in.mask, tile.sequence, 1);
  const A scale = static_cast<A>(in.scale);
  Pack<T> c = tile.read(in.c0, tile.sequence, 0);
  Writer<T, O::unit> out(in.h, tile, 0, true);

  const auto step = [&](const Row<T, 4>& row) {
    const int at = tile.lane * N;
    const Pack<T> candidate = load(row.stream[CANDIDATE] + at);
    const Pack<T> forget = load(row.stream[FORGET] + at), reset = load(row.stream[RESET] + at);
    const Pack<T> skip = load(row.stream[SKIP] + at);
    Pack<T> h;
    for (int i = 0; i < N; ++i) {
      const A f = Gate<A>(v_f.at[i], b_f.at[i]).template open<O::peephole>(forget.at[i], c.at[i]);
      const A r = Gate<A>(v_r.at[i], b_r.at[i]).template open<O::peephole>(reset.at[i], c.at[i]);
      c.at[i] = next_state(candidate.at[i], f, c.at[i]);
      h.at[i] = output<O::activation>(c.at[i], scale * skip.at[i], mask.at[i] * r);
    }
    out.put(h);
  };

  int slot = 0;
  int64_t saved = tile.sequence * chunks(in.steps);
  const int64_t end_of_saved = saved + chunks(in.steps);
  for (int64_t begin = 0; begin < tile.length; begin += GROUP) {
    wait<SLOTS - 2>();
    fetch(begin + (SLOTS - 1) * GROUP, slot == 0 ? SLOTS - 1 : slot - 1);
    if (in.saved && begin % CHECKPOINT_STEPS == 0) {
      tile.write(in.saved, saved++, c);
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

  tile.write(in.last, tile.sequence, c);
  Writer<T, O::unit>::clear_padding(in.h, tile, in.steps);
  while (in.saved && saved < end_of_saved) tile.write(in.saved, saved++, Pack<T>{});
}

}  // namespace

cudaError_t run(const Forward& work, cudaStream_t stream) {
  return with_type(work.type, [&](auto* stored) {
    using T = std::remove_pointer_t<decltype(stored)>;
    return with_options<T>(work, [&](auto options) {
      return launch<T>(forward<T, decltype(options)>, work, stream);
    });
  });
}

}  // namespace srulight::cuda
