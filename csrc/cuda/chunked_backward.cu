// The backward pass, parallel over chunks of time.
//
// Given the states, the gradient of a state is linear in that of the next one. The first launch
// processes every chunk from a guess, the result of some steps after it, and writes everything. The
// second one computes the right starts, exactly but for rounding, and processes again those chunks
// that were wrong.
#include "chunks.h"

namespace srulight::cuda {
namespace {

constexpr int BLOCK = CHECKPOINT_STEPS, UNROLL = 4;

// What one lane keeps of a step between recomputing it and going back over it.
template <typename T>
struct alignas(2 * sizeof(Pack<T>)) Kept {
  Pack<T> before, f;
};

// One lane's walk over a block of steps: it recomputes states and forget gates, then goes back.
template <typename O>
class Walk {
  using T = typename O::T;
  using A = Wide<T>;
  static constexpr int N = CHANNELS<T>;

 public:
  Pack<T> c;       // the state at the current step
  Pack<T> grad_c;  // its gradient
  Pack<T> product, sum_v_f, sum_v_r, sum_b_f, sum_b_r;
  bool writing = false;

  // The chunk ends before step `stop`.
  SRU_DEVICE Walk(const CudaBackwardArgs& args, const Tile<T>& tile, int64_t stop)
      : p_(args, tile),
        to_candidate_(args.grads[CANDIDATE], tile, stop - 1, false),
        to_forget_(args.grads[FORGET], tile, stop - 1, false),
        to_reset_(args.grads[RESET], tile, stop - 1, false),
        to_skip_(args.grads[SKIP], tile, stop - 1, false),
        at_(tile.at) {}

  // Begins to write gradients and to add up sums.
  SRU_DEVICE void start() {
    writing = true;
    sum_v_f = sum_v_r = sum_b_f = sum_b_r = Pack<T>{};
    for (int i = 0; i < N; ++i) product.at[i] = 1;
  }

  SRU_DEVICE void recompute(const TileRow<T, NUM_STREAMS>& row, Kept<T>& keep) {
    const Pack<T> candidate = load(row.stream[CANDIDATE] + at_);
    const Pack<T> forget = load(row.stream[FORGET] + at_);
    Kept<T> now{c, {}};
    for (int i = 0; i < N; ++i) {
      const Gate<A> gate(p_.v_f.at[i], p_.b_f.at[i]);
      now.f.at[i] = gate.template open<O::peephole>(forget.at[i], c.at[i]);
      c.at[i] = next_state(candidate.at[i], now.f.at[i], c.at[i]);
    }
    keep = now;
  }

  SRU_DEVICE void go_back(const TileRow<T, NUM_STREAMS>& row, const Kept<T>& keep) {
    const Pack<T> candidate = load(row.stream[CANDIDATE] + at_);
    const Pack<T> reset = load(row.stream[RESET] + at_), skip = load(row.stream[SKIP] + at_);
    const Pack<T> grad_h = load(row.stream[GRAD_H] + at_);
    const Kept<T> then = keep;
    Pack<T> d_candidate, d_forget, d_reset, d_skip;
    for (int i = 0; i < N; ++i) {
      const A before = then.before.at[i], f = then.f.at[i];
      const A v_f = O::peephole ? p_.v_f.at[i] : A(0), v_r = O::peephole ? p_.v_r.at[i] : A(0);
      const Gate<A> gate(p_.v_r.at[i], p_.b_r.at[i]);
      const A r = gate.template open<O::peephole>(reset.at[i], before);
      const StepGradient<A> grad = transposed_step<O::activation>(
          candidate.at[i], f, r, p_.scale * skip.at[i], v_f, v_r, p_.mask.at[i], before, c.at[i],
          grad_h.at[i], grad_c.at[i]);
      d_candidate.at[i] = grad.candidate;
      d_forget.at[i] = grad.forget;
      d_reset.at[i] = grad.reset;
      d_skip.at[i] = p_.scale * grad.skip;
      sum_v_f.at[i] += grad.forget * before;
      sum_v_r.at[i] += grad.reset * before;
      sum_b_f.at[i] += grad.forget;
      sum_b_r.at[i] += grad.reset;
      product.at[i] *= state_derivative<O::peephole>(candidate.at[i], f, v_f, before);
      c.at[i] = before;
    }
    if (writing) {
      to_candidate_.put(d_candidate);
      to_forget_.put(d_forget);
      to_reset_.put(d_reset);
      to_skip_.put(d_skip);
    }
  }

