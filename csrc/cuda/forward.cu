// The forward pass of the recurrence: each warp loops over the steps of its tile and keeps the
// state in registers.
#include "tile.h"

namespace srulight::cuda {
namespace {

// Steps are processed in groups, and copied in parts of a group. With these slots, 8 warps fit on a
// multiprocessor, and copies run at least a group and a part ahead, which a warp takes longer to
// process than memory takes to answer.
constexpr int GROUP = CHECKPOINT_STEPS, PART = 4;
template <typename T>
constexpr int SLOTS = sizeof(T) == 2 ? 4 : 3;

// Writes states to a (B, rows, D) tensor of the wide type row by row, if there is such a tensor.
template <typename T>
class Saver {
 public:
  SRU_DEVICE Saver(void* to, const Tile<T>& tile, int64_t rows)
      : to_(static_cast<Wide<T>*>(to)), stride_(tile.channels), count_(0) {
    if (!to) return;
    to_ += tile.sequence * rows * tile.channels + tile.mine;
    count_ = tile.count;
  }
  SRU_DEVICE void put(const Pack<T>& x) {
    for (int i = 0; i < CHANNELS<T>; ++i) store_if(i < count_, to_ + i, x.at[i]);
    to_ += stride_;
  }

 private:
  Wide<T>* to_;
  int64_t stride_;
  int count_;
};

// One lane's inputs of one step.
template <typename T>
struct Inputs {
  Pack<T> candidate, forget, reset, skip;

  SRU_DEVICE static Inputs of(const TileRow<T, 4>& row, int at) {
    return {load(row.stream[CANDIDATE] + at), load(row.stream[FORGET] + at),
            load(row.stream[RESET] + at), load(row.stream[SKIP] + at)};
  }
};

// One lane's walk over its steps. Only the forget gate and the state depend on the step before. A
// warp is often alone on its scheduler and issues in order, so nothing else may make it wait: the
// inputs of a step are loaded, and its output is finished, during its neighbors.
template <typename O>
class Walk {
  using T = typename O::T;
  using A = Wide<T>;
  static constexpr int N = CHANNELS<T>;

 public:
  Pack<T> c;  // the state after the last step that was advanced

  SRU_DEVICE Walk(const CudaForwardArgs& args, const Tile<T>& tile)
      : c(tile.read(args.c0, tile.sequence, 0)),
        p_(args, tile),
        out_(args.h, tile, 0, true) {}

  // Computes the next state, and writes the output of the step before if there is one.
  SRU_DEVICE void step(const Inputs<T>& x, bool later) {
    const Pack<T> before = c;
    for (int i = 0; i < N; ++i) {
      const Gate<A> gate(p_.v_f.at[i], p_.b_f.at[i]);
      const A f = gate.template open<O::peephole>(x.forget.at[i], before.at[i]);
      c.at[i] = next_state(x.candidate.at[i], f, before.at[i]);
    }
    out_.put_if(later, finished(before));
    before_ = before;
    x_ = x;
  }
  // Writes the output of the last step.
  SRU_DEVICE void finish() { out_.put(finished(c)); }

 private:
  SRU_DEVICE Pack<T> finished(const Pack<T>& after) const {
    Pack<T> h;
    for (int i = 0; i < N; ++i) {
      const Gate<A> gate(p_.v_r.at[i], p_.b_r.at[i]);
      const A r = gate.template open<O::peephole>(x_.reset.at[i], before_.at[i]);
      h.at[i] = output<O::activation>(after.at[i], p_.scale * x_.skip.at[i], p_.mask.at[i] * r);
    }
    return h;
  }

  const Parameters<T> p_;
  Writer<T, O::unit> out_;
  Pack<T> before_{};
  Inputs<T> x_{};
};

template <typename O>
__global__ void __launch_bounds__(WARP_LANES)
    forward_kernel(const __grid_constant__ CudaForwardArgs args) {
  using T = typename O::T;
  constexpr int SLOTS = cuda::SLOTS<T>, RING = SLOTS * GROUP;
  // Synchronous loads must be many at a time.
  constexpr int PART = O::unit == NUMBERS ? GROUP : cuda::PART;
  __shared__ TileRow<T, 4> ring[RING];

  const Tile<T> tile(args);
  const Reader<T, 4, O::unit> reader(args, tile);
  reader.clear(ring, RING);
  const int at = tile.at, length = static_cast<int>(tile.length);
#pragma unroll 1
  for (int slot = 0; slot < SLOTS - 1; ++slot) {
    reader.template fetch<GROUP>(ring + slot * GROUP, slot * GROUP, length - slot * GROUP);
    __pipeline_commit();
  }

  Walk<O> walk(args, tile);
  Saver<T> saver(args.saved, tile, chunks(args.steps));
  int slot = 0;
#pragma unroll 1
  for (int begin = 0; begin < length; begin += GROUP) {
    wait<SLOTS - 2>();
    TileRow<T, 4>* const rows = ring + slot * GROUP;
    TileRow<T, 4>* const refill = ring + (slot == 0 ? SLOTS - 1 : slot - 1) * GROUP;
    saver.put(walk.c);
    if (begin + GROUP <= length) {
      Inputs<T> next = Inputs<T>::of(rows[0], at);
#pragma unroll
      for (int i = 0; i < GROUP; ++i) {
        const Inputs<T> now = next;
        if (i + 1 < GROUP) next = Inputs<T>::of(rows[i + 1], at);
        walk.step(now, i > 0 || begin > 0);
        if (i % PART == 0) {
          const int t = begin + (SLOTS - 1) * GROUP + i;
          reader.template fetch<PART>(refill + i, t, length - t);
        }
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < length - begin; ++i) {
        walk.step(Inputs<T>::of(rows[i], at), begin + i > 0);
      }
    }
    __pipeline_commit();
    slot = slot == SLOTS - 1 ? 0 : slot + 1;
  }
  if (length > 0) walk.finish();

  tile.write(args.last, tile.sequence, walk.c);
  Writer<T, O::unit>::clear_padding(args.h, tile, args.steps);
  for (int64_t i = chunks(length); i < chunks(args.steps); ++i) saver.put(Pack<T>{});
}

}  // namespace

cudaError_t launch_forward(const CudaForwardArgs& args, cudaStream_t stream) {
  return with_options(args, [&](auto options) {
    using O = decltype(options);
    return launch<typename O::T>(forward_kernel<O>, args, stream);
  });
}

}  // namespace srulight::cuda
