// The backward pass of the recurrence. Each warp processes the chunks between the saved states of
// its tile, last first. While it goes back over a chunk, it recomputes the states and the forget
// gates of the chunk before, so that the two chains of dependent instructions share their waits.
#include "tile.h"

namespace srulight::cuda {
namespace {

// Steps are copied in parts of a chunk.
constexpr int CHUNK = CHECKPOINT_STEPS, PART = 4;
// The chunk that the warp goes back over, the one that it recomputes, and those being copied.
template <typename T>
constexpr int SLOTS = sizeof(T) == 2 ? 4 : 3;

// What one lane keeps of a step between recomputing it and going back over it.
template <typename T>
struct alignas(2 * sizeof(Pack<T>)) Kept {
  Pack<T> before, f;
};

// One lane's inputs of one step.
template <typename T>
struct Inputs {
  Pack<T> candidate, forget, reset, skip, grad_h;

  SRU_DEVICE static Inputs of(const TileRow<T, NUM_STREAMS>& row, int at) {
    return {load(row.stream[CANDIDATE] + at), load(row.stream[FORGET] + at),
            load(row.stream[RESET] + at), load(row.stream[SKIP] + at),
            load(row.stream[GRAD_H] + at)};
  }
};

// One lane's walk over a chunk: it recomputes states and forget gates, then goes back.
template <typename O>
class Walk {
  using T = typename O::T;
  using A = Wide<T>;
  static constexpr int N = CHANNELS<T>;

 public:
  Pack<T> c;      // the state after the last step that was recomputed
  Pack<T> after;  // the state after the step to go back over

  SRU_DEVICE Walk(const CudaBackwardArgs& args, const Tile<T>& tile)
      : p_(args, tile),
        grad_c_(tile.read(args.grad_last, tile.sequence, 0)),
        to_candidate_(args.grads[CANDIDATE], tile, tile.length - 1, false),
        to_forget_(args.grads[FORGET], tile, tile.length - 1, false),
        to_reset_(args.grads[RESET], tile, tile.length - 1, false),
        to_skip_(args.grads[SKIP], tile, tile.length - 1, false) {}

  SRU_DEVICE Kept<T> recompute(const Inputs<T>& x) {
    Kept<T> now{c, {}};
    for (int i = 0; i < N; ++i) {
      const Gate<A> gate(p_.v_f.at[i], p_.b_f.at[i]);
      now.f.at[i] = gate.template open<O::peephole>(x.forget.at[i], c.at[i]);
      c.at[i] = next_state(x.candidate.at[i], now.f.at[i], c.at[i]);
    }
    return now;
  }

  SRU_DEVICE void go_back(const Inputs<T>& x, const Kept<T>& then) {
    Pack<T> d_candidate, d_forget, d_reset, d_skip;
    for (int i = 0; i < N; ++i) {
      const A before = then.before.at[i];
      const Gate<A> gate(p_.v_r.at[i], p_.b_r.at[i]);
      const A r = gate.template open<O::peephole>(x.reset.at[i], before);
      const StepGradient<A> grad = transposed_step<O::activation>(
          x.candidate.at[i], then.f.at[i], r, p_.scale * x.skip.at[i],
          O::peephole ? p_.v_f.at[i] : A(0), O::peephole ? p_.v_r.at[i] : A(0), p_.mask.at[i],
          before, after.at[i], x.grad_h.at[i], grad_c_.at[i]);
      d_candidate.at[i] = grad.candidate;
      d_forget.at[i] = grad.forget;
      d_reset.at[i] = grad.reset;
      d_skip.at[i] = p_.scale * grad.skip;
      sum_v_f_.at[i] += grad.forget * before;
      sum_v_r_.at[i] += grad.reset * before;
      sum_b_f_.at[i] += grad.forget;
      sum_b_r_.at[i] += grad.reset;
      after.at[i] = before;
    }
    to_candidate_.put(d_candidate);
    to_forget_.put(d_forget);
    to_reset_.put(d_reset);
    to_skip_.put(d_skip);
  }

  SRU_DEVICE void write_sums(const CudaBackwardArgs& args, const Tile<T>& tile) const {
    tile.write(args.grad_c0, tile.sequence, grad_c_);
    tile.write(args.sums, 4 * tile.sequence, sum_v_f_);
    tile.write(args.sums, 4 * tile.sequence + 1, sum_v_r_);
    tile.write(args.sums, 4 * tile.sequence + 2, sum_b_f_);
    tile.write(args.sums, 4 * tile.sequence + 3, sum_b_r_);
  }

