// Compiled once per instruction set, into the namespace SRU_LEVEL. Everything else in this file and
// in its headers is inlined or has internal linkage. The linker could otherwise merge a function
// with its copy from another file, and run it on a processor that lacks its instructions.
#include "kernels.h"

#include "vector.h"

namespace srulight {
namespace SRU_LEVEL {
namespace {

// Rows are far apart in memory, so the hardware prefetcher does not predict the next one. The
// kernels prefetch rows this many steps ahead.
constexpr int64_t AHEAD = 2;

// The current row and the row to prefetch, or null pointers.
template <typename T>
struct FetchedRow {
  T *now, *next;
};
template <typename T>
SRU_INLINE FetchedRow<T> row(const Rows<T>& rows, int64_t step, int64_t next) {
  return rows.data ? FetchedRow<T>{rows[step], rows[next]} : FetchedRow<T>{};
}

template <typename T, typename Count>
SRU_INLINE auto take(FetchedRow<const T> from, int64_t i, Count count) {
  __builtin_prefetch(from.next + i, 0, 3);
  return load(from.now + i, count);
}
template <typename T, typename V, typename Count>
SRU_INLINE void put(FetchedRow<T> to, int64_t i, V v, Count count) {
  __builtin_prefetch(to.next + i, 1, 3);
  store(to.now + i, v, count);
}
template <typename A, typename V, typename Count>
SRU_INLINE void add(A* to, V v, Count count) {
  store(to, load(to, count) + v, count);
}

// Calls f(first channel, number of channels) for each vector of channels.
template <typename A, typename F>
SRU_INLINE void for_each_vector(int64_t channels, const F& f) {
  constexpr int lanes = VectorOf<A>::lanes;
  int64_t i = 0;
  for (; i + lanes <= channels; i += lanes) f(i, All{});
  if (i < channels) f(i, static_cast<int>(channels - i));
}

template <int64_t activation, typename T>
SRU_INLINE void forward_step(const CpuForwardArgs<T>& args, int64_t t) {
  using A = Wide<T>;
  using V = typename VectorOf<A>::type;
  if (args.checkpoints.data && t % CHECKPOINT_STEPS == 0) {
    memcpy(args.checkpoints[t / CHECKPOINT_STEPS], args.c, args.channels * sizeof(A));
  }
  const int64_t next = t + AHEAD < args.steps + args.after ? t + AHEAD : t;
  const auto candidate = row(args.candidate, t, next), forget = row(args.forget, t, next);
  const auto reset = row(args.reset, t, next), skips = row(args.skip, t, next);
  const auto h = row(args.h, t, next);
  for_each_vector<A>(args.channels, [&](int64_t i, auto count) {
    const V before = load(args.c + i, count);
    V f = take(forget, i, count) + load(args.b_f + i, count);
    if (args.v_f) f = f + load(args.v_f + i, count) * before;
    const V c = next_state(V(take(candidate, i, count)), gate<T>(f), before);
    store(args.c + i, c, count);
    if (!h.now) return;
    V r = take(reset, i, count) + load(args.b_r + i, count);
    if (args.v_f) r = r + load(args.v_r + i, count) * before;
    r = gate<T>(r);
    if (args.mask) r = r * load(args.mask + i, count);
    V skip{};
    if (skips.now) skip = take(skips, i, count) * args.scale;
    put(h, i, output<activation>(c, skip, r), count);
  });
}

// All steps of all streams pass through the same instructions, so that equal inputs have equal
// results, to the bit.
template <int64_t activation, typename T>
void forward_steps(const CpuForwardArgs<T>* streams, int64_t count) {
  int64_t steps = 0;
  for (int64_t s = 0; s < count; ++s) steps = streams[s].steps > steps ? streams[s].steps : steps;
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t s = 0; s < count; ++s) {
      if (t < streams[s].steps) forward_step<activation>(streams[s], t);
    }
  }
}

// The steps between two saved states, with the values that backward recomputes into scratch memory.
template <typename A>
struct Chunk {
  int64_t begin, end, channels;
  A* states;   // (CHECKPOINT_STEPS + 1, channels) states before each step and after the last
  A* forgets;  // (CHECKPOINT_STEPS, channels) forget gate of each step

