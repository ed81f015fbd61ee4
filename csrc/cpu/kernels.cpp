// Compiled once for each instruction set, into the namespace SRU_LEVEL. Everything else in this
// file and in what it includes is inlined or of this file alone: a function shared with another
// file could reach a processor that lacks its instructions.
#include "kernels.h"

#include "vector.h"

namespace srulight {
namespace SRU_LEVEL {
namespace {

// Rows lie apart, so that the processor does not guess the next one; it is told this many ahead.
constexpr int64_t AHEAD = 2;

// Calls f(first channel, how many) for each vector of channels.
template <int lanes, typename F>
SRU_INLINE void for_each_vector(int64_t channels, const F& f) {
  int64_t i = 0;
  for (; i + lanes <= channels; i += lanes) f(i, All{});
  if (i < channels) f(i, static_cast<int>(channels - i));
}

template <typename T>
SRU_INLINE void fetch(const T* p) {
  __builtin_prefetch(p, 0, 3);
}
template <typename T>
SRU_INLINE void fetch_to_write(T* p) {
  __builtin_prefetch(p, 1, 3);
}

template <typename A>
SRU_INLINE void copy_row(const A* from, A* to, int64_t channels) {
  memcpy(to, from, channels * sizeof(A));
}

template <int64_t activation, typename T>
void forward(const Forward<T>& in) {
  using A = Wide<T>;
  using V = typename VectorOf<A>::type;
  for (int64_t t = 0; t < in.steps; ++t) {
    if (in.checkpoints.data && t % CHECKPOINT_STEPS == 0) {
      copy_row(in.c, in.checkpoints[t / CHECKPOINT_STEPS], in.channels);
    }
    const T *candidates = in.candidate[t], *forgets = in.forget[t], *resets = in.reset[t];
    const T* skips = in.skip.data ? in.skip[t] : nullptr;
    T* h = in.h[t];
    const int64_t next = t + AHEAD < in.steps ? t + AHEAD : t;
    const T *next_candidates = in.candidate[next], *next_forgets = in.forget[next];
    const T *next_resets = in.reset[next], *next_skips = in.skip.data ? in.skip[next] : nullptr;
    T* next_h = in.h[next];
    for_each_vector<VectorOf<A>::lanes>(in.channels, [&](int64_t i, auto count) {
      fetch(next_candidates + i);
      fetch(next_forgets + i);
      fetch(next_resets + i);
      if (next_skips) fetch(next_skips + i);
      fetch_to_write(next_h + i);
      V c = load(in.c + i, count);
      V f = load(forgets + i, count) + load(in.b_f + i, count);
      V r = load(resets + i, count) + load(in.b_r + i, count);
      if (in.v_f) {
        f = f + load(in.v_f + i, count) * c;
        r = r + load(in.v_r + i, count) * c;
      }
      r = gate<T>(r);
      if (in.mask) r = r * load(in.mask + i, count);
      c = next_state(V(load(candidates + i, count)), gate<T>(f), c);
      store(in.c + i, c, count);
      V skip{};
      if (skips) skip = load(skips + i, count) * in.scale;
      store(h + i, output<activation>(c, skip, r), count);
    });
  }
}

template <int64_t activation, typename T>
void backward(const Backward<T>& in) {
  using A = Wide<T>;
  using V = typename VectorOf<A>::type;
  constexpr int lanes = VectorOf<A>::lanes;
  const int64_t channels = in.channels;
  A* const states = in.scratch;  // before each step of a chunk, and after the last
  A* const forgets = in.scratch + (CHECKPOINT_STEPS + 1) * channels;
  for (int64_t chunk = (in.steps - 1) / CHECKPOINT_STEPS; chunk >= 0 && in.steps > 0; --chunk) {
    const int64_t begin = chunk * CHECKPOINT_STEPS;
    const int64_t steps =
        in.steps - begin < CHECKPOINT_STEPS ? in.steps - begin : CHECKPOINT_STEPS;
    copy_row(in.checkpoints[chunk], states, channels);
    for (int64_t j = 0; j < steps; ++j) {
      const T *candidate = in.candidate[begin + j], *forget = in.forget[begin + j];
      A *before = states + j * channels, *after = before + channels, *fs = forgets + j * channels;
      const int64_t next = begin + (j + AHEAD < steps ? j + AHEAD : j);
      const T *next_candidate = in.candidate[next], *next_forget = in.forget[next];
      for_each_vector<lanes>(channels, [&](int64_t i, auto count) {
        fetch(next_candidate + i);
        fetch(next_forget + i);
        const V c = load(before + i, count);
        V f = load(forget + i, count) + load(in.b_f + i, count);
        if (in.v_f) f = f + load(in.v_f + i, count) * c;
        f = gate<T>(f);
        store(fs + i, f, count);
        store(after + i, next_state(V(load(candidate + i, count)), f, c), count);
      });
    }
    for (int64_t j = steps - 1; j >= 0; --j) {
      const int64_t t = begin + j;
      const T *candidate = in.candidate[t], *reset = in.reset[t], *grad_h = in.grad_h[t];
      const T* skips = in.skip.data ? in.skip[t] : nullptr;
      T *grad_candidate = in.grad_candidate[t], *grad_forget = in.grad_forget[t];
      T *grad_reset = in.grad_reset[t];
      T* grad_skip = in.grad_skip.data ? in.grad_skip[t] : nullptr;
      const A *before = states + j * channels, *fs = forgets + j * channels;
      const int64_t next = t < AHEAD ? t : t - AHEAD;
      const T *next_reset = in.reset[next], *next_grad_h = in.grad_h[next];
      const T* next_skip = in.skip.data ? in.skip[next] : nullptr;
      T *next_grad_candidate = in.grad_candidate[next], *next_grad_forget = in.grad_forget[next];
      T *next_grad_reset = in.grad_reset[next];
      T* next_grad_skip = grad_skip ? in.grad_skip[next] : nullptr;
      for_each_vector<lanes>(channels, [&](int64_t i, auto count) {
        fetch(next_reset + i);
        fetch(next_grad_h + i);
        if (next_skip) fetch(next_skip + i);
        fetch_to_write(next_grad_candidate + i);
        fetch_to_write(next_grad_forget + i);
        fetch_to_write(next_grad_reset + i);
        if (next_grad_skip) fetch_to_write(next_grad_skip + i);
        const V previous = load(before + i, count), c = load(before + channels + i, count);
        V v_f{}, v_r{}, skip{}, mask = V{} + 1;
        V r = load(reset + i, count) + load(in.b_r + i, count);
        if (in.v_f) {
          v_f = load(in.v_f + i, count);
          v_r = load(in.v_r + i, count);
          r = r + v_r * previous;
        }
        if (in.mask) mask = load(in.mask + i, count);
        if (skips) skip = load(skips + i, count) * in.scale;
        V grad_c = load(in.grad_c + i, count);
        const StepGradient<V> grad = transposed_step<activation>(
            V(load(candidate + i, count)), V(load(fs + i, count)), gate<T>(r), skip, v_f, v_r,
            mask, previous, c, V(load(grad_h + i, count)), grad_c);
        store(in.grad_c + i, grad_c, count);
        store(grad_candidate + i, grad.candidate, count);
        store(grad_forget + i, grad.forget, count);
        store(grad_reset + i, grad.reset, count);
        if (grad_skip) store(grad_skip + i, V(grad.skip * in.scale), count);
        store(in.grad_v_f + i, load(in.grad_v_f + i, count) + grad.forget * previous, count);
        store(in.grad_v_r + i, load(in.grad_v_r + i, count) + grad.reset * previous, count);
        store(in.grad_b_f + i, load(in.grad_b_f + i, count) + grad.forget, count);
        store(in.grad_b_r + i, load(in.grad_b_r + i, count) + grad.reset, count);
      });
    }
  }
}

}  // namespace

template <typename T>
void forward(const Forward<T>& in, int64_t activation) {
  if (activation == TANH) return forward<TANH>(in);
  if (activation == RELU) return forward<RELU>(in);
  forward<IDENTITY>(in);
}

template <typename T>
void backward(const Backward<T>& in, int64_t activation) {
  if (activation == TANH) return backward<TANH>(in);
  if (activation == RELU) return backward<RELU>(in);
  backward<IDENTITY>(in);
}

#define SRU_FOR_TYPE(T)                                    \
  template void forward<T>(const Forward<T>&, int64_t);    \
  template void backward<T>(const Backward<T>&, int64_t);
SRU_FOR_TYPE(float)
SRU_FOR_TYPE(double)
SRU_FOR_TYPE(BFloat16)
SRU_FOR_TYPE(Half)
#undef SRU_FOR_TYPE

}  // namespace SRU_LEVEL
}  // namespace srulight
