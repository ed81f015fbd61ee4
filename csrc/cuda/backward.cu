// The backward pass of the recurrence. Each warp processes the chunks between the saved states of
// its tile, last first. For each chunk it first recomputes the states and the forget gates.
#include "tile.h"

namespace srulight::cuda {
namespace {

constexpr int CHUNK = CHECKPOINT_STEPS, UNROLL = 4;

// What one lane keeps of a step between recomputing it and going back over it.
template <typename T>
struct alignas(2 * sizeof(Pack<T>)) Kept {
  Pack<T> before, f;
};

// One lane's walk over a chunk: it recomputes states and forget gates, then goes back.
template <typename O>
class Walk {
  using T = typename O::T;
  using A = Wide<T>;
  static constexpr int N = CHANNELS<T>;

 public:
  Pack<T> c;  // the state at the current step

  SRU_DEVICE Walk(const CudaBackwardArgs& args, const Tile<T>& tile, const Pack<T>& c)
      : c(c),
        p_(args, tile),
        grad_c_(tile.read(args.grad_last, tile.sequence, 0)),
        to_candidate_(args.grads[CANDIDATE], tile, tile.length - 1, false),
        to_forget_(args.grads[FORGET], tile, tile.length - 1, false),
        to_reset_(args.grads[RESET], tile, tile.length - 1, false),
        to_skip_(args.grads[SKIP], tile, tile.length - 1, false),
        at_(tile.lane * N) {}

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
      const A before = then.before.at[i];
      const Gate<A> gate(p_.v_r.at[i], p_.b_r.at[i]);
      const A r = gate.template open<O::peephole>(reset.at[i], before);
      const StepGradient<A> grad = transposed_step<O::activation>(
          candidate.at[i], then.f.at[i], r, p_.scale * skip.at[i],
          O::peephole ? p_.v_f.at[i] : A(0), O::peephole ? p_.v_r.at[i] : A(0), p_.mask.at[i],
          before, c.at[i], grad_h.at[i], grad_c_.at[i]);
      d_candidate.at[i] = grad.candidate;
      d_forget.at[i] = grad.forget;
      d_reset.at[i] = grad.reset;
      d_skip.at[i] = p_.scale * grad.skip;
      sum_v_f_.at[i] += grad.forget * before;
      sum_v_r_.at[i] += grad.reset * before;
      sum_b_f_.at[i] += grad.forget;
      sum_b_r_.at[i] += grad.reset;
      c.at[i] = before;
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
  const int at_;
};

template <typename O>
__global__ void __launch_bounds__(WARP_LANES)
    backward_kernel(const __grid_constant__ CudaBackwardArgs args) {
  using T = typename O::T;
  // One chunk is processed while the next one is being copied.
  __shared__ TileRow<T, NUM_STREAMS> ring[2][CHUNK];
  __shared__ Kept<T> kept[CHUNK][WARP_LANES];

  const Tile<T> tile(args);
  const Reader<T, NUM_STREAMS, O::unit> reader(args, tile);
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
    return tile.read(chunk < 0 ? nullptr : args.saved,
                     tile.sequence * chunks(args.steps) + chunk, 0);
  };

  Walk<O> walk(args, tile, saved(last));
  for (int64_t chunk = last; chunk >= 0; --chunk) {
    wait<1>();
    const TileRow<T, NUM_STREAMS>* const rows = ring[chunk & 1];
    const Pack<T> next = saved(chunk - 1);
    if (tile.length - chunk * CHUNK >= CHUNK) {
#pragma unroll UNROLL
      for (int t = 0; t < CHUNK; ++t) walk.recompute(rows[t], kept[t][tile.lane]);
#pragma unroll UNROLL
      for (int t = CHUNK - 1; t >= 0; --t) walk.go_back(rows[t], kept[t][tile.lane]);
    } else {
      const int count = static_cast<int>(tile.length - chunk * CHUNK);
#pragma unroll 1
      for (int t = 0; t < count; ++t) walk.recompute(rows[t], kept[t][tile.lane]);
#pragma unroll 1
      for (int t = count - 1; t >= 0; --t) walk.go_back(rows[t], kept[t][tile.lane]);
    }
    __syncwarp();
    fetch(chunk - 2);
    walk.c = next;
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
