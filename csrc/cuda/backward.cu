// The recurrence's transpose: each warp goes back over the chunks between saved states of its tile;
// over each it first goes forth, to have its states and forget gates.
#include "tile.h"

namespace srulight::cuda {
namespace {

constexpr int CHUNK = CHECKPOINT_STEPS, UNROLL = 4;

// What going forth leaves for going back, of one lane.
template <typename T>
struct alignas(2 * sizeof(Pack<T>)) Kept {
  Pack<T> before, f;
};

template <typename T, typename O>
__global__ void __launch_bounds__(LANES) backward(const __grid_constant__ Backward in) {
  using A = Wide<T>;
  constexpr int N = CHANNELS<T>;
  // While one chunk is worked on, the next is on its way.
  __shared__ Row<T, NUM_STREAMS> ring[2][CHUNK];
  __shared__ Kept<T> kept[CHUNK][LANES];

  const Tile<T> tile(in);
  const Reader<T, NUM_STREAMS, O::unit> reader(in, tile);
  reader.clear(ring[0], 2 * CHUNK);
  const auto fetch = [&](int64_t chunk) {
    const int64_t begin = chunk * CHUNK;
    const int64_t count = chunk < 0 ? 0 : tile.length - begin;
    reader.template fetch<CHUNK>(ring[chunk & 1], begin, count);
    __pipeline_commit();
  };
  const int64_t last = chunks(tile.length) - 1;
  fetch(last);
  fetch(last - 1);
  const auto saved = [&](int64_t chunk) {
    return tile.read(chunk < 0 ? nullptr : in.saved, tile.sequence * chunks(in.steps) + chunk, 0);
  };

  const Pack<T> v_f = tile.read(in.v, 0, 0), v_r = tile.read(in.v, 1, 0);
  const Pack<T> b_f = tile.read(in.b, 0, 0), b_r = tile.read(in.b, 1, 0);
  const Pack<T> mask = tile.read(in.mask, tile.sequence, 1);
  const A scale = static_cast<A>(in.scale);
  Pack<T> c = saved(last), grad_c = tile.read(in.grad_last, tile.sequence, 0);
  Pack<T> sum_v_f{}, sum_v_r{}, sum_b_f{}, sum_b_r{};
  const int64_t end = tile.length - 1;
  Writer<T, O::unit> to_candidate(in.grads[CANDIDATE], tile, end, false);
  Writer<T, O::unit> to_forget(in.grads[FORGET], tile, end, false);
  Writer<T, O::unit> to_reset(in.grads[RESET], tile, end, false);
  Writer<T, O::unit> to_skip(in.grads[SKIP], tile, end, false);

  const int at = tile.lane * N;
  const auto forth = [&](const Row<T, NUM_STREAMS>& row, Kept<T>& keep) {
    const Pack<T> candidate = load(row.stream[CANDIDATE] + at);
    const Pack<T> forget = load(row.stream[FORGET] + at);
    Kept<T> now{c, {}};
    for (int i = 0; i < N; ++i) {
      const Gate<A> gate(v_f.at[i], b_f.at[i]);
      now.f.at[i] = gate.template open<O::peephole>(forget.at[i], c.at[i]);
      c.at[i] = next_state(candidate.at[i], now.f.at[i], c.at[i]);
    }
    keep = now;
  };
  const auto back = [&](const Row<T, NUM_STREAMS>& row, const Kept<T>& keep) {
    const Pack<T> candidate = load(row.stream[CANDIDATE] + at);
    const Pack<T> reset = load(row.stream[RESET] + at), skip = load(row.stream[SKIP] + at);
    const Pack<T> grad_h = load(row.stream[GRAD_H] + at);
    const Kept<T> then = keep;
    Pack<T> d_candidate, d_forget, d_reset, d_skip;
    for (int i = 0; i < N; ++i) {
      const A before = then.before.at[i];
      const Gate<A> gate(v_r.at[i], b_r.at[i]);
      const A r = gate.template open<O::peephole>(reset.at[i], before);
      const StepGradient<A> grad = transposed_step<O::activation>(
          candidate.at[i], then.f.at[i], r, scale * skip.at[i], O::peephole ? v_f.at[i] : A(0),
          O::peephole ? v_r.at[i] : A(0), mask.at[i], before, c.at[i], grad_h.at[i],
          grad_c.at[i]);
      d_candidate.at[i] = grad.candidate;
      d_forget.at[i] = grad.forget;
      d_reset.at[i] = grad.reset;
      d_skip.at[i] = scale * grad.skip;
      sum_v_f.at[i] += grad.forget * before;
      sum_v_r.at[i] += grad.reset * before;
      sum_b_f.at[i] += grad.forget;
      sum_b_r.at[i] += grad.reset;
      c.at[i] = before;
    }
    to_candidate.put(d_candidate);
    to_forget.put(d_forget);
    to_reset.put(d_reset);
    to_skip.put(d_skip);
  };

  for (int64_t chunk = last; chunk >= 0; --chunk) {
    wait<1>();
    const Row<T, NUM_STREAMS>* const rows = ring[chunk & 1];
    const Pack<T> next = saved(chunk - 1);
    if (tile.length - chunk * CHUNK >= CHUNK) {
#pragma unroll UNROLL
      for (int t = 0; t < CHUNK; ++t) forth(rows[t], kept[t][tile.lane]);
#pragma unroll UNROLL
      for (int t = CHUNK - 1; t >= 0; --t) back(rows[t], kept[t][tile.lane]);
    } else {
      const int count = static_cast<int>(tile.length - chunk * CHUNK);
#pragma unroll 1
      for (int t = 0; t < count; ++t) forth(rows[t], kept[t][tile.lane]);
#pragma unroll 1
      for (int t = count - 1; t >= 0; --t) back(rows[t], kept[t][tile.lane]);
    }
    __syncwarp();
    fetch(chunk - 2);
    c = next;
  }

  tile.write(in.grad_c0, tile.sequence, grad_c);
  tile.write(in.sums, 4 * tile.sequence, sum_v_f);
  tile.write(in.sums, 4 * tile.sequence + 1, sum_v_r);
  tile.write(in.sums, 4 * tile.sequence + 2, sum_b_f);
  tile.write(in.sums, 4 * tile.sequence + 3, sum_b_r);
  for (int k = 0; k < 4; ++k) {
    Writer<T, O::unit>::clear_padding(in.grads[k], tile, in.steps);
  }
}

}  // namespace

cudaError_t run(const Backward& work, cudaStream_t stream) {
  return with_type(work.type, [&](auto* stored) {
    using T = std::remove_pointer_t<decltype(stored)>;
    return with_options<T>(work, [&](auto options) {
      return launch<T>(backward<T, decltype(options)>, work, stream);
    });
  });
}

}  // namespace srulight::cuda
