// What one lane of a warp holds and computes: its channels of a row, in registers.
#pragma once

#include "../cell.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define SRU_DEVICE __device__ __forceinline__

namespace srulight {

template <>
SRU_INLINE float hyperbolic_tangent(float x) {
  return tanhf(x);
}

namespace cuda {

constexpr int WARP_LANES = 32;

// Two channels of a half type to a lane, one of the others.
template <typename T>
struct Traits {
  static constexpr int channels = 1;
};
template <>
struct Traits<__half> {
  static constexpr int channels = 2;
  using Pair = __half2;
  static SRU_DEVICE float2 widen(__half2 x) { return __half22float2(x); }
  static SRU_DEVICE __half narrow(float x) { return __float2half_rn(x); }
  static SRU_DEVICE __half2 narrow(float x, float y) { return __floats2half2_rn(x, y); }
};
template <>
struct Traits<__nv_bfloat16> {
  static constexpr int channels = 2;
  using Pair = __nv_bfloat162;
  // One instruction a number; the toolkit's own function takes two for the second.
  static SRU_DEVICE float2 widen(__nv_bfloat162 x) {
    const unsigned bits = *reinterpret_cast<const unsigned*>(&x);
    return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000)};
  }
  static SRU_DEVICE __nv_bfloat16 narrow(float x) { return __float2bfloat16_rn(x); }
  static SRU_DEVICE __nv_bfloat162 narrow(float x, float y) { return __floats2bfloat162_rn(x, y); }
};

// Channels of a lane, and of a warp.
template <typename T>
constexpr int CHANNELS = Traits<T>::channels;
template <typename T>
constexpr int WIDTH = WARP_LANES * CHANNELS<T>;

// What rows are copied and written in: 16 bytes, a lane's channels, or single numbers.
enum Unit { VECTORS, PACKS, NUMBERS };

// A lane's channels of one row.
template <typename T>
struct Pack {
  Wide<T> at[CHANNELS<T>];
};

template <typename T>
SRU_DEVICE Pack<T> load(const T* from) {
  if constexpr (CHANNELS<T> == 1) {
    return {*from};
  } else {
    using Pair = typename Traits<T>::Pair;
    const float2 pair = Traits<T>::widen(*reinterpret_cast<const Pair*>(from));
    return {pair.x, pair.y};
  }
}

// Writes the first `count` channels; all or none where the unit is not a number.
template <Unit unit, typename T>
SRU_DEVICE void store(T* to, const Pack<T>& x, int count) {
  if constexpr (CHANNELS<T> == 1) {
    if (count > 0) *to = x.at[0];
  } else if constexpr (unit != NUMBERS) {
    using Pair = typename Traits<T>::Pair;
    if (count > 0) *reinterpret_cast<Pair*>(to) = Traits<T>::narrow(x.at[0], x.at[1]);
  } else {
    for (int i = 0; i < CHANNELS<T>; ++i) {
      if (i < count) to[i] = Traits<T>::narrow(x.at[i]);
    }
  }
}

// The processor's own exponential and reciprocal are right to 22 bits.
SRU_DEVICE float squash(float x) {
#if defined(__CUDACC__)
  float e, y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(x));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1 + e));
  return y;
#else  // a test runs the kernels on a CPU
  return 1 / (1 + exp2f(x));
#endif
}
SRU_DEVICE double squash(double x) { return 1 / (1 + exp(x)); }

// One gate of one channel, sigmoid(u + v c + b), arranged so that little has to wait for c: `squash`
// takes the argument of the exponential in its base, 2 or e, and v and b are scaled to that once.
template <typename A>
struct Gate {
  A v, b;

  SRU_DEVICE Gate(A v, A b) : v(SCALE * v), b(SCALE * b) {}
  template <bool peephole>
  SRU_DEVICE A open(A u, A c) const {
    const A input = SCALE * u + b;
    return squash(peephole ? v * c + input : input);
  }

 private:
  static constexpr A SCALE = sizeof(A) == 4 ? A(-1.44269504088896341) : A(-1);
};

}  // namespace cuda
}  // namespace srulight