  SRU_INLINE A* state_before(int64_t t) const { return states + (t - begin) * channels; }
  SRU_INLINE A* forget_gate(int64_t t) const { return forgets + (t - begin) * channels; }
};

// Repeats a step of the forward pass.
template <typename T>
SRU_INLINE void recompute(const CpuBackwardArgs<T>& args, const Chunk<Wide<T>>& chunk, int64_t t) {
  using A = Wide<T>;
  using V = typename VectorOf<A>::type;
  const int64_t channels = args.channels;
  const int64_t next = t + AHEAD < chunk.end ? t + AHEAD : t;
  const auto candidate = row(args.candidate, t, next), forget = row(args.forget, t, next);
  A *before = chunk.state_before(t), *after = before + channels, *fs = chunk.forget_gate(t);
  for_each_vector<A>(channels, [&](int64_t i, auto count) {
    const V c = load(before + i, count);
    V f = take(forget, i, count) + load(args.b_f + i, count);
    if (args.v_f) f = f + load(args.v_f + i, count) * c;
    f = gate<T>(f);
    store(fs + i, f, count);
    store(after + i, next_state(V(take(candidate, i, count)), f, c), count);
  });
}

// Runs the backward pass of a step whose states have been recomputed.
template <int64_t activation, typename T>
SRU_INLINE void go_back(const CpuBackwardArgs<T>& args, const Chunk<Wide<T>>& chunk, int64_t t) {
  using A = Wide<T>;
  using V = typename VectorOf<A>::type;
  const int64_t channels = args.channels;
  const int64_t next = t < AHEAD - args.before ? t : t - AHEAD;
  const T* candidate = args.candidate[t];  // still in cache
  const auto reset = row(args.reset, t, next), skips = row(args.skip, t, next);
  const auto grad_h = row(args.grad_h, t, next);
  const auto grad_candidate = row(args.grad_candidate, t, next);
  const auto grad_forget = row(args.grad_forget, t, next);
  const auto grad_reset = row(args.grad_reset, t, next), grad_skip = row(args.grad_skip, t, next);
  const A *before = chunk.state_before(t), *fs = chunk.forget_gate(t);
  for_each_vector<A>(channels, [&](int64_t i, auto count) {
    const V previous = load(before + i, count), c = load(before + channels + i, count);
    V v_f{}, v_r{}, skip{}, mask = V{} + 1;
    V r = take(reset, i, count) + load(args.b_r + i, count);
    if (args.v_f) {
      v_f = load(args.v_f + i, count);
      v_r = load(args.v_r + i, count);
      r = r + v_r * previous;
    }
    if (args.mask) mask = load(args.mask + i, count);
    if (skips.now) skip = take(skips, i, count) * args.scale;
    V grad_c = load(args.grad_c + i, count);
    const StepGradient<V> grad = transposed_step<activation>(
        V(load(candidate + i, count)), V(load(fs + i, count)), gate<T>(r), skip, v_f, v_r, mask,
        previous, c, V(take(grad_h, i, count)), grad_c);
    store(args.grad_c + i, grad_c, count);
    if (!grad_candidate.now) return;
    put(grad_candidate, i, grad.candidate, count);
    put(grad_forget, i, grad.forget, count);
    put(grad_reset, i, grad.reset, count);
    if (grad_skip.now) put(grad_skip, i, V(grad.skip * args.scale), count);
    add(args.grad_v_f + i, grad.forget * previous, count);
    add(args.grad_v_r + i, grad.reset * previous, count);
    add(args.grad_b_f + i, grad.forget, count);
    add(args.grad_b_r + i, grad.reset, count);
  });
}

// Processes the chunks, last first.
template <int64_t activation, typename T>
void backward_steps(const CpuBackwardArgs<T>* streams, int64_t count) {
  using A = Wide<T>;
  Chunk<A> current[MAX_STREAMS];
  for (int64_t s = 0; s < count; ++s) {
    const CpuBackwardArgs<T>& args = streams[s];
    A* const forgets = args.scratch + (CHECKPOINT_STEPS + 1) * args.channels;
    current[s] = {args.steps, args.steps, args.channels, args.scratch, forgets};
  }
  for (;;) {
    bool done = true;
    for (int64_t s = 0; s < count; ++s) {
      Chunk<A>& chunk = current[s];
      chunk.end = chunk.begin;
      if (chunk.end == 0) continue;
      chunk.begin = (chunk.end - 1) / CHECKPOINT_STEPS * CHECKPOINT_STEPS;
      memcpy(chunk.states, streams[s].checkpoints[chunk.begin / CHECKPOINT_STEPS],
             chunk.channels * sizeof(A));
      done = false;
    }
    if (done) return;
    for (int64_t i = 0; i < CHECKPOINT_STEPS; ++i) {
      for (int64_t s = 0; s < count; ++s) {
        const Chunk<A>& chunk = current[s];
        if (chunk.begin + i < chunk.end) recompute(streams[s], chunk, chunk.begin + i);
      }
    }
    for (int64_t i = 1; i <= CHECKPOINT_STEPS; ++i) {
      for (int64_t s = 0; s < count; ++s) {
        const Chunk<A>& chunk = current[s];
        if (chunk.end - i >= chunk.begin) go_back<activation>(streams[s], chunk, chunk.end - i);
      }
    }
  }
}

}  // namespace

template <typename T>
void forward_kernel(const CpuForwardArgs<T>* streams, int64_t count) {
  with_activation(streams->activation,
                  [&](auto activation) { forward_steps<activation>(streams, count); });
}

template <typename T>
void backward_kernel(const CpuBackwardArgs<T>* streams, int64_t count) {
  with_activation(streams->activation,
                  [&](auto activation) { backward_steps<activation>(streams, count); });
}

#define SRU_FOR_TYPE(T)                                          \
  template void forward_kernel<T>(const CpuForwardArgs<T>*, int64_t);     \
  template void backward_kernel<T>(const CpuBackwardArgs<T>*, int64_t);
SRU_FOR_TYPE(float)
SRU_FOR_TYPE(double)
SRU_FOR_TYPE(BFloat16)
SRU_FOR_TYPE(Half)
#undef SRU_FOR_TYPE

}  // namespace SRU_LEVEL
}  // namespace srulight
