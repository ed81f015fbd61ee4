// Vectors of floats, as wide as the target instruction set allows.
//
// Arithmetic uses the vector extension of GCC and Clang, which works on every processor. Intrinsics
// are used only for instructions that the extension cannot express.
#pragma once

#include "../cell.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstring>
#include <type_traits>

#if defined(SRU_VECTOR_BYTES)
// chosen by a test
#elif defined(__AVX512F__)
#define SRU_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define SRU_VECTOR_BYTES 32
#else
#define SRU_VECTOR_BYTES 16
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace srulight {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;

constexpr int VECTOR_LANES = SRU_VECTOR_BYTES / sizeof(float);
typedef float Floats __attribute__((vector_size(SRU_VECTOR_BYTES)));
typedef int32_t Ints __attribute__((vector_size(SRU_VECTOR_BYTES)));
typedef uint32_t Words __attribute__((vector_size(SRU_VECTOR_BYTES)));
typedef uint16_t HalfWords __attribute__((vector_size(SRU_VECTOR_BYTES / 2)));

// Doubles serve gradient checks and are processed one at a time.
template <typename A>
struct VectorOf;
template <>
struct VectorOf<float> {
  using type = Floats;
  static constexpr int lanes = VECTOR_LANES;
};
template <>
struct VectorOf<double> {
  using type = double;
  static constexpr int lanes = 1;
};

template <typename To, typename From>
SRU_INLINE To same_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

// ---- Memory: `count` is the number of elements, or All for a full vector ----

struct All {};

template <typename V, typename T>
SRU_INLINE V read(const T* p, All) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}
template <typename V, typename T>
SRU_INLINE V read(const T* p, int count) {
  V v{};
  memcpy(&v, p, count * sizeof(T));
  return v;
}
template <typename V, typename T>
SRU_INLINE void write(T* p, V v, All) {
  memcpy(p, &v, sizeof v);
}
template <typename V, typename T>
SRU_INLINE void write(T* p, V v, int count) {
  memcpy(p, &v, count * sizeof(T));
}

#if defined(__AVX512F__)
SRU_INLINE __mmask16 first(int count) { return static_cast<__mmask16>((1u << count) - 1); }
template <>
SRU_INLINE Floats read<Floats, float>(const float* p, int count) {
  return _mm512_maskz_loadu_ps(first(count), p);
}
template <>
SRU_INLINE void write<Floats, float>(float* p, Floats v, int count) {
  _mm512_mask_storeu_ps(p, first(count), v);
}
template <>
SRU_INLINE HalfWords read<HalfWords, uint16_t>(const uint16_t* p, int count) {
  return same_bits<HalfWords>(_mm256_maskz_loadu_epi16(first(count), p));
}
template <>
SRU_INLINE void write<HalfWords, uint16_t>(uint16_t* p, HalfWords v, int count) {
  _mm256_mask_storeu_epi16(p, first(count), same_bits<__m256i>(v));
}
#endif

template <typename Count>
SRU_INLINE Floats load(const float* p, Count count) {
  return read<Floats>(p, count);
}
template <typename Count>
SRU_INLINE void store(float* p, Floats v, Count count) {
  write<Floats>(p, v, count);
}
template <typename Count>
SRU_INLINE double load(const double* p, Count) {
  return *p;
}
template <typename Count>
SRU_INLINE void store(double* p, double v, Count) {
  *p = v;
}

template <typename Count>
SRU_INLINE Floats load(const BFloat16* p, Count count) {
  const HalfWords halves = read<HalfWords>(reinterpret_cast<const uint16_t*>(p), count);
  return same_bits<Floats>(__builtin_convertvector(halves, Words) << 16);
}

// Rounds to nearest, ties to even, and keeps NaNs.
SRU_INLINE HalfWords to_bfloat16(Floats v) {
#if defined(__AVX512BF16__)
  return same_bits<HalfWords>(_mm512_cvtneps_pbh(v));
#else
  const Words bits = same_bits<Words>(v);
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words nan = (bits >> 16) | 0x40;
  return __builtin_convertvector(v == v ? rounded : nan, HalfWords);
#endif
}

template <typename Count>
SRU_INLINE void store(BFloat16* p, Floats v, Count count) {
  write<HalfWords>(reinterpret_cast<uint16_t*>(p), to_bfloat16(v), count);
}

