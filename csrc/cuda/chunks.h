// Chunks of time that are processed in parallel, one warp for each chunk of a tile.
//
// A chunk starts from a guess, the result of a few steps before it. It is right if it equals the
// result of the neighbor before the chunk, in the order of processing. The warps leave both, and
// the derivative of the result with respect to the start, on a board in global memory.
#pragma once

#include "tile.h"

namespace srulight::cuda {

constexpr unsigned ALL_LANES = 0xffffffff;

// The number of chunks of time.
SRU_INLINE int64_t count_chunks(const Plan& plan, int64_t steps) {
  return (steps + plan.chunk - 1) / plan.chunk;
}

template <typename A>
SRU_DEVICE A magnitude(A x) {
  return x < A(0) ? -x : x;
}

// Whether two values count as equal. NaNs equal each other, as they do not get better.
template <typename A>
SRU_DEVICE bool close(A x, A y, A tolerance) {
  return x == y || magnitude(x - y) <= tolerance || (x != x && y != y);
}

// Whether all lanes' channels of two rows count as equal; the same for all lanes.
template <typename T>
SRU_DEVICE bool same(const Pack<T>& x, const Pack<T>& y, const Pack<T>& scale, float tolerance) {
  bool all = true;
  for (int i = 0; i < CHANNELS<T>; ++i) {
    all = all && close(x.at[i], y.at[i], tolerance * scale.at[i]);
  }
  return __all_sync(ALL_LANES, all);
}

template <typename T>
SRU_DEVICE void enlarge(Pack<T>& scale, const Pack<T>& x) {
  for (int i = 0; i < CHANNELS<T>; ++i) scale.at[i] = max(scale.at[i], magnitude(x.at[i]));
}

// What one lane keeps of each chunk. Every launch reads what the previous one has written and
// writes to another buffer, so the results do not depend on the order in which warps run.
enum Field { START, END, PRODUCT, NUM_FIELDS };

template <typename T>
class Board {
 public:
  static SRU_INLINE int64_t bytes(int64_t tiles, int64_t count) {
    return tiles * count * ROWS * WARP_LANES * static_cast<int64_t>(sizeof(Pack<T>)) +
           tiles * static_cast<int64_t>(sizeof(int));
  }

  SRU_DEVICE Board(void* board, int64_t tiles, int64_t count, int64_t tile, int lane, int round)
      : lane_(static_cast<Pack<T>*>(board) + tile * WARP_LANES + lane),
        row_(tiles * WARP_LANES),
        count_(count),
        flag_(reinterpret_cast<int*>(static_cast<Pack<T>*>(board) + ROWS * count * row_) + tile),
        buffer_(round & 1) {}

  // What the previous launch wrote.
  SRU_DEVICE Pack<T> get(Field field, int64_t chunk) const {
    return *at(1 - buffer_, field, chunk);
  }
  SRU_DEVICE void put(int64_t chunk, const Pack<T>& start, const Pack<T>& end,
                      const Pack<T>& product) const {
    *at(buffer_, START, chunk) = start;
    *at(buffer_, END, chunk) = end;
    *at(buffer_, PRODUCT, chunk) = product;
  }
  SRU_DEVICE void keep(int64_t chunk) const {
    put(chunk, get(START, chunk), get(END, chunk), get(PRODUCT, chunk));
  }

  // The largest magnitude among some numbers of a chunk. The first launch writes it.
  SRU_DEVICE Pack<T>& scale(int64_t chunk) const { return *at(0, NUM_FIELDS, chunk); }

  // One flag per tile: whether the last round found guesses that were not right.
  SRU_DEVICE int& flag() const { return *flag_; }

