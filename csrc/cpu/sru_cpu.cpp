// The operators on CPU. A sequence's channels in one direction are one piece of work; the kernels
// run over its time. The carry stays wide, in cache, in the output `last` (forward) or `grad_c0`
// (backward).
#include "../sru.h"
#include "kernels.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <tuple>
#include <utility>
#include <vector>

namespace srulight {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::ScalarType;

// ---- which kernels ----

enum Level : int64_t { BASELINE, AVX2, AVX512, AVX512_BF16 };

Level best_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512 && __builtin_cpu_supports("avx512bf16")) return AVX512_BF16;
  if (avx512) return AVX512;
  if (avx2) return AVX2;
#endif
  return BASELINE;
}

// SRULIGHT_CPU=0 to 3 lowers it, to see what another processor would do.
Level level() {
  static const Level chosen = [] {
    const char* asked = std::getenv("SRULIGHT_CPU");
    return asked ? std::min(best_level(), Level(std::atoi(asked))) : best_level();
  }();
  return chosen;
}

#if defined(__x86_64__)
#define SRU_AT_LEVEL(call)                                \
  switch (level()) {                                      \
    case AVX512_BF16: return avx512_bf16::call;           \
    case AVX512: return avx512::call;                     \
    case AVX2: return avx2::call;                         \
    default: return baseline::call;                       \
  }
#else
#define SRU_AT_LEVEL(call) return baseline::call
#endif
template <typename T>
void run(const Forward<T>& work, int64_t activation) {
  SRU_AT_LEVEL(forward(work, activation));
}
template <typename T>
void run(const Backward<T>& work, int64_t activation) {
  SRU_AT_LEVEL(backward(work, activation));
}
#undef SRU_AT_LEVEL

// ---- tensors as rows of channels ----

// Channels that lie side by side; steps, sequences and planes may lie anywhere.
Tensor with_packed_channels(const Tensor& t) {
  const int64_t last = t.dim() - 1;
  return t.size(last) <= 1 || t.stride(last) == 1 ? t : torch::stable::contiguous(t);
}

// Whole sequences, or some steps of one: what is done between two matrix products. The first step
// is one before which a state is saved.
struct Tile {
  int64_t sequence, sequences, step, steps;
};

// Some channels of one sequence of a tile, in one direction: what one thread does at a time.
struct Piece {
  int64_t sequence, first, channels;
  int64_t begin, steps, padded_end;  // real steps, from the leftmost on; then zeros up to the end
  bool reversed;
};

// A (B, T, ..., D) tensor.
template <typename T>
struct Sequences {
  T* data = nullptr;
  int64_t batch = 0, step = 0;

  Rows<T> rows(const Piece& p) const {
    if (!data) return {};
    const int64_t t = p.reversed ? p.begin + p.steps - 1 : p.begin;
    return {data + p.sequence * batch + t * step + p.first, p.reversed ? -step : step};
  }
  void clear_padding(const Piece& p) const {
    for (int64_t t = p.begin + p.steps; data && t < p.padded_end; ++t) {
      std::fill_n(data + p.sequence * batch + t * step + p.first, p.channels, T(0));
    }
  }
};

template <typename T>
Sequences<const T> reading(const Tensor& t) {
  return {t.const_data_ptr<T>(), t.stride(0), t.stride(1)};
}
template <typename T>
Sequences<T> writing(Tensor& t) {
  return {t.mutable_data_ptr<T>(), t.stride(0), t.stride(1)};
}

// u, or its gradient.
template <typename T>
struct Gates {
  Sequences<T> all;
  int64_t plane;
  Sequences<T> operator[](int64_t k) const { return {all.data + k * plane, all.batch, all.step}; }
};

int64_t chunks(int64_t steps) { return (steps + CHECKPOINT_STEPS - 1) / CHECKPOINT_STEPS; }

// What forward and backward read alike. Pointers and strides are looked up once: through the
// stable ABI each is a call.
template <typename T>
class Inputs {
  using A = Wide<T>;

 public:
  Inputs(const Sizes& n, const Arguments& a) : n(n), activation(a.activation) {
    if (a.skip) skip_ = reading<T>(keep(with_packed_channels(*a.skip)));
    if (a.v) v_ = packed<A>(*a.v);
    b_ = packed<A>(a.b);
    if (a.c0) c0_ = packed<A>(*a.c0);
    if (a.mask) mask_ = packed<A>(*a.mask);
    if (a.lengths) lengths_ = packed<int64_t>(*a.lengths);
    scale_ = static_cast<A>(a.skip ? a.scale : 1.0);
    for (int64_t i = 0; lengths_ && i < n.batch; ++i) {
      STD_TORCH_CHECK(lengths_[i] >= 0 && lengths_[i] <= n.steps, "lengths must be 0 to ",
                      n.steps, ", got ", lengths_[i]);
    }
  }

