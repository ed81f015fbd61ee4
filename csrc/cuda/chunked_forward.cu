// The forward pass, parallel over chunks of time.
//
// The first launch processes every chunk from a guess and writes everything. Each further launch
// processes again those chunks whose start does not equal the end of the chunk before, but only
// until the state equals what it was before. The last launch, with one warp per tile, corrects what
// is left in order, and ends at once if nothing is. All launches run the same code, so a chunk that
// starts from the same state has the same results, to the bit.
#include "chunks.h"

namespace srulight::cuda {
namespace {

constexpr int GROUP = 4, SLOTS = 8;  // see forward.cu
static_assert(CHECKPOINT_STEPS % GROUP == 0);

// One step of one lane. `product` is multiplied by the derivative of the state with respect to the
// previous one.
template <typename O>
class Step {
  using T = typename O::T;
  using A = Wide<T>;
  static constexpr int N = CHANNELS<T>;

 public:
  SRU_DEVICE Step(const CudaArgs& args, const Tile<T>& tile) : p_(args, tile), at_(tile.at) {}

  SRU_DEVICE Pack<T> candidate(const TileRow<T, 4>& row) const {
    return load(row.stream[CANDIDATE] + at_);
  }

  // Advances only the state.
  SRU_DEVICE void warm_up(const TileRow<T, 4>& row, Pack<T>& c) const {
    const Pack<T> candidate = load(row.stream[CANDIDATE] + at_);
    const Pack<T> forget = load(row.stream[FORGET] + at_);
    for (int i = 0; i < N; ++i) {
      const Gate<A> forget_gate(p_.v_f.at[i], p_.b_f.at[i]);
      const A f = forget_gate.template open<O::peephole>(forget.at[i], c.at[i]);
      c.at[i] = next_state(candidate.at[i], f, c.at[i]);
    }
  }

  SRU_DEVICE Pack<T> run(const TileRow<T, 4>& row, Pack<T>& c, Pack<T>& product) const {
    const Pack<T> candidate = load(row.stream[CANDIDATE] + at_);
    const Pack<T> forget = load(row.stream[FORGET] + at_), reset = load(row.stream[RESET] + at_);
    const Pack<T> skip = load(row.stream[SKIP] + at_);
    Pack<T> h;
    for (int i = 0; i < N; ++i) {
      const Gate<A> forget_gate(p_.v_f.at[i], p_.b_f.at[i]);
      const Gate<A> reset_gate(p_.v_r.at[i], p_.b_r.at[i]);
      const A f = forget_gate.template open<O::peephole>(forget.at[i], c.at[i]);
      const A r = reset_gate.template open<O::peephole>(reset.at[i], c.at[i]);
      product.at[i] *=
          state_derivative<O::peephole>(candidate.at[i], f, p_.v_f.at[i], c.at[i]);
      c.at[i] = next_state(candidate.at[i], f, c.at[i]);
      h.at[i] = output<O::activation>(c.at[i], p_.scale * skip.at[i], p_.mask.at[i] * r);
    }
    return h;
  }