#if defined(__AVX512F__)
SRU_INLINE Floats from_half(HalfWords v) { return _mm512_cvtph_ps(same_bits<__m256i>(v)); }
SRU_INLINE HalfWords to_half(Floats v) {
  return same_bits<HalfWords>(_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(__AVX2__) && defined(__F16C__)
SRU_INLINE Floats from_half(HalfWords v) { return _mm256_cvtph_ps(same_bits<__m128i>(v)); }
SRU_INLINE HalfWords to_half(Floats v) {
  return same_bits<HalfWords>(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
#else
SRU_INLINE Floats from_half(HalfWords v) {
  Floats wide;
  for (int i = 0; i < VECTOR_LANES; ++i) {
    wide[i] = torch::headeronly::detail::fp16_ieee_to_fp32_value(v[i]);
  }
  return wide;
}
SRU_INLINE HalfWords to_half(Floats v) {
  HalfWords narrow;
  for (int i = 0; i < VECTOR_LANES; ++i) {
    narrow[i] = torch::headeronly::detail::fp16_ieee_from_fp32_value(v[i]);
  }
  return narrow;
}
#endif

template <typename Count>
SRU_INLINE Floats load(const Half* p, Count count) {
  return from_half(read<HalfWords>(reinterpret_cast<const uint16_t*>(p), count));
}
template <typename Count>
SRU_INLINE void store(Half* p, Floats v, Count count) {
  write<HalfWords>(reinterpret_cast<uint16_t*>(p), to_half(v), count);
}

// ---- Functions ----
//
// If `exact`, results have float precision, and otherwise 13 bits, which suffices for gates of
// numbers that are stored with 8 or 11 bits.

// 2^y for clamped y. With y = n + r, where n is an integer and 0 <= r <= 1, 2^r is approximated by
// the minimax polynomial (Remez) of degree 5, with a relative error of 7.5e-8, or of degree 3, with
// 7.5e-5.
template <bool exact>
SRU_INLINE Floats power_of_two(Floats y) {
#if defined(__AVX512DQ__)
  const Floats r = _mm512_reduce_ps(y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#else
  // Adding 1.5 * 2^23 leaves the integer part of a number in the lowest bits.
  const Floats shifted = (y - 0.5f) + 12582912.f;
  const Floats r = y - (shifted - 12582912.f);
#endif
  Floats p;
  if constexpr (exact) {
    p = r * 1.87757667e-3f + 8.98934009e-3f;
    p = p * r + 5.58263181e-2f;
    p = p * r + 2.40153617e-1f;
    p = p * r + 6.93153073e-1f;
    p = p * r + 9.99999925e-1f;
  } else {
    p = r * 7.80245227e-2f + 2.26067155e-1f;
    p = p * r + 6.95833541e-1f;
    p = p * r + 9.99925219e-1f;
  }
#if defined(__AVX512DQ__)
  return _mm512_scalef_ps(p, y);  // takes the integer part of y itself
#else
  return p * same_bits<Floats>((same_bits<Ints>(shifted) << 23) + 0x3f800000);
#endif
}

// Gates near 1 need all bits: the memory of a state depends on 1 - f, whatever the type.
SRU_INLINE Floats reciprocal(Floats y) {
#if defined(__AVX512F__)
  // An estimate with 14 bits and one Newton step take a third of the time of a division.
  const Floats guess = _mm512_rcp14_ps(y);
  return guess * (2.f - y * guess);
#else
  return 1.f / y;
#endif
}

// Keeps 1 + 2^y and its reciprocal finite, and passes NaNs on.
SRU_INLINE Floats clamp(Floats y) {
  const Floats limit = Floats{} + 126.f;
#if defined(__AVX512F__)
  // The result is y if y is NaN. No lower limit is needed, since scalef then rounds to 0.
  return _mm512_min_ps(limit, y);
#else
  y = y > limit ? limit : y;
  return y < -limit ? -limit : y;
#endif
}

template <bool exact>
SRU_INLINE Floats logistic(Floats x) {
  return reciprocal(1.f + power_of_two<exact>(clamp(x * -1.44269504f)));
}

}  // namespace

template <>
SRU_INLINE Floats sigmoid(Floats x) {
  return logistic<true>(x);
}
template <>
SRU_INLINE Floats hyperbolic_tangent(Floats x) {
  return 2.f * sigmoid(2.f * x) - 1.f;
}

// The gates of channels that are stored as T.
template <typename T, typename V>
SRU_INLINE V gate(V x) {
  if constexpr (sizeof(T) < sizeof(float)) return logistic<false>(x);
  return sigmoid(x);
}

}  // namespace srulight
