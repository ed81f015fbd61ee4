// Compiled once per instruction set, like kernels.cpp, whose first comment explains the rules.
#include "codebook.h"

#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace srulight {
namespace SRU_LEVEL {
namespace {

// Builtins are used in place of std functions, which need not be inlined.
constexpr int64_t CHUNK = 64;  // features at a time
constexpr int TILE = 4;        // rows of activations that share a look-up
constexpr int64_t LIMIT = 100;  // of a fraction length

#if defined(__AVX2__)
// A look-up of 32 bytes gives 64 entries in four vectors of 16 integers: those of the features 4k,
// 4k + 2, 4k + 1 and 4k + 3. Activations are stored in this order.
SRU_INLINE int64_t place(int64_t i) {
  constexpr int64_t VECTOR[] = {0, 2, 1, 3};
  return i / CHUNK * CHUNK + VECTOR[i % 4] * 16 + i % CHUNK / 4;
}
#else
SRU_INLINE int64_t place(int64_t i) { return i; }
#endif

// The largest fraction length with which no number of a row overflows.
SRU_INLINE int64_t row_fraction(const float* x, int64_t features, int64_t bits) {
  float largest = 0;
  for (int64_t i = 0; i < features; ++i) {
    const float size = __builtin_fabsf(x[i]);
    if (size > largest) largest = size;
  }
  int exponent = 0;
  if (largest <= __FLT_MAX__) __builtin_frexpf(largest, &exponent);
  const int64_t fraction = bits - 1 - exponent;
  return fraction > LIMIT ? LIMIT : fraction < -LIMIT ? -LIMIT : fraction;
}

}  // namespace

void round_codebook_rows(const CodebookRows& args) {
  const int64_t padded = padded_features(args.features);
  const float low = -__builtin_ldexpf(1.f, static_cast<int>(args.bits - 1)), high = -low - 1;
  for (int64_t m = 0; m < args.rows; ++m) {
    const float* const x = args.x + m * args.features;
    int16_t* const to = args.integers + m * padded;
    const int fraction = static_cast<int>(
        args.has_fraction ? args.fraction : row_fraction(x, args.features, args.bits));
    const float factor = __builtin_ldexpf(1.f, fraction);
    bool broken = false;
    for (int64_t i = 0; i < args.features; ++i) {
      const float scaled = x[i] * factor;
      broken |= scaled != scaled;
      const float limited = scaled > low ? (scaled < high ? scaled : high) : low;
      to[place(i)] = static_cast<int16_t>(__builtin_nearbyintf(limited));
    }
    for (int64_t i = args.features; i < padded; ++i) to[place(i)] = 0;
    if (broken) memset(to, 0, padded * sizeof(int16_t));
    args.steps[m] = broken ? __builtin_nanf("") : __builtin_ldexpf(1.f, -fraction);
  }
}

namespace {

#if defined(__AVX2__)

// The even and the odd bytes of each lane, as 16-bit integers.
SRU_INLINE __m256i even_bytes(__m256i v) {
  return _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
}
SRU_INLINE __m256i odd_bytes(__m256i v) { return _mm256_srai_epi16(v, 8); }

SRU_INLINE __m256i load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

SRU_INLINE int64_t sum(__m256i v) {
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), v);
  int64_t total = 0;
  for (int32_t lane : lanes) total += lane;
  return total;
}

// A lane adds 8 products of at most 2^22 in each chunk, so 32 bits suffice for 64 chunks: the
// largest integers are 127 and 2^15, and 64 * 8 * 127 * 2^15 < 2^31.
constexpr int64_t BLOCK = 64 * CHUNK;

template <int rows>
SRU_INLINE void multiply(const CodebookProduct& args, int64_t n, int64_t first) {
  const int64_t padded = padded_features(args.features), size = (args.features + 1) / 2;
  const int64_t group = n * args.codebooks / args.outputs;
  const __m256i table = _mm256_broadcastsi128_si256(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(args.codebook + 16 * group)));
  const __m256i lower = _mm256_set1_epi8(15);
  const uint8_t* const bytes = args.indices + n * size;
  const int16_t* const x = args.integers + first * padded;
  int64_t totals[rows] = {};
  for (int64_t block = 0; block < padded; block += BLOCK) {
    __m256i sums[rows];
    for (int m = 0; m < rows; ++m) sums[m] = _mm256_setzero_si256();
    const int64_t end = padded < block + BLOCK ? padded : block + BLOCK;
    for (int64_t i = block; i < end; i += CHUNK) {
      __m256i packed;
      if (i / 2 + 32 <= size) {
        packed = load(bytes + i / 2);
      } else {  // the zeros after the last feature meet zeros among the activations
        alignas(32) uint8_t rest[32] = {};
        memcpy(rest, bytes + i / 2, size - i / 2);
        packed = load(rest);
      }
      const __m256i even = _mm256_shuffle_epi8(table, _mm256_and_si256(packed, lower));
      const __m256i odd = _mm256_shuffle_epi8(
          table, _mm256_and_si256(_mm256_srli_epi16(packed, 4), lower));
      const __m256i values[] = {even_bytes(even), odd_bytes(even), even_bytes(odd),
                                odd_bytes(odd)};
      for (int m = 0; m < rows; ++m) {
        const int16_t* const from = x + m * padded + i;
        __m256i products[4];
        for (int k = 0; k < 4; ++k) {
          products[k] = _mm256_madd_epi16(values[k], load(from + 16 * k));
        }
        const __m256i even_sum = _mm256_add_epi32(products[0], products[1]);
        const __m256i odd_sum = _mm256_add_epi32(products[2], products[3]);
        sums[m] = _mm256_add_epi32(sums[m], _mm256_add_epi32(even_sum, odd_sum));
      }
    }
    for (int m = 0; m < rows; ++m) totals[m] += sum(sums[m]);
  }
  for (int m = 0; m < rows; ++m) {
    const float factor = args.scale[n] * args.steps[first + m];
    args.y[(first + m) * args.outputs + n] = static_cast<float>(totals[m]) * factor;
  }
}

#else

template <int rows>
SRU_INLINE void multiply(const CodebookProduct& args, int64_t n, int64_t first) {
  const int64_t padded = padded_features(args.features), size = (args.features + 1) / 2;
  const int8_t* const table = args.codebook + 16 * (n * args.codebooks / args.outputs);
  const uint8_t* const bytes = args.indices + n * size;
  const int16_t* const x = args.integers + first * padded;
  int64_t totals[rows] = {};
  for (int64_t j = 0; j < size; ++j) {
    const int32_t even = table[bytes[j] & 15], odd = table[bytes[j] >> 4];
    for (int m = 0; m < rows; ++m) {
      const int16_t* const from = x + m * padded + 2 * j;
      totals[m] += even * from[0] + odd * from[1];
    }
  }
  for (int m = 0; m < rows; ++m) {
    const float factor = args.scale[n] * args.steps[first + m];
    args.y[(first + m) * args.outputs + n] = static_cast<float>(totals[m]) * factor;
  }
}

#endif

}  // namespace

void codebook_kernel(const CodebookProduct& args, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; ++n) {
    int64_t m = 0;
    for (; m + TILE <= args.rows; m += TILE) multiply<TILE>(args, n, m);
    if (args.rows - m == 3) multiply<3>(args, n, m);
    if (args.rows - m == 2) multiply<2>(args, n, m);
    if (args.rows - m == 1) multiply<1>(args, n, m);
  }
}

}  // namespace SRU_LEVEL
}  // namespace srulight
