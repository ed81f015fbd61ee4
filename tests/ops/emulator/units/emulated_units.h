// Instructions of processors that tests do not have, in portable C++: products of pairs of bfloat16,
// and the matrix unit. The matrix unit stops the program if it is used in a way that a processor
// would refuse, or for which the results would be undefined.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace srulight {
namespace {

#if defined(SRU_EMULATED_PAIRS)
struct Pairs {
  BFloat16 numbers[2 * VECTOR_LANES];
};

SRU_INLINE Floats add_pairs(Floats sum, const BFloat16* x, const Pairs& w) {
  for (int i = 0; i < VECTOR_LANES; ++i) {
    const float first = static_cast<float>(x[0]) * static_cast<float>(w.numbers[2 * i]);
    const float second = static_cast<float>(x[1]) * static_cast<float>(w.numbers[2 * i + 1]);
    sum[i] += first + second;
  }
  return sum;
}
#endif

#if defined(SRU_EMULATED_TILES)
class MatrixUnit {
 public:
  void configure(const void* config) {
    const auto* const bytes = static_cast<const unsigned char*>(config);
    expect(bytes[0] == 1 && bytes[1] == 0, "palette 1 starts at row 0");
    for (int i = 2; i < 16; ++i) expect(bytes[i] == 0, "reserved bytes are zeros");
    for (int i = 0; i < 16; ++i) {
      unsigned short width;
      std::memcpy(&width, bytes + 16 + 2 * i, 2);
      const int rows = bytes[48 + i];
      expect(i < 8 || (width == 0) == (rows == 0), "a tile has rows and columns, or neither");
      expect(width <= 64 && rows <= 16, "a tile has at most 16 rows of 64 bytes");
      if (i < 8) {
        width_[i] = width;
        rows_[i] = rows;
      }
    }
    ready_ = true;
  }
  void release() {
    check();
    ready_ = false;
  }
  void zero(int tile) {
    check(tile);
    std::memset(data_[tile], 0, sizeof data_[tile]);
  }
  void load(int tile, const void* from, long stride) {
    check(tile);
    std::memset(data_[tile], 0, sizeof data_[tile]);
    for (int i = 0; i < rows_[tile]; ++i) {
      std::memcpy(data_[tile][i], static_cast<const char*>(from) + i * stride, width_[tile]);
    }
  }
  void store(int tile, void* to, long stride) {
    check(tile);
    for (int i = 0; i < rows_[tile]; ++i) {
      std::memcpy(static_cast<char*>(to) + i * stride, data_[tile][i], width_[tile]);
    }
  }
  void multiply(int sums, int a, int b) {
    check(sums);
    check(a);
    check(b);
    expect(rows_[sums] == rows_[a] && width_[sums] == width_[b] && width_[a] == 4 * rows_[b],
           "the sizes of the tiles fit each other");
    expect(sums != a && sums != b && a != b, "the tiles differ");
    for (int i = 0; i < rows_[sums]; ++i) {
      for (int j = 0; j < width_[sums] / 4; ++j) {
        float sum = number<float>(sums, i, j);
        for (int k = 0; k < 2 * rows_[b]; ++k) {
          sum += static_cast<float>(number<BFloat16>(a, i, k)) *
                 static_cast<float>(number<BFloat16>(b, k / 2, 2 * j + k % 2));
        }
        std::memcpy(data_[sums][i] + 4 * j, &sum, 4);
      }
    }
  }
  ~MatrixUnit() { expect(!ready_, "a thread releases its tiles"); }

 private:
  static void expect(bool claim, const char* what) {
    if (claim) return;
    std::fprintf(stderr, "matrix unit: expected that %s\n", what);
    std::abort();
  }
  void check(int tile = 0) const {
    expect(ready_, "tiles are configured");
    expect(tile >= 0 && tile < 8 && rows_[tile] > 0, "the tile exists");
  }
  template <typename T>
  T number(int tile, int row, int i) const {
    T found;
    std::memcpy(&found, data_[tile][row] + i * sizeof(T), sizeof(T));
    return found;
  }

  bool ready_ = false;
  int width_[8] = {}, rows_[8] = {};
  char data_[8][16][64];
};

thread_local MatrixUnit unit;

#undef _tile_loadconfig
#define _tile_loadconfig(config) unit.configure(config)
#define _tile_release() unit.release()
#define _tile_zero(tile) unit.zero(tile)
#define _tile_loadd(tile, from, stride) unit.load(tile, from, stride)
#define _tile_stored(tile, to, stride) unit.store(tile, to, stride)
#define _tile_dpbf16ps(sums, a, b) unit.multiply(sums, a, b)
#endif

}  // namespace
}  // namespace srulight