 private:
  const Parameters<T> p_;
  Writer<T, O::unit> to_candidate_, to_forget_, to_reset_, to_skip_;
  const int at_;
};

template <typename O>
__global__ void __launch_bounds__(WARP_LANES)
    chunked_backward_kernel(const __grid_constant__ ChunkedBackwardArgs args) {
  using T = typename O::T;
  // One block of steps is processed while the next one is being copied.
  __shared__ TileRow<T, NUM_STREAMS> ring[2][BLOCK];
  __shared__ Kept<T> kept[BLOCK][WARP_LANES];

  const Plan& plan = args.plan;
  const bool guessing = args.round == 0;
  const unsigned tiles = static_cast<unsigned>(number_of_tiles<T>(args));
  const int64_t count = args.count;
  const unsigned index = blockIdx.x % tiles;
  const int64_t chunk = blockIdx.x / tiles;
  const Tile<T> tile(args, index);
  const Board<T> board(args.board, tiles, count, index, tile.lane, args.round);
  const int64_t begin = chunk * plan.chunk, whole = min(begin + plan.chunk, args.steps);
  const int64_t stop = min(whole, tile.length);
  const int64_t sums = 4 * (tile.sequence * count + chunk);
  if (guessing) {
    for (int k = 0; k < 4; ++k) clear_steps<T, O::unit>(args.grads[k], tile, begin, whole);
    if (stop <= begin) {  // no real steps
      for (int k = 0; k < 4; ++k) tile.write(args.sums, sums + k, Pack<T>{});
      if (chunk == 0) {
        tile.write(args.grad_c0, tile.sequence, tile.read(args.grad_last, tile.sequence, 0));
      }
      return;
    }
  }
  if (stop <= begin) return;

  int64_t from = stop;
  Pack<T> start, scale{};
  if (guessing) {
    from = min(stop + plan.warmup, tile.length);
    start = tile.read(from == tile.length ? args.grad_last : nullptr, tile.sequence, 0);
  } else {
    if (stop == tile.length) return;
    // Steps are fewer than 2^31. A division of 64-bit numbers would take longer.
    const int64_t last_chunk =
        static_cast<unsigned>(tile.length - 1) / static_cast<unsigned>(plan.chunk);
    start = board.template expected<false>(chunk, -1, last_chunk);
    if (same(start, board.get(START, chunk), board.scale(chunk), plan.tolerance)) return;
  }

  const Reader<T, NUM_STREAMS, O::unit> reader(args, tile);
  reader.clear(ring[0], 2 * BLOCK);
  const int64_t first = begin / BLOCK, last = chunks(from) - 1, mine = chunks(stop) - 1;
  const auto fetch = [&](int64_t block) {
    const int64_t steps = block < first ? 0 : tile.length - block * BLOCK;
    reader.template fetch<BLOCK>(ring[block & 1], block * BLOCK, steps);
    __pipeline_commit();
  };
  fetch(last);
  fetch(last - 1);
  const auto saved = [&](int64_t block) {
    return tile.read(block < first ? nullptr : args.saved,
                     tile.sequence * chunks(args.steps) + block, 0);
  };

  Walk<O> walk(args, tile, stop);
  walk.c = saved(last);
  walk.grad_c = start;
  walk.start();
  walk.writing = false;
#pragma unroll 1
  for (int64_t block = last; block >= first; --block) {
    wait<1>();
    if (block == mine) {
      start = walk.grad_c;
      walk.start();
    }
    const TileRow<T, NUM_STREAMS>* const rows = ring[block & 1];
    const Pack<T> next = saved(block - 1);
    if (tile.length - block * BLOCK >= BLOCK) {
#pragma unroll UNROLL
      for (int t = 0; t < BLOCK; ++t) walk.recompute(rows[t], kept[t][tile.lane]);
#pragma unroll UNROLL
      for (int t = BLOCK - 1; t >= 0; --t) walk.go_back(rows[t], kept[t][tile.lane]);
    } else {
      const int steps = static_cast<int>(tile.length - block * BLOCK);
#pragma unroll 1
      for (int t = 0; t < steps; ++t) walk.recompute(rows[t], kept[t][tile.lane]);
#pragma unroll 1
      for (int t = steps - 1; t >= 0; --t) walk.go_back(rows[t], kept[t][tile.lane]);
    }
    __syncwarp();
    fetch(block - 2);
    walk.c = next;
    if (guessing && block <= mine) enlarge(scale, walk.grad_c);
  }

  if (chunk == 0) tile.write(args.grad_c0, tile.sequence, walk.grad_c);
  tile.write(args.sums, sums, walk.sum_v_f);
  tile.write(args.sums, sums + 1, walk.sum_v_r);
  tile.write(args.sums, sums + 2, walk.sum_b_f);
  tile.write(args.sums, sums + 3, walk.sum_b_r);
  if (guessing) {
    enlarge(scale, start);
    board.scale(chunk) = scale;
    board.put(chunk, start, walk.grad_c, walk.product);
  }
  count_steps(args.counted, tile, from - begin, from - stop, !guessing, stop == tile.length);
  if (args.swept && tile.lane == 0) {
    args.swept[(args.round * count + chunk) * tiles + index] = static_cast<int>(from - begin);
  }
}

}  // namespace

cudaError_t launch_chunked_backward(ChunkedBackwardArgs args, cudaStream_t stream) {
  return with_chunked_options(args, [&](auto options) {
    using O = decltype(options);
    args.count = static_cast<int>(count_chunks(args.plan, args.steps));
    if (const cudaError_t error = counters(&args.counted); error != cudaSuccess) return error;
    for (args.round = 0; args.round != 2; ++args.round) {
      const cudaError_t error =
          launch<typename O::T>(chunked_backward_kernel<O>, args, stream, args.count);
      if (error != cudaSuccess) return error;
    }
    return cudaSuccess;
  });
}

}  // namespace srulight::cuda
