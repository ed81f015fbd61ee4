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

// A row, and the one to fetch meanwhile; null if there is none.
template <typename T>
struct Row {
  T *now, *next;
};
template <typename T>
SRU_INLINE Row<T> row(const Rows<T>& rows, int64_t step, int64_t next) {
  return rows.data ? Row<T>{rows[step], rows[next]} : Row<T>{};
}

template <typename T, typename Count>
SRU_INLINE auto take(Row<const T> from, int64_t i, Count count) {
  __builtin_prefetch(from.next + i, 0, 3);
  return load(from.now + i, count);
}
template <typename T, typename V, typename Count>
SRU_INLINE void put(Row<T> to, int64_t i, V v, Count count) {
  __builtin_prefetch(to.next + i, 1, 3);
  store(to.now + i, v, count);
}
template <typename A, typename V, typename Count>
SRU_INLINE void add(A* to, V v, Count count) {
  store(to, load(to, count) + v, count);
}

// Calls f(first channel, how many) for each vector of channels.
template <int lanes, typename F>
SRU_INLINE void for_each_vector(int64_t channels, const F& f) {
  int64_t i = 0;
  for (; i + lanes <= channels; i += lanes) f(i, All{});
  if (i < channels) f(i, static_cast<int>(channels - i));
}

template <int64_t activation, typename T>
void forward(const Forward<T>& in) {
  using A = Wide<T>;
  using V = typename VectorOf<A>::type;
  for (int64_t t = 0; t < in.steps; ++t) {
    if (in.checkpoints.data && t % CHECKPOINT_STEPS == 0) {
      memcpy(in.checkpoints[t / CHECKPOINT_STEPS], in.c, in.channels * sizeof(A));
    }
    const int64_t next = t + AHEAD < in.steps ? t + AHEAD : t;
    const auto candidate = row(in.candidate, t, next), forget = row(in.forget, t, next);
    const auto reset = row(in.reset, t, next), skips = row(in.skip, t, next);
    const auto h = row(in.h, t, next);
    for_each_vector<VectorOf<A>::lanes>(in.channels, [&](int64_t i, auto count) {
      V c = load(in.c + i, count);
      V f = take(forget, i, count) + load(in.b_f + i, count);
      V r = take(reset, i, count) + load(in.b_r + i, count);
      if (in.v_f) {
        f = f + load(in.v_f + i, count) * c;
        r = r + load(in.v_r + i, count) * c;
      }
      r = gate<T>(r);
      if (in.mask) r = r * load(in.mask + i, count);
      c = next_state(V(take(candidate, i, count)), gate<T>(f), c);
      store(in.c + i, c, count);
      V skip{};
      if (skips.now) skip = take(skips, i, count) * in.scale;
      put(h, i, output<activation>(c, skip, r), count);
    });
  }
}

// Goes back over the chunks between saved states; over each it first goes forth, to have its states
// and forget gates.
template <int64_t activation, typename T>
void backward(const Backward<T>& in) {
  using A = Wide<T>;
  using V = typename VectorOf<A>::type;
  constexpr int lanes = VectorOf<A>::lanes;
  const int64_t channels = in.channels;
  A* const states = in.scratch;  // before each step of a chunk, and after the last
  A* const forgets = in.scratch + (CHECKPOINT_STEPS + 1) * channels;
  int64_t end = in.steps;
  while (end > 0) {
    const int64_t chunk = (end - 1) / CHECKPOINT_STEPS, begin = chunk * CHECKPOINT_STEPS;
    memcpy(states, in.checkpoints[chunk], channels * sizeof(A));
    for (int64_t t = begin; t < end; ++t) {
      const int64_t next = t + AHEAD < end ? t + AHEAD : t;
      const auto candidate = row(in.candidate, t, next), forget = row(in.forget, t, next);
      A *before = states + (t - begin) * channels, *after = before + channels;
      A* fs = forgets + (t - begin) * channels;
      for_each_vector<lanes>(channels, [&](int64_t i, auto count) {
        const V c = load(before + i, count);
        V f = take(forget, i, count) + load(in.b_f + i, count);
        if (in.v_f) f = f + load(in.v_f + i, count) * c;
        f = gate<T>(f);
        store(fs + i, f, count);
        store(after + i, next_state(V(take(candidate, i, count)), f, c), count);
      });
    }
    for (int64_t t = end - 1; t >= begin; --t) {
      const int64_t next = t < AHEAD ? t : t - AHEAD;
      const T* candidate = in.candidate[t];  // still in cache
      const auto reset = row(in.reset, t, next), skips = row(in.skip, t, next);
      const auto grad_h = row(in.grad_h, t, next);
      const auto grad_candidate = row(in.grad_candidate, t, next);
      const auto grad_forget = row(in.grad_forget, t, next);
      const auto grad_reset = row(in.grad_reset, t, next), grad_skip = row(in.grad_skip, t, next);
      const A *before = states + (t - begin) * channels, *fs = forgets + (t - begin) * channels;
      for_each_vector<lanes>(channels, [&](int64_t i, auto count) {
        const V previous = load(before + i, count), c = load(before + channels + i, count);
        V v_f{}, v_r{}, skip{}, mask = V{} + 1;
        V r = take(reset, i, count) + load(in.b_r + i, count);
        if (in.v_f) {
          v_f = load(in.v_f + i, count);
          v_r = load(in.v_r + i, count);
          r = r + v_r * previous;
        }
        if (in.mask) mask = load(in.mask + i, count);
        if (skips.now) skip = take(skips, i, count) * in.scale;
        V grad_c = load(in.grad_c + i, count);
        const StepGradient<V> grad = transposed_step<activation>(
            V(load(candidate + i, count)), V(load(fs + i, count)), gate<T>(r), skip, v_f, v_r,
            mask, previous, c, V(take(grad_h, i, count)), grad_c);
        store(in.grad_c + i, grad_c, count);
        put(grad_candidate, i, grad.candidate, count);
        put(grad_forget, i, grad.forget, count);
        put(grad_reset, i, grad.reset, count);
        if (grad_skip.now) put(grad_skip, i, V(grad.skip * in.scale), count);
        add(in.grad_v_f + i, grad.forget * previous, count);
        add(in.grad_v_r + i, grad.reset * previous, count);
        add(in.grad_b_f + i, grad.forget, count);
        add(in.grad_b_r + i, grad.reset, count);
      });
    }
    end = begin;
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