 private:
  const Parameters<T> p_;
  Pack<T> grad_c_;
  Pack<T> sum_v_f_{}, sum_v_r_{}, sum_b_f_{}, sum_b_r_{};
  Writer<T, O::unit> to_candidate_, to_forget_, to_reset_, to_skip_;
};

template <typename O>
__global__ void __launch_bounds__(WARP_LANES)
    backward_kernel(const __grid_constant__ CudaBackwardArgs args) {
  using T = typename O::T;
  constexpr int SLOTS = cuda::SLOTS<T>, PART = O::unit == NUMBERS ? CHUNK : cuda::PART;
  using Rows = TileRow<T, NUM_STREAMS>;
  __shared__ Rows ring[SLOTS][CHUNK];
  __shared__ Kept<T> kept[CHUNK][WARP_LANES];

  const Tile<T> tile(args);
  const Reader<T, NUM_STREAMS, O::unit> reader(args, tile);
  reader.clear(ring[0], SLOTS * CHUNK);
  const int length = static_cast<int>(tile.length);
  int chunk = static_cast<int>(chunks(length)) - 1, slot = 0;
#pragma unroll 1
  for (int i = 0; i < SLOTS - 1; ++i) {
    const int begin = (chunk - i) * CHUNK;
    reader.template fetch<CHUNK>(ring[i], begin, begin < 0 ? 0 : length - begin);
    __pipeline_commit();
  }
  const auto saved = [&](int of) {
    return tile.read(of < 0 ? nullptr : args.saved, tile.sequence * chunks(args.steps) + of, 0);
  };
  Walk<O> walk(args, tile);
  walk.c = saved(chunk);
  Pack<T> next = saved(chunk - 1);  // states are read long before they are needed
  wait<SLOTS - 2>();
  int count = length - chunk * CHUNK;  // 16 but for the last chunk
#pragma unroll 1
  for (int t = 0; t < count; ++t) {
    kept[t][tile.lane] = walk.recompute(Inputs<T>::of(ring[0][t], tile.at));
  }

  bool flip = false;  // whether the last step is kept first
#pragma unroll 1
  for (; chunk >= 0; --chunk) {
    wait<SLOTS - 3>();
    const Rows* const rows = ring[slot];
    Rows* const refill = ring[slot == 0 ? SLOTS - 1 : slot - 1];
    slot = slot == SLOTS - 1 ? 0 : slot + 1;
    const Rows* const before = ring[slot];
    const int begin = (chunk - SLOTS + 1) * CHUNK;
    const int refilled = begin < 0 ? 0 : CHUNK;
    walk.after = walk.c;
    walk.c = next;
    next = saved(chunk - 2);
    if (count == CHUNK) {
      // What is kept of a step takes the place of the step that the warp has just gone back over.
      Kept<T>* const place = kept[flip ? 0 : CHUNK - 1] + tile.lane;
      const int stride = flip ? WARP_LANES : -WARP_LANES;
      // All loads of a step come before the store of the step before, which they must not pass.
      Inputs<T> forth = Inputs<T>::of(before[0], tile.at);
      Inputs<T> back = Inputs<T>::of(rows[CHUNK - 1], tile.at);
      Kept<T> then = *place;
#pragma unroll
      for (int i = 0; i < CHUNK; ++i) {
        const Inputs<T> x = forth, y = back;
        const Kept<T> now = then;
        if (i + 1 < CHUNK) {
          forth = Inputs<T>::of(before[i + 1], tile.at);
          back = Inputs<T>::of(rows[CHUNK - 2 - i], tile.at);
          then = place[(i + 1) * stride];
        }
        if (i % PART == 0) reader.template fetch<PART>(refill + i, begin + i, refilled - i);
        place[i * stride] = walk.recompute(x);
        walk.go_back(y, now);
      }
      flip = !flip;
    } else {
      reader.template fetch<CHUNK>(refill, begin, refilled);
#pragma unroll 1
      for (int t = count - 1; t >= 0; --t) {
        walk.go_back(Inputs<T>::of(rows[t], tile.at), kept[t][tile.lane]);
      }
#pragma unroll 1
      for (int t = 0; t < CHUNK; ++t) {
        kept[t][tile.lane] = walk.recompute(Inputs<T>::of(before[t], tile.at));
      }
      count = CHUNK;
    }
    __pipeline_commit();
  }

  walk.write_sums(args, tile);
  for (int k = 0; k < 4; ++k) {
    Writer<T, O::unit>::clear_padding(args.grads[k], tile, args.steps);
  }
}

}  // namespace

cudaError_t launch_backward(const CudaBackwardArgs& args, cudaStream_t stream) {
  return with_options(args, [&](auto options) {
    using O = decltype(options);
    return launch<typename O::T>(backward_kernel<O>, args, stream);
  });
}

}  // namespace srulight::cuda
