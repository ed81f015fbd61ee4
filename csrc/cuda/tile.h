// The unit of work of one warp, and the copies of its rows to shared memory.
#pragma once

#include "kernels.h"
#include "lane.h"

#include <cuda_pipeline.h>

#include <cassert>

namespace srulight::cuda {

// Some channels of one sequence in one direction. One warp, which is a block of its own, processes
// all their steps, so warps never wait for each other. Steps are numbered in the order of
// processing.
template <typename T>
struct Tile {
  using A = Wide<T>;

  int lane;
  int at;  // where this lane's channels are in a row of shared memory
  int64_t sequence, channels, length;
  int64_t first;   // first channel of the tile
  int width;       // number of its channels, at most WIDTH
  int64_t mine;    // first channel of this lane
  int count;       // number of its channels
  bool backwards;  // whether steps are processed right to left

  SRU_DEVICE explicit Tile(const CudaArgs& args) : Tile(args, blockIdx.x) {}
  SRU_DEVICE Tile(const CudaArgs& args, unsigned index) {
    // There are fewer than 2^31 tiles, and 32 bits are much faster to divide.
    const unsigned tiles = static_cast<unsigned>((args.hidden + WIDTH<T> - 1) / WIDTH<T>);
    const unsigned rest = index / tiles;
    const int64_t offset = static_cast<int64_t>(index - rest * tiles) * WIDTH<T>;
    lane = threadIdx.x;
    at = min(lane * CHANNELS<T>, WIDTH<T> - CHANNELS<T>);
    const bool both = args.directions == 2;
    backwards = both && rest % 2 == 1;
    sequence = both ? rest / 2 : rest;
    channels = args.directions * args.hidden;
    first = (backwards ? args.hidden : 0) + offset;
    width = static_cast<int>(min(args.hidden - offset, static_cast<int64_t>(WIDTH<T>)));
    mine = first + lane * CHANNELS<T>;
    count = max(0, min(width - lane * CHANNELS<T>, CHANNELS<T>));
    length = args.lengths ? args.lengths[sequence] : args.steps;
    assert(length >= 0 && length <= args.steps && "lengths must be between 0 and T");
  }

  // Reads this lane's channels from a (rows, D) tensor of the wide type. Channels outside the tile,
  // or all if the pointer is null, are `other`.
  SRU_DEVICE Pack<T> read(const void* from, int64_t row, A other) const {
    Pack<T> pack;
    for (int i = 0; i < CHANNELS<T>; ++i) {
      const bool real = from && i < count;
      pack.at[i] = real ? static_cast<const A*>(from)[row * channels + mine + i] : other;
    }
    return pack;
  }
  SRU_DEVICE void write(void* to, int64_t row, const Pack<T>& pack) const {
    for (int i = 0; i < CHANNELS<T>; ++i) {
      if (i < count) static_cast<A*>(to)[row * channels + mine + i] = pack.at[i];
    }
  }
};

// The parameters of one lane's channels.
template <typename T>
struct Parameters {
  Pack<T> v_f, v_r, b_f, b_r, mask;
  Wide<T> scale;

  SRU_DEVICE Parameters(const CudaArgs& args, const Tile<T>& tile)
      : v_f(tile.read(args.v, 0, 0)),
        v_r(tile.read(args.v, 1, 0)),
        b_f(tile.read(args.b, 0, 0)),
        b_r(tile.read(args.b, 1, 0)),
        mask(tile.read(args.mask, tile.sequence, 1)),
        scale(static_cast<Wide<T>>(args.scale)) {}
};

// Writes one lane's channels of a tensor step by step, starting at `step`, either in the order of
// processing (`forward`) or against it.
template <typename T, Unit unit>
class Writer {
 public:
  SRU_DEVICE Writer(const CudaSequences& to, const Tile<T>& tile, int64_t step, bool forward)
      : row_(to.data), stride_(tile.backwards == forward ? -to.step : to.step), count_(0) {
    if (!to.data || tile.length == 0) return;
    const int64_t t = tile.backwards ? tile.length - 1 - step : step;
    row_ += tile.sequence * to.batch + t * to.step + tile.mine * sizeof(T);
    count_ = tile.count;
  }
  SRU_DEVICE void put(const Pack<T>& x) {
    store<unit>(reinterpret_cast<T*>(row_), x, count_);
    row_ += stride_;
  }
  // Writes nothing, and stays at its step, unless the channels are `real`.
  SRU_DEVICE void put_if(bool real, const Pack<T>& x) {
    store<unit>(reinterpret_cast<T*>(row_), x, real ? count_ : 0);
    row_ += real ? stride_ : 0;
  }