  // Sequences and directions are independent; wide layers are cut further while cores are idle.
  template <typename F>
  void for_each_piece(const Tile& tile, const F& work) const {
    const int64_t rows = tile.sequences * n.directions;
    if (rows == 0 || n.hidden == 0) return;
    const int64_t threads = torch::stable::get_num_threads();
    const int64_t wanted = (threads + rows - 1) / rows;
    const int64_t width = std::max<int64_t>(64, ((n.hidden + wanted - 1) / wanted + 15) / 16 * 16);
    const int64_t cuts = (n.hidden + width - 1) / width;
    torch::stable::parallel_for(0, rows * cuts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t offset = i % cuts * width, direction = i / cuts % n.directions;
        const int64_t sequence = tile.sequence + i / cuts / n.directions;
        const int64_t end = tile.step + tile.steps;
        const int64_t real = lengths_ ? std::min(lengths_[sequence], end) : end;
        work(Piece{sequence, direction * n.hidden + offset, std::min(width, n.hidden - offset),
                   tile.step, std::max<int64_t>(real - tile.step, 0), end, direction == 1});
      }
    });
  }

  Stretch<T> stretch(const Gates<const T>& gates, const Piece& p) const {
    const Sequences<const T>& skip = n.planes == 4 ? gates[3] : skip_;
    return {p.steps,
            p.channels,
            gates[0].rows(p),
            gates[1].rows(p),
            gates[2].rows(p),
            skip.rows(p),
            v_ ? v_ + p.first : nullptr,
            v_ ? v_ + n.channels + p.first : nullptr,
            b_ + p.first,
            b_ + n.channels + p.first,
            mask_ ? mask_ + p.sequence * n.channels + p.first : nullptr,
            scale_};
  }

  void copy_initial_state(const Piece& p, A* c) const {
    if (c0_) {
      std::copy_n(c0_ + p.sequence * n.channels + p.first, p.channels, c);
    } else {
      std::fill_n(c, p.channels, A(0));
    }
  }

  const Sizes n;
  const int64_t activation;

 private:
  const Tensor& keep(Tensor t) { return kept_.emplace_back(std::move(t)); }
  template <typename V>
  const V* packed(const Tensor& t) {
    return keep(torch::stable::contiguous(t)).template const_data_ptr<V>();
  }

  std::deque<Tensor> kept_;  // what the pointers point into; its elements never move
  Sequences<const T> skip_;
  const A *v_ = nullptr, *b_ = nullptr, *c0_ = nullptr, *mask_ = nullptr;
  const int64_t* lengths_ = nullptr;
  A scale_;
};

// ---- the recurrence ----

// Outputs of the forward pass; c holds the states before every CHECKPOINT_STEPS-th step.
struct Outputs {
  Tensor h, last, c;

  Outputs(const Tensor& like, const Tensor& wide, const Sizes& n, bool save)
      : h(torch::stable::new_empty(like, {n.batch, n.steps, n.channels})),
        last(torch::stable::new_empty(wide, {n.batch, n.channels})),
        c(torch::stable::new_empty(
            wide, {save ? n.batch : 0, save ? chunks(n.steps) : 0, n.channels})) {}
};

template <typename T>
void forward(const Inputs<T>& in, const Gates<const T>& gates, const Tile& tile, Outputs& out) {
  using A = Wide<T>;
  const Sequences<T> h = writing<T>(out.h);
  A* const last = out.last.mutable_data_ptr<A>();
  A* const saved = out.c.size(0) > 0 ? out.c.mutable_data_ptr<A>() : nullptr;
  const int64_t channels = in.n.channels, saves = chunks(in.n.steps);
  in.for_each_piece(tile, [&](const Piece& p) {
    A* const c = last + p.sequence * channels + p.first;
    if (p.begin == 0) in.copy_initial_state(p, c);
    Forward<T> work{in.stretch(gates, p), h.rows(p), c, {}};
    if (saved) {
      A* const rows = saved + p.sequence * saves * channels + p.first;
      work.checkpoints = {rows + p.begin / CHECKPOINT_STEPS * channels, channels};
      for (int64_t i = chunks(p.begin + p.steps); i < chunks(p.padded_end); ++i) {
        std::fill_n(rows + i * channels, p.channels, A(0));
      }
    }
    run(work, in.activation);
    h.clear_padding(p);
  });
}

