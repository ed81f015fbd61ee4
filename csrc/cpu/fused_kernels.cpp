// The products of fused.h, compiled once per instruction set like kernels.cpp.
//
// A block of rows times columns of u stays in registers while the features pass by: a feature of
// each row is broadcast and multiplied by a vector of columns. Where the processor multiplies pairs
// of bfloat16, a pair of features takes the place of one; where it has a matrix unit, a tile of 32.
#include "fused.h"

#include "vector.h"

// Tests emulate the instructions of processors that they do not have.
#if defined(SRU_EMULATED_PAIRS) || defined(SRU_EMULATED_TILES)
#include "emulated_units.h"
#endif
#if defined(__AVX512BF16__) || defined(SRU_EMULATED_PAIRS)
#define SRU_PAIRS 1
#endif
#if defined(__AMX_BF16__) || defined(SRU_EMULATED_TILES)
#define SRU_TILES 1
#endif

namespace srulight {
namespace SRU_LEVEL {
namespace {

// Two vectors of columns, and as many rows as leave registers for these and one broadcast.
constexpr int VECTORS = 2, COLUMNS = VECTORS * VECTOR_LANES;
constexpr int ROWS = SRU_VECTOR_BYTES == 64 ? 12 : 6;

template <typename T>
SRU_INLINE const T* row_of(const WeightBlock& block, int64_t plane, int64_t channel) {
  return static_cast<const T*>(block.weight) +
         (plane * block.all + block.first + channel) * block.features;
}
SRU_INLINE int64_t padded(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }
SRU_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The place of a column among those of a panel whose features lie one by one. In bfloat16, columns of
// the two vectors take turns, so that one load and two operations widen both.
template <typename T>
SRU_INLINE int64_t place(int64_t column) {
  if (!std::is_same_v<T, BFloat16>) return column;
  return column % VECTOR_LANES * VECTORS + column / VECTOR_LANES;
}
template <typename T>
SRU_INLINE void load_columns(const T* from, Floats (&to)[VECTORS]) {
  for (int v = 0; v < VECTORS; ++v) to[v] = load(from + v * VECTOR_LANES, All{});
}
SRU_INLINE void load_columns(const BFloat16* from, Floats (&to)[VECTORS]) {
  static_assert(VECTORS == 2 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  const Words both = read<Words>(from, All{});
  to[0] = same_bits<Floats>(both << 16);
  to[1] = same_bits<Floats>(both & 0xffff0000u);
}

// Writes a packed weight of numbers of type T. A panel of columns is followed by the next. Within a
// panel, `group` features of one column lie side by side. Missing columns and features are zeros.
template <int columns, int group, int unit, typename T>
void pack(const WeightBlock& block, T* to) {
  const int64_t features = padded(block.features, unit);
  for (int64_t plane = 0; plane < block.planes; ++plane) {
    for (int64_t first = 0; first < block.channels; first += columns) {
      const int64_t count = smaller(columns, block.channels - first);
      for (int64_t i = 0; i < columns; ++i) {
        const T* const from = i < count ? row_of<T>(block, plane, first + i) : nullptr;
        const int64_t column = group == 1 ? place<T>(i) : i;
        for (int64_t k = 0; k < features; ++k) {
          to[(k / group * columns + column) * group + k % group] =
              from && k < block.features ? from[k] : T(0);
        }
      }
      to += features * columns;
    }
  }
}

// ---- Any numbers: one feature at a time ----

template <typename T, int rows>
SRU_INLINE void multiply(const float* const* x, const T* weight, int64_t features, T* u,
                         int64_t step) {
  Floats sum[rows][VECTORS] = {};
  for (int64_t k = 0; k < features; ++k, weight += COLUMNS) {
    Floats w[VECTORS];
    load_columns(weight, w);
    for (int i = 0; i < rows; ++i) {
      for (int v = 0; v < VECTORS; ++v) sum[i][v] += x[i][k] * w[v];
    }
  }
  for (int i = 0; i < rows; ++i) {
    for (int v = 0; v < VECTORS; ++v) store(u + i * step + v * VECTOR_LANES, sum[i][v], All{});
  }
}

template <int rows>
struct Strip {
  template <typename T>
  static void run(const TileProduct<T>& args, int64_t first) {
    const float* x[rows];
    for (int i = 0; i < rows; ++i) {
      const T* const from = args.x + (first + i) * args.features;
      if constexpr (std::is_same_v<T, float>) {
        x[i] = from;
      } else {
        float* const to = static_cast<float*>(args.scratch) + i * args.features;
        int64_t k = 0;
        for (; k + VECTOR_LANES <= args.features; k += VECTOR_LANES) {
          store(to + k, load(from + k, All{}), All{});
        }
        const int rest = static_cast<int>(args.features - k);
        if (rest > 0) store(to + k, load(from + k, rest), rest);
        x[i] = to;
      }
    }
    const T* weight = static_cast<const T*>(args.weight);
    const int64_t step = args.planes * args.width;
    T* const u = args.u + first * step;
    for (int64_t column = 0; column < step; column += COLUMNS) {
      multiply<T, rows>(x, weight, args.features, u + column, step);
      weight += args.features * COLUMNS;
    }
  }
};

// Calls Kernel<rows>::run for strips of `most` rows, and for the rest.
template <template <int> class Kernel, int most, typename T>
SRU_INLINE void for_each_strip(const TileProduct<T>& args, int64_t first = 0) {
  for (; first + most <= args.rows; first += most) Kernel<most>::run(args, first);
  if constexpr (most > 1) {
    if (first < args.rows) for_each_strip<Kernel, most / 2>(args, first);
  }
}

// ---- Pairs of bfloat16 ----

#if defined(SRU_PAIRS)
#if !defined(SRU_EMULATED_PAIRS)
using Pairs = __m512bh;
// Adds x[0] * w[2 i] + x[1] * w[2 i + 1] to each sum[i].
SRU_INLINE Floats add_pairs(Floats sum, const BFloat16* x, Pairs w) {
  int32_t both;
  memcpy(&both, x, sizeof both);
  return _mm512_dpbf16_ps(sum, same_bits<Pairs>(_mm512_set1_epi32(both)), w);
}
#endif

template <int rows>
struct PairStrip {
  static void run(const TileProduct<BFloat16>& args, int64_t first) {
    const int64_t features = padded(args.features, 2);
    BFloat16* const x = static_cast<BFloat16*>(args.scratch);
    for (int i = 0; i < rows; ++i) {
      x[(i + 1) * features - 1] = 0.f;
      memcpy(x + i * features, args.x + (first + i) * args.features,
             args.features * sizeof(BFloat16));
    }
    const BFloat16* weight = static_cast<const BFloat16*>(args.weight);
    const int64_t step = args.planes * args.width;
    for (int64_t column = 0; column < step; column += COLUMNS) {
      Floats sum[rows][VECTORS] = {};
      for (int64_t k = 0; k < features; k += 2, weight += 2 * COLUMNS) {
        Pairs w[VECTORS];
        for (int v = 0; v < VECTORS; ++v) memcpy(&w[v], weight + 2 * v * VECTOR_LANES, sizeof w[v]);
        for (int i = 0; i < rows; ++i) {
          for (int v = 0; v < VECTORS; ++v) {
            sum[i][v] = add_pairs(sum[i][v], x + i * features + k, w[v]);
          }
        }
      }
      for (int i = 0; i < rows; ++i) {
        BFloat16* const u = args.u + (first + i) * step + column;
        for (int v = 0; v < VECTORS; ++v) store(u + v * VECTOR_LANES, sum[i][v], All{});
      }
    }
  }
};
#endif

// ---- Tiles of bfloat16 ----

#if defined(SRU_TILES)
// A tile has 16 rows of 64 bytes: 16 x 16 floats, or 16 x 32 of bfloat16.
constexpr int64_t TILE = 16, DEPTH = 32;
static_assert(COLUMNS == 2 * TILE);

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

void multiply_tiles(const TileProduct<BFloat16>& args) {
  const TileConfig config;
  _tile_loadconfig(&config);
  const int64_t features = padded(args.features, DEPTH), step = args.planes * args.width;
  BFloat16* const strip = static_cast<BFloat16*>(args.scratch);
  alignas(64) float sums[2 * TILE][COLUMNS];
  for (int64_t first = 0; first < args.rows; first += 2 * TILE) {
    const int64_t rows = smaller(2 * TILE, args.rows - first);
    const BFloat16* x = args.x + first * args.features;
    if (rows < 2 * TILE || features != args.features) {  // tiles must not read past the end
      memset(strip, 0, 2 * TILE * features * sizeof(BFloat16));
      for (int64_t i = 0; i < rows; ++i) {
        memcpy(strip + i * features, x + i * args.features, args.features * sizeof(BFloat16));
      }
      x = strip;
    }
    const int64_t x_bytes = features * static_cast<int64_t>(sizeof(BFloat16));
    const BFloat16* weight = static_cast<const BFloat16*>(args.weight);
    for (int64_t column = 0; column < step; column += COLUMNS) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      for (int64_t k = 0; k < features; k += DEPTH, weight += DEPTH * COLUMNS) {
        _tile_loadd(4, x + k, x_bytes);
        _tile_loadd(5, x + TILE * features + k, x_bytes);
        _tile_loadd(6, weight, 4 * COLUMNS);
        _tile_loadd(7, weight + 2 * TILE, 4 * COLUMNS);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_stored(0, &sums[0][0], sizeof(sums[0]));
      _tile_stored(1, &sums[0][TILE], sizeof(sums[0]));
      _tile_stored(2, &sums[TILE][0], sizeof(sums[0]));
      _tile_stored(3, &sums[TILE][TILE], sizeof(sums[0]));
      for (int64_t i = 0; i < rows; ++i) {
        BFloat16* const u = args.u + (first + i) * step + column;
        for (int v = 0; v < VECTORS; ++v) {
          store(u + v * VECTOR_LANES, load(&sums[i][v * VECTOR_LANES], All{}), All{});
        }
      }
    }
  }
  _tile_release();
}
#endif

// A level-2 cache has 512 KB on most processors with AVX2, 1 MB or more on those with AVX-512.
constexpr int64_t CACHE = (SRU_VECTOR_BYTES == 64 ? 640 : 256) * 1024;

}  // namespace

template <typename T>
TileShape tile_shape() {
#if defined(SRU_TILES)
  if (std::is_same_v<T, BFloat16>) return {2 * TILE, COLUMNS, sizeof(T), sizeof(T), CACHE};
#endif
  return {ROWS, COLUMNS, sizeof(T), sizeof(float), CACHE};
}

template <typename T>
void pack_weight(const WeightBlock& block, void* to) {
#if defined(SRU_TILES)
  if constexpr (std::is_same_v<T, BFloat16>) return pack<COLUMNS, 2, DEPTH>(block, static_cast<T*>(to));
#elif defined(SRU_PAIRS)
  if constexpr (std::is_same_v<T, BFloat16>) return pack<COLUMNS, 2, 2>(block, static_cast<T*>(to));
#endif
  pack<COLUMNS, 1, 1>(block, static_cast<T*>(to));
}

template <typename T>
void tile_product(const TileProduct<T>& args) {
#if defined(SRU_TILES)
  if constexpr (std::is_same_v<T, BFloat16>) return multiply_tiles(args);
#elif defined(SRU_PAIRS)
  if constexpr (std::is_same_v<T, BFloat16>) return for_each_strip<PairStrip, ROWS>(args);
#endif
  for_each_strip<Strip, ROWS>(args);
}

#define SRU_FOR_TYPE(T)                                  \
  template TileShape tile_shape<T>();                    \
  template void pack_weight<T>(const WeightBlock&, void*); \
  template void tile_product<T>(const TileProduct<T>&);
SRU_FOR_TYPE(float)
SRU_FOR_TYPE(BFloat16)
SRU_FOR_TYPE(Half)
#undef SRU_FOR_TYPE

}  // namespace SRU_LEVEL
}  // namespace srulight
