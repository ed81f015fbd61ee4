// The work of one lane of a warp: its channels of a row, in registers.
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

// A lane has one channel. With two, a warp would need more instructions per step than its chain of
// dependent instructions takes cycles.
template <typename T>
struct Traits {
  static constexpr int channels = 1;
};
template <>
struct Traits<__half> {
  static constexpr int channels = 1;
  using Pair = __half2;
  static SRU_DEVICE float widen(__half x) { return __half2float(x); }
  static SRU_DEVICE float2 widen(__half2 x) { return __half22float2(x); }
  static SRU_DEVICE __half narrow(float x) { return __float2half_rn(x); }
  static SRU_DEVICE __half2 narrow(float x, float y) { return __floats2half2_rn(x, y); }
};
template <>
struct Traits<__nv_bfloat16> {
  static constexpr int channels = 1;
  using Pair = __nv_bfloat162;
  static SRU_DEVICE float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
  // One instruction per number. The function of the toolkit needs two for the second number.
  static SRU_DEVICE float2 widen(__nv_bfloat162 x) {
    const unsigned bits = *reinterpret_cast<const unsigned*>(&x);
    return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000)};
  }
  static SRU_DEVICE __nv_bfloat16 narrow(float x) { return __float2bfloat16_rn(x); }
  static SRU_DEVICE __nv_bfloat162 narrow(float x, float y) { return __floats2bfloat162_rn(x, y); }
};

// Numbers are stored as T and computed as Wide<T>.
template <typename T>
SRU_DEVICE Wide<T> widen(T x) {
  if constexpr (sizeof(T) == 2) {
    return Traits<T>::widen(x);
  } else {
    return x;
  }
}
template <typename T>
SRU_DEVICE T narrow(Wide<T> x) {
  if constexpr (sizeof(T) == 2) {
    return Traits<T>::narrow(x);
  } else {
    return x;
  }
}

// The number of channels of a lane, and of a warp. A row in shared memory has at most 128 bytes, so
// half the lanes have no channel in double.
template <typename T>
constexpr int CHANNELS = Traits<T>::channels;
template <typename T>
constexpr int WIDTH = sizeof(T) == 8 ? 16 : WARP_LANES * CHANNELS<T>;

// The unit in which rows are copied: 16 bytes, 4 bytes (8 in double), or single numbers.
enum Unit { VECTORS, PACKS, NUMBERS };

// A lane's channels of one row.
template <typename T>
struct Pack {
  Wide<T> at[CHANNELS<T>];
};

template <typename T>
SRU_DEVICE Pack<T> load(const T* from) {
  if constexpr (CHANNELS<T> == 1) {
    return {widen(*from)};
  } else {
    using Pair = typename Traits<T>::Pair;
    const float2 pair = Traits<T>::widen(*reinterpret_cast<const Pair*>(from));
    return {pair.x, pair.y};
  }
}

// A branch around a store would keep the compiler from interleaving steps, so the store itself is
// conditional.
template <typename V>
SRU_DEVICE void store_if(bool condition, V* to, V value) {
#if defined(__CUDACC__)
  const int p = condition;
  if constexpr (sizeof(V) == 2) {
    asm volatile("{.reg .pred p; setp.ne.s32 p, %0, 0; @p st.global.u16 [%1], %2;}" ::"r"(p),
                 "l"(to), "h"(*reinterpret_cast<unsigned short*>(&value)));
  } else if constexpr (sizeof(V) == 4) {
    asm volatile("{.reg .pred p; setp.ne.s32 p, %0, 0; @p st.global.u32 [%1], %2;}" ::"r"(p),
                 "l"(to), "r"(*reinterpret_cast<unsigned*>(&value)));
  } else {
    asm volatile("{.reg .pred p; setp.ne.s32 p, %0, 0; @p st.global.f64 [%1], %2;}" ::"r"(p),
                 "l"(to), "d"(value));
  }
#else
  if (condition) *to = value;
#endif
}

// Writes the first `count` channels. Unless the unit is NUMBERS, `count` is 0 or all channels.
template <Unit unit, typename T>
SRU_DEVICE void store(T* to, const Pack<T>& x, int count) {
  if constexpr (CHANNELS<T> == 1) {
    store_if(count > 0, to, narrow<T>(x.at[0]));
  } else if constexpr (unit != NUMBERS) {
    using Pair = typename Traits<T>::Pair;
    store_if(count > 0, reinterpret_cast<Pair*>(to), Traits<T>::narrow(x.at[0], x.at[1]));
  } else {
    for (int i = 0; i < CHANNELS<T>; ++i) {
      if (i < count) to[i] = Traits<T>::narrow(x.at[i]);
    }
  }
}

// The exponential and the reciprocal in hardware are accurate to 22 bits.
SRU_DEVICE float squash(float x) {
#if defined(__CUDACC__)
  float e, y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(x));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1 + e));
  return y;
#else  // a test runs the kernels on the CPU
  return 1 / (1 + exp2f(x));
#endif
}
SRU_DEVICE double squash(double x) { return 1 / (1 + exp(x)); }

// One gate of one channel, sigmoid(u + v * c + b), with few operations that depend on c. `squash`
// expects the exponent to its own base, 2 or e, so v and b are scaled once in advance.
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