 private:
  const Parameters<T> p_;
  const int at_;
};

template <typename O>
__global__ void __launch_bounds__(WARP_LANES)
    chunked_forward_kernel(const __grid_constant__ ChunkedForwardArgs args) {
  using T = typename O::T;
  __shared__ TileRow<T, 4> ring[SLOTS][GROUP];

  const Plan& plan = args.plan;
  const bool guessing = args.round == 0, walking = args.round > plan.rounds;
  const float tolerance = args.round == 1 ? 0.f : plan.tolerance;
  const unsigned tiles = static_cast<unsigned>(number_of_tiles<T>(args));
  const int64_t count = args.count;
  const unsigned index = blockIdx.x % tiles;
  const int lane = threadIdx.x;
  const Board<T> board(args.board, tiles, count, index, lane, args.round);
  if (walking && board.flag() == 0) return;

  const Tile<T> tile(args, index);
  const int64_t saved = tile.sequence * chunks(args.steps);
  Pack<T> end{};
  if (walking) end = board.get(END, 0);

  int64_t chunk = walking ? 1u : blockIdx.x / tiles;
  const int64_t after = walking ? count : chunk + 1;
#pragma unroll 1
  for (; chunk < after; ++chunk) {
    const int64_t begin = chunk * plan.chunk, whole = min(begin + plan.chunk, args.steps);
    const int64_t stop = min(whole, tile.length);
    int64_t from = begin;
    Pack<T> c, start, old, scale{};
    if (guessing) {
      if (chunk == 0 && lane == 0) board.flag() = 0;
      clear_steps<T, O::unit>(args.h, tile, begin, whole);
      const int64_t rows = chunks(whole);
      for (int64_t i = max(chunks(begin), chunks(tile.length)); i < rows; ++i) {
        tile.write(args.saved, saved + i, Pack<T>{});
      }
      from = max(begin - plan.warmup, static_cast<int64_t>(0));
      c = tile.read(from == 0 ? args.c0 : nullptr, tile.sequence, 0);
      if (chunk == 0 && stop == 0) tile.write(args.last, tile.sequence, c);
      if (stop <= begin) return;
    } else {
      if (stop <= begin) return;
      if (chunk == 0) {
        board.keep(chunk);
        return;
      }
      start = board.get(START, chunk);
      scale = board.scale(chunk);
      old = tile.read(args.saved, saved + begin / CHECKPOINT_STEPS, 0);
      const Pack<T> before = walking ? end : board.get(END, chunk - 1);
      if (same(before, start, scale, tolerance)) {
        if (walking) {
          end = board.get(END, chunk);
        } else {
          board.keep(chunk);
        }
        continue;
      }
      if (args.round == plan.rounds && lane == 0) board.flag() = 1;
      c = walking ? before : board.template expected<true>(chunk, 1, 0);
    }

    const Reader<T, 4, O::unit> reader(args, tile);
    const Step<O> step(args, tile);
    reader.clear(ring[0], SLOTS * GROUP);
    const auto fetch = [&](int64_t at, int slot) {
      const int streams = at < begin ? FORGET + 1 : 4;  // states depend on two streams only
      reader.template fetch<GROUP>(ring[slot], at, stop - at, streams);
      __pipeline_commit();
    };
#pragma unroll 1
    for (int slot = 0; slot < SLOTS - 1; ++slot) fetch(from + slot * GROUP, slot);

    Writer<T, O::unit> out(args.h, tile, begin, true);
    Pack<T> product;
    for (int i = 0; i < CHANNELS<T>; ++i) product.at[i] = 1;
    bool merged = false;
    int slot = 0;
    int64_t at = from;
#pragma unroll 1
    for (; at < stop; at += GROUP) {
      wait<SLOTS - 2>();
      fetch(at + (SLOTS - 1) * GROUP, slot == 0 ? SLOTS - 1 : slot - 1);
      if (at < begin) {
#pragma unroll
        for (int i = 0; i < GROUP; ++i) step.warm_up(ring[slot][i], c);
      } else {
        // Rounding errors are relative to candidates as well as to states.
        if (guessing) enlarge(scale, step.candidate(ring[slot][0]));
        if (at % CHECKPOINT_STEPS == 0) {
          const int64_t row = saved + at / CHECKPOINT_STEPS;
          if (guessing) {
            if (at == begin) start = c;
            enlarge(scale, c);
          } else {
            merged = same(c, old, scale, tolerance);
            if (merged) break;
            if (at == begin) start = c;
            if (at + CHECKPOINT_STEPS < stop) old = tile.read(args.saved, row + 1, 0);
          }
          tile.write(args.saved, row, c);
        }
        if (at + GROUP <= stop) {
          Pack<T> h[GROUP];  // stores wait, so that loads of the next step need not
#pragma unroll
          for (int i = 0; i < GROUP; ++i) h[i] = step.run(ring[slot][i], c, product);
#pragma unroll
          for (int i = 0; i < GROUP; ++i) out.put(h[i]);
        } else {
#pragma unroll 1
          for (int i = 0; i < stop - at; ++i) out.put(step.run(ring[slot][i], c, product));
        }
      }
      slot = slot == SLOTS - 1 ? 0 : slot + 1;
    }
    wait<0>();  // the next chunk of this warp uses the same slots

    if (merged) {
      end = board.get(END, chunk);
      product = board.get(PRODUCT, chunk);
    } else {
      end = c;
      if (stop == tile.length) tile.write(args.last, tile.sequence, c);
    }
    if (guessing) {
      enlarge(scale, c);
      board.scale(chunk) = scale;
    }
    if (!walking) board.put(chunk, start, end, product);
    count_steps(args.counted, tile, min(at, stop) - from, begin - from, !guessing, chunk == 0);
    if (args.swept && lane == 0) {
      args.swept[(args.round * count + chunk) * tiles + index] =
          static_cast<int>(min(at, stop) - from);
    }
  }
}

}  // namespace

cudaError_t launch_chunked_forward(ChunkedForwardArgs args, cudaStream_t stream) {
  return with_chunked_options(args, [&](auto options) {
    using O = decltype(options);
    args.count = static_cast<int>(count_chunks(args.plan, args.steps));
    if (const cudaError_t error = counters(&args.counted); error != cudaSuccess) return error;
    for (args.round = 0; args.round <= args.plan.rounds + 1; ++args.round) {
      const int64_t warps = args.round > args.plan.rounds ? 1 : args.count;
      const cudaError_t error =
          launch<typename O::T>(chunked_forward_kernel<O>, args, stream, warps);
      if (error != cudaSuccess) return error;
    }
    return cudaSuccess;
  });
}

}  // namespace srulight::cuda