  // Writes zeros to the padded steps.
  static SRU_DEVICE void clear_padding(const CudaSequences& to, const Tile<T>& tile,
                                       int64_t steps) {
    if (!to.data) return;
    char* row = to.data + tile.sequence * to.batch + tile.mine * sizeof(T);
    for (int64_t t = tile.length; t < steps; ++t) {
      store<unit>(reinterpret_cast<T*>(row + t * to.step), Pack<T>{}, tile.count);
    }
  }

 private:
  char* row_;
  int64_t stride_;
  int count_;
};

// Starts an asynchronous copy to shared memory, without a branch (see `store_if`).
template <int bytes>
SRU_DEVICE void copy_if(bool condition, char* to, const char* from) {
#if defined(__CUDACC__)
  const unsigned shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int p = condition;
  if constexpr (bytes == 16) {
    asm volatile(
        "{.reg .pred p; setp.ne.s32 p, %0, 0; @p cp.async.cg.shared.global [%1], [%2], 16;}" ::"r"(
            p),
        "r"(shared), "l"(from));
  } else {
    asm volatile(
        "{.reg .pred p; setp.ne.s32 p, %0, 0; @p cp.async.ca.shared.global [%1], [%2], %3;}" ::"r"(
            p),
        "r"(shared), "l"(from), "n"(bytes));
  }
#else
  if (condition) __pipeline_memcpy_async(to, from, bytes);
#endif
}

// One step of a tile in shared memory.
template <typename T, int streams>
struct alignas(16) TileRow {
  T stream[streams][WIDTH<T>];
};

// Copies rows of a tile to shared memory while the warp computes. Each lane copies one unit of a
// stream at a time. In VECTORS, one instruction of the warp copies 4 streams of a step. NUMBERS
// cannot be copied asynchronously, so the warp waits for them.
template <typename T, int streams, Unit unit>
class Reader {
 public:
  SRU_DEVICE Reader(const CudaArgs& args, const Tile<T>& tile) {
    for (int i = 0; i < EACH; ++i) {
      const int index = tile.lane + i * WARP_LANES, stream = index / IN_STREAM;
      const int channel = index % IN_STREAM * NUMBERS_OF_UNIT;
      offset_[i] = index * BYTES;
      count_[i] = 0;
      if (stream < streams && args.streams[stream].data && tile.length > 0) {
        const CudaSequences& s = args.streams[stream];
        count_[i] = max(0, min(tile.width - channel, NUMBERS_OF_UNIT));
        from_[i] = s.data + tile.sequence * s.batch + (tile.first + channel) * sizeof(T);
        if (tile.backwards) from_[i] += (tile.length - 1) * s.step;
        step_[i] = tile.backwards ? -s.step : s.step;
      }
    }
  }

  // Writes zeros to the places that no copy ever fills.
  SRU_DEVICE void clear(TileRow<T, streams>* rows, int count) const {
    for (int i = 0; i < EACH; ++i) {
      if (offset_[i] >= static_cast<int>(sizeof(*rows)) || count_[i] == NUMBERS_OF_UNIT) continue;
#pragma unroll 1
      for (int t = 0; t < count; ++t) {
        T* const to = reinterpret_cast<T*>(reinterpret_cast<char*>(rows + t) + offset_[i]);
        for (int c = 0; c < NUMBERS_OF_UNIT; ++c) to[c] = T(0.f);
      }
    }
  }