template <typename T>
void backward(const Inputs<T>& in, const Tensor& u, const Tensor& c, const Tensor& grad_h,
              const OptionalTensor& grad_last, Tensor& grad_u, OptionalTensor grad_skip,
              Tensor& grad_parameters, Tensor& grad_c0) {
  using A = Wide<T>;
  const Gates<const T> gates{reading<T>(u), u.stride(2)};
  const Gates<T> grads{writing<T>(grad_u), grad_u.stride(2)};
  const Sequences<const T> incoming = reading<T>(grad_h);
  Sequences<T> skip;
  if (in.n.planes == 4) skip = grads[3];
  if (grad_skip) skip = writing<T>(*grad_skip);
  const A* const saved = c.const_data_ptr<A>();
  const A* const last = grad_last ? grad_last->const_data_ptr<A>() : nullptr;
  A* const carries = grad_c0.mutable_data_ptr<A>();
  A* const sums = grad_parameters.mutable_data_ptr<A>();
  const int64_t channels = in.n.channels, saves = chunks(in.n.steps);
  in.for_each_piece({0, in.n.batch, 0, in.n.steps}, [&](const Piece& p) {
    A* const carry = carries + p.sequence * channels + p.first;
    if (last) {
      std::copy_n(last + p.sequence * channels + p.first, p.channels, carry);
    } else {
      std::fill_n(carry, p.channels, A(0));
    }
    // (B, 4, D): one row a sequence, so that the sum over sequences has one order, whatever the
    // number of threads.
    A* const sum = sums + p.sequence * 4 * channels + p.first;
    for (int64_t i = 0; i < 4; ++i) std::fill_n(sum + i * channels, p.channels, A(0));
    std::vector<A> scratch(scratch_size(p.channels));
    run(Backward<T>{in.stretch(gates, p),
                    {saved + p.sequence * saves * channels + p.first, channels},
                    incoming.rows(p),
                    carry,
                    grads[0].rows(p),
                    grads[1].rows(p),
                    grads[2].rows(p),
                    skip.rows(p),
                    sum,
                    sum + channels,
                    sum + 2 * channels,
                    sum + 3 * channels,
                    scratch.data()},
        in.activation);
    for (int64_t k = 0; k < in.n.planes; ++k) grads[k].clear_padding(p);
    if (grad_skip) skip.clear_padding(p);
  });
}

// Calls f with a value of the stored type.
template <typename F>
void with_type(ScalarType dtype, const F& f) {
  if (dtype == ScalarType::Float) return f(float());
  if (dtype == ScalarType::Double) return f(double());
  if (dtype == ScalarType::BFloat16) return f(BFloat16());
  if (dtype == ScalarType::Half) return f(Half());
  STD_TORCH_CHECK(false, "u must be float32, float64, bfloat16 or float16");
}

// ---- the operators ----

std::tuple<Tensor, Tensor, Tensor> sru_cpu(
    const Tensor& u, const OptionalTensor& skip, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& c0, const OptionalTensor& mask, const OptionalTensor& lengths,
    double scale, int64_t activation, bool bidirectional, bool save) {
  const Arguments arguments{skip, v, b, c0, mask, lengths, scale, activation, bidirectional};
  const Sizes n = check(u, arguments);
  Outputs out(u, b, n, save);
  with_type(u.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Tensor packed = with_packed_channels(u);
    forward(Inputs<T>(n, arguments), Gates<const T>{reading<T>(packed), packed.stride(2)},
            {0, n.batch, 0, n.steps}, out);
  });
  return {out.h, out.last, out.c};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> sru_backward_cpu(
    const Tensor& u, const OptionalTensor& skip, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& mask, const OptionalTensor& lengths, const Tensor& c,
    const Tensor& grad_h, const OptionalTensor& grad_last, double scale, int64_t activation,
    bool bidirectional) {
  const OptionalTensor none;
  const Arguments arguments{skip, v, b, none, mask, lengths, scale, activation, bidirectional};
  const Sizes n = check(u, arguments);
  const Tensor packed = with_packed_channels(u), incoming = with_packed_channels(grad_h);
  OptionalTensor last;
  if (grad_last) last = torch::stable::contiguous(*grad_last);
  Tensor grad_u = torch::stable::new_empty(u, {n.batch, n.steps, n.planes, n.channels});
  Tensor grad_skip = torch::stable::new_empty(u, {skip ? n.batch : 0, n.steps, n.channels});
  Tensor grad_c0 = torch::stable::new_empty(b, {n.batch, n.channels});
  Tensor sums = torch::stable::new_empty(b, {n.batch, 4, n.channels});
  with_type(u.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    backward(Inputs<T>(n, arguments), packed, c, incoming, last, grad_u,
             skip ? OptionalTensor(grad_skip) : std::nullopt, sums, grad_c0);
  });
  const int64_t over_batch = 0;
  const torch::headeronly::IntHeaderOnlyArrayRef dim(&over_batch, 1);
  return {grad_u, grad_skip, torch::stable::sum(sums, dim), grad_c0};
}