  // The value that a chunk should start from: the end of the neighbor before it, at chunk -
  // `direction`, corrected to first order for the wrong starts of all chunks up to there. `first`
  // is the first chunk in the order of processing, whose start is right.
  template <bool bounded>
  SRU_DEVICE Pack<T> expected(int64_t chunk, int64_t direction, int64_t first) const {
    constexpr int BATCH = 4;  // chunks whose values are loaded at once
    constexpr int N = CHANNELS<T>;
    int64_t at = chunk - direction;
    Pack<T> value = get(END, at), product = limited<bounded>(get(PRODUCT, at)), correction{};
    while (at != first) {
      bool negligible = true;
      for (int i = 0; i < N; ++i) {
        negligible = negligible && !(magnitude(product.at[i]) > Wide<T>(1) / (1 << 30));
      }
      if (__all_sync(ALL_LANES, negligible)) break;
      Pack<T> start[BATCH], end[BATCH], next[BATCH];
      for (int k = 0; k < BATCH; ++k) {
        const int64_t there = at - k * direction;
        const bool real = direction > 0 ? there > first : there < first;
        start[k] = real ? get(START, there) : Pack<T>{};
        end[k] = real ? get(END, there - direction) : Pack<T>{};
        next[k] = real ? limited<bounded>(get(PRODUCT, there - direction)) : Pack<T>{};
      }
      for (int k = 0; k < BATCH; ++k) {
        for (int i = 0; i < N; ++i) {
          const Wide<T> wrong = end[k].at[i] - start[k].at[i];
          if (wrong != Wide<T>(0)) correction.at[i] += product.at[i] * wrong;
          product.at[i] *= next[k].at[i];
        }
      }
      const int64_t left = direction > 0 ? at - first : first - at;
      at = left <= BATCH ? first : at - BATCH * direction;
    }
    for (int i = 0; i < N; ++i) {
      const bool finite = correction.at[i] - correction.at[i] == Wide<T>(0);
      if (finite) value.at[i] += correction.at[i];
    }
    return value;
  }

 private:
  static constexpr int ROWS = 2 * NUM_FIELDS + 1;

  SRU_DEVICE Pack<T>* at(int buffer, int field, int64_t chunk) const {
    const int which = field == NUM_FIELDS ? ROWS - 1 : buffer * NUM_FIELDS + field;
    return lane_ + (which * count_ + chunk) * row_;
  }

  // States are averages of candidates, so a start that is far off must not be extrapolated.
  template <bool bounded>
  static SRU_DEVICE Pack<T> limited(Pack<T> product) {
    for (int i = 0; bounded && i < CHANNELS<T>; ++i) {
      product.at[i] = max(min(product.at[i], Wide<T>(1)), Wide<T>(-1));
    }
    return product;
  }

  Pack<T>* const lane_;
  const int64_t row_, count_;
  int* const flag_;
  const int buffer_;
};

// Counts what one warp has done in one launch: `steps` steps of a chunk, of which `before` lead to
// its guess. `again` says whether the chunk had been processed before.
template <typename T>
SRU_DEVICE void count_steps(Counted* counted, const Tile<T>& tile, int64_t steps, int64_t before,
                            bool again, bool first) {
  if (tile.lane != 0) return;
  const auto add = [&](Counter counter, int64_t number) {
    if (number > 0) atomicAdd(counted + static_cast<int>(counter), static_cast<Counted>(number));
  };
  add(Counter::REPAIRED, again);
  add(Counter::REPAIRS, again ? steps * tile.width : 0);
  add(Counter::PASSES, !again && first);
  add(Counter::CHUNKS, !again && !first);
  add(Counter::NUMBERS, again ? 0 : (steps - before) * tile.width);
  add(Counter::WARMUP, before * tile.width);
}

// Writes zeros to those steps from `begin` to `end` that are padding.
template <typename T, Unit unit>
SRU_DEVICE void clear_steps(const CudaSequences& to, const Tile<T>& tile, int64_t begin,
                            int64_t end) {
  if (!to.data) return;
  char* const row = to.data + tile.sequence * to.batch + tile.mine * sizeof(T);
  for (int64_t t = max(begin, tile.length); t < end; ++t) {
    store<unit>(reinterpret_cast<T*>(row + t * to.step), Pack<T>{}, tile.count);
  }
}

// Calls f with the options that match the arguments, which a plan supports.
template <typename F>
cudaError_t with_chunked_options(const CudaArgs& args, const F& f) {
  const auto with_aligned = [&](auto number) {
    using T = decltype(number);
    if (args.alignment == 16 && !args.v) return with_unit<T, false, VECTORS>(args, f);
    if (args.alignment == 16) return with_unit<T, true, VECTORS>(args, f);
    return with_unit<T, true, PACKS>(args, f);
  };
  switch (args.type) {
    case Type::FLOAT: return with_aligned(float());
    case Type::BFLOAT16: return with_aligned(__nv_bfloat16());
    case Type::HALF: return with_aligned(__half());
    default: return cudaErrorInvalidValue;
  }
}

}  // namespace srulight::cuda
