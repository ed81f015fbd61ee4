#pragma once

#include "cuda_runtime.h"

#include <torch/headeronly/util/Half.h>

using __half = c10::Half;
struct __half2 {
  __half x, y;
};
inline __half __float2half_rn(float x) { return x; }
inline float __half2float(__half x) { return x; }
inline float2 __half22float2(__half2 x) { return {x.x, x.y}; }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