  // Starts copying the first `count` of `steps` steps, beginning at `begin`, of the first `limit`
  // streams. `wait` completes the copy.
  template <int steps>
  SRU_DEVICE void fetch(TileRow<T, streams>* rows, int begin, int count,
                        int limit = streams) const {
    for (int i = 0; i < EACH; ++i) {
      const char* from = from_[i] + begin * step_[i];
      char* const to = reinterpret_cast<char*>(rows) + offset_[i];
      const bool wanted = count_[i] > 0 && offset_[i] < limit * IN_STREAM * BYTES;
      const int real = wanted ? count : 0;
      if constexpr (unit != NUMBERS) {
        for (int t = 0; t < steps; ++t, from += step_[i]) {
          copy_if<BYTES>(t < real, to + t * sizeof(*rows), from);
        }
      } else {
        T numbers[steps];  // all loads are issued before the first store
        for (int t = 0; t < steps; ++t, from += step_[i]) {
          if (t < real) numbers[t] = *reinterpret_cast<const T*>(from);
        }
        for (int t = 0; t < steps; ++t) {
          if (t < real) *reinterpret_cast<T*>(to + t * sizeof(*rows)) = numbers[t];
        }
      }
    }
  }

 private:
  static constexpr int BYTES_OF_UNIT = unit == VECTORS ? 16 : unit == PACKS ? 4 : 1;
  static constexpr int NUMBERS_OF_UNIT = BYTES_OF_UNIT < sizeof(T) ? 1 : BYTES_OF_UNIT / sizeof(T);
  static constexpr int BYTES = NUMBERS_OF_UNIT * sizeof(T);
  static constexpr int IN_STREAM = WIDTH<T> / NUMBERS_OF_UNIT;
  static constexpr int EACH = (streams * IN_STREAM + WARP_LANES - 1) / WARP_LANES;

  const char* from_[EACH] = {};  // null: nothing to copy
  int64_t step_[EACH] = {};
  int offset_[EACH], count_[EACH];
};

// Waits until all but the last `pending` groups of copies of all lanes have arrived. It also makes
// the earlier work of all lanes visible to each other.
template <int pending>
SRU_DEVICE void wait() {
  __pipeline_wait_prior(pending);
  __syncwarp();
}

template <typename T>
SRU_INLINE int64_t number_of_tiles(const CudaArgs& args) {
  return args.batch * args.directions * ((args.hidden + WIDTH<T> - 1) / WIDTH<T>);
}

// Launches a kernel with one warp per tile and chunk of time. Without tiles it does nothing.
template <typename T, typename Args>
cudaError_t launch(void (*kernel)(Args), const Args& args, cudaStream_t stream,
                   int64_t chunks_of_time = 1) {
  const int64_t warps = number_of_tiles<T>(args) * chunks_of_time;
  if (warps == 0) return cudaSuccess;
  // The kernels count steps in 32 bits, a few groups past the end.
  if (warps > INT32_MAX || args.steps > INT32_MAX / 2) return cudaErrorInvalidConfiguration;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(warps));
  config.blockDim = dim3(WARP_LANES);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, args);
}

// The options that a kernel is compiled for.
template <typename T_, int64_t activation_, bool peephole_, Unit unit_>
struct Options {
  using T = T_;
  static constexpr int64_t activation = activation_;
  static constexpr bool peephole = peephole_;
  static constexpr Unit unit = unit_;
};

template <typename T, bool peephole, Unit unit, typename F>
cudaError_t with_unit(const CudaArgs& args, const F& f) {
  return with_activation(args.activation, [&](auto activation) {
    return f(Options<T, decltype(activation)::value, peephole, unit>());
  });
}

// A kernel without peephole exists for VECTORS only. Elsewhere it would save nothing, and the
// peephole weights are zeros.
template <typename T, typename F>
cudaError_t with_type(const CudaArgs& args, const F& f) {
  if (args.alignment == 16 && !args.v) return with_unit<T, false, VECTORS>(args, f);
  if (args.alignment == 16) return with_unit<T, true, VECTORS>(args, f);
  if constexpr (sizeof(T) == 2) {
    if (args.alignment % 4 != 0) {
      return with_unit<T, true, NUMBERS>(args, f);
    }
  }
  return with_unit<T, true, PACKS>(args, f);
}

// Calls f with the options that match the arguments.
template <typename F>
cudaError_t with_options(const CudaArgs& args, const F& f) {
  switch (args.type) {
    case Type::FLOAT: return with_type<float>(args, f);
    case Type::DOUBLE: return with_type<double>(args, f);
    case Type::BFLOAT16: return with_type<__nv_bfloat16>(args, f);
    default: return with_type<__half>(args, f);
  }
}

}  // namespace srulight::cuda