int64_t tile_rows() { return std::getenv("TILE") ? std::atoi(std::getenv("TILE")) : 1024; }

// out = a b for matrices; out exists.
void multiply(const Tensor& a, const Tensor& b, Tensor& out) {
  using torch::stable::detail::from;
  std::array<StableIValue, 3> stack{from(a), from(b), from(out)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[0]);  // takes the reference that the call returns
}

// Matrix product and recurrence, tile by tile, so that the recurrence finds its gates in cache.
std::tuple<Tensor, Tensor, Tensor, Tensor> sru_layer_cpu(
    const Tensor& x, const Tensor& weight, const OptionalTensor& skip, const OptionalTensor& v,
    const Tensor& b, const OptionalTensor& c0, const OptionalTensor& mask,
    const OptionalTensor& lengths, double scale, int64_t activation, bool bidirectional,
    bool save) {
  const Arguments arguments{skip, v, b, c0, mask, lengths, scale, activation, bidirectional};
  const Sizes n = check(x, weight, arguments);
  Outputs out(x, b, n, save);
  Tensor u = torch::stable::new_empty(x, {save ? n.batch : 0, n.steps, n.planes, n.channels});
  const int64_t width = n.planes * n.channels, all_rows = n.batch * n.steps;
  if (all_rows == 0) {
    with_type(x.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      forward(Inputs<T>(n, arguments), Gates<const T>{}, {0, n.batch, 0, 0}, out);
    });
    return {out.h, out.last, u, out.c};
  }
  Tensor rows = torch::stable::reshape(x, {all_rows, x.size(2)});
  Tensor transposed = weight;
  transposed = torch::stable::transpose(transposed, 0, 1);
  const int64_t most = tile_rows();
  const int64_t sequences = std::max<int64_t>(1, most / n.steps);
  const int64_t steps = n.steps <= most || bidirectional ? n.steps : most;
  Tensor gates = save ? torch::stable::view(u, {all_rows, width})
                      : torch::stable::new_empty(x, {std::min(sequences, n.batch) * steps, width});
  with_type(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Inputs<T> in(n, arguments);
    for (int64_t first = 0; first < n.batch; first += sequences) {
      for (int64_t step = 0; step < n.steps; step += steps) {
        const Tile tile{first, std::min(sequences, n.batch - first), step,
                        std::min(steps, n.steps - step)};
        const int64_t row = first * n.steps + step, count = tile.sequences * tile.steps;
        Tensor part = torch::stable::narrow(gates, 0, save ? row : 0, count);
        multiply(torch::stable::narrow(rows, 0, row, count), transposed, part);
        // As if the tile were at its place in the whole of u.
        const T* u_data = part.template const_data_ptr<T>() - row * width;
        forward(in, Gates<const T>{{u_data, n.steps * width, width}, n.channels}, tile, out);
      }
    }
  });
  return {out.h, out.last, u, out.c};
}

std::tuple<Tensor, Tensor> sru_step_cpu(const Tensor& x, const Tensor& weight,
                                        const OptionalTensor& skip, const OptionalTensor& v,
                                        const Tensor& b, const OptionalTensor& c0, double scale,
                                        int64_t activation) {
  auto [h, last, u, c] = sru_layer_cpu(x, weight, skip, v, b, c0, std::nullopt, std::nullopt,
                                       scale, activation, false, false);
  return {h, last};
}

}  // namespace
}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CPU, m) {
  m.impl("sru", TORCH_BOX(&srulight::sru_cpu));
  m.impl("sru_backward", TORCH_BOX(&srulight::sru_backward_cpu));
  m.impl("sru_layer", TORCH_BOX(&srulight::sru_layer_cpu));
  m.impl("sru_step", TORCH_BOX(&srulight::sru_step_cpu));
}
