// Chooses the kernels for the best instruction set that the processor supports.
#include "codebook.h"
#include "fused.h"
#include "kernels.h"

#include <cstdlib>
#include <cstring>

// Tests compile a single level, for a processor that they emulate.
#if defined(__x86_64__) && !defined(SRU_ONLY_BASELINE)
#define SRU_LEVELS 1
#endif

#if defined(SRU_AMX) && !(defined(SRU_LEVELS) && defined(__linux__))
#undef SRU_AMX  // other systems are not known to permit it
#endif
#if defined(SRU_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace srulight {
namespace {

enum Level { BASELINE, AVX2, AVX512, AVX512_BF16, AMX_BF16 };
constexpr const char* NAMES[] = {"baseline", "avx2", "avx512", "avx512_bf16", "amx_bf16"};

// Whether the processor has a matrix unit for bfloat16, and the system lets this process use it.
bool has_tiles() {
#if defined(SRU_AMX)
  constexpr unsigned BF16 = 1u << 22, TILE = 1u << 24;  // in edx
  constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & BF16) || !(d & TILE)) return false;
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
  return false;
#endif
}

Level best_level() {
#if defined(SRU_LEVELS)
  __builtin_cpu_init();
  // Every processor with AVX2 has F16C, which not every compiler can test for.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512 && __builtin_cpu_supports("avx512bf16")) return has_tiles() ? AMX_BF16 : AVX512_BF16;
  if (avx512) return AVX512;
  if (avx2) return AVX2;
#endif
  return BASELINE;
}

// SRULIGHT_CPU=avx2, for example, selects a lower level, to run what an older processor would run.
Level level() {
  static const Level chosen = [] {
    const char* asked = std::getenv("SRULIGHT_CPU");
    const Level best = best_level();
    for (int i = BASELINE; asked && i < best; ++i) {
      if (std::strcmp(asked, NAMES[i]) == 0) return static_cast<Level>(i);
    }
    return best;
  }();
  return chosen;
}

}  // namespace

// Only products use the matrix unit.
#if defined(SRU_AMX)
#define SRU_PRODUCT_AT_LEVEL(call)                        \
  if (level() == AMX_BF16) return amx_bf16::call;         \
  SRU_AT_LEVEL(call)
#else
#define SRU_PRODUCT_AT_LEVEL(call) SRU_AT_LEVEL(call)
#endif
#if defined(SRU_LEVELS)
#define SRU_AT_LEVEL(call)                                \
  switch (level()) {                                      \
    case AMX_BF16:                                        \
    case AVX512_BF16: return avx512_bf16::call;           \
    case AVX512: return avx512::call;                     \
    case AVX2: return avx2::call;                         \
    default: return baseline::call;                       \
  }
#else
#define SRU_AT_LEVEL(call) return baseline::call
#endif
template <typename T>
void run_forward_kernel(const CpuForwardArgs<T>* streams, int64_t count) {
  SRU_AT_LEVEL(forward_kernel(streams, count));
}
template <typename T>
void run_backward_kernel(const CpuBackwardArgs<T>* streams, int64_t count) {
  SRU_AT_LEVEL(backward_kernel(streams, count));
}
void round_codebook_rows(const CodebookRows& args) { SRU_AT_LEVEL(round_codebook_rows(args)); }
void run_codebook_kernel(const CodebookProduct& args, int64_t begin, int64_t end) {
  SRU_AT_LEVEL(codebook_kernel(args, begin, end));
}
template <typename T>
TileShape tile_shape() {
  SRU_PRODUCT_AT_LEVEL(tile_shape<T>());
}
template <typename T>
void pack_weight(const WeightBlock& block, void* to) {
  SRU_PRODUCT_AT_LEVEL(pack_weight<T>(block, to));
}
template <typename T>
void run_tile_product(const TileProduct<T>& args) {
  SRU_PRODUCT_AT_LEVEL(tile_product(args));
}
#undef SRU_PRODUCT_AT_LEVEL
#undef SRU_AT_LEVEL

bool fuses_halves() { return level() == AVX2; }

int64_t vector_lanes() { return level() >= AVX512 ? 16 : level() == AVX2 ? 8 : 4; }

#define SRU_FOR_TYPE(T)                                              \
  template void run_forward_kernel<T>(const CpuForwardArgs<T>*, int64_t);     \
  template void run_backward_kernel<T>(const CpuBackwardArgs<T>*, int64_t);
SRU_FOR_TYPE(float)
SRU_FOR_TYPE(double)
SRU_FOR_TYPE(torch::headeronly::BFloat16)
SRU_FOR_TYPE(torch::headeronly::Half)
#undef SRU_FOR_TYPE

#define SRU_FOR_TYPE(T)                               \
  template TileShape tile_shape<T>();                 \
  template void pack_weight<T>(const WeightBlock&, void*); \
  template void run_tile_product<T>(const TileProduct<T>&);
SRU_FOR_TYPE(float)
SRU_FOR_TYPE(torch::headeronly::BFloat16)
SRU_FOR_TYPE(torch::headeronly::Half)
#undef SRU_FOR_TYPE

}  // namespace srulight

// Read by reports and tests.
extern "C" __attribute__((visibility("default"))) const char* srulight_cpu_level() {
  return srulight::NAMES[srulight::level()];
}
