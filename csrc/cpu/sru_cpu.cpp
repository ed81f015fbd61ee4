// The SRU recurrence on CPU: one pass over time for each sequence and direction, channels inside,
// so that a step's rows are contiguous and vectorise. The carry stays wide, in cache, in the output
// `last` (forward) or `grad_c0` (backward).
#include "rows.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <deque>
#include <tuple>
#include <utility>
#include <vector>

namespace srulight {
namespace {

// Channels that lie side by side; steps, sequences and planes may lie anywhere.
Tensor with_packed_channels(const Tensor& t) {
  const int64_t last = t.dim() - 1;
  return t.size(last) <= 1 || t.stride(last) == 1 ? t : torch::stable::contiguous(t);
}

template <typename T>
struct Sequence {
  T* data = nullptr;
  int64_t batch = 0, step = 0;
  T* row(int64_t b, int64_t t) const { return data + b * batch + t * step; }
};

template <typename T>
Sequence<const T> reading(const Tensor& t) {
  return {t.const_data_ptr<T>(), t.stride(0), t.stride(1)};
}
template <typename T>
Sequence<T> writing(Tensor& t) {
  return {t.mutable_data_ptr<T>(), t.stride(0), t.stride(1)};
}

// A stretch of one sequence's channels in one direction: what one thread does at a time.
struct Piece {
  int64_t b, first, count;  // sequence, first channel, channels
  bool reversed;
};

// Sequences and directions are independent; wide layers are cut further while cores are idle.
template <typename F>
void for_each_piece(const Sizes& n, const F& work) {
  const int64_t rows = n.batch * n.directions;
  if (rows == 0 || n.hidden == 0) return;
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t wanted = (threads + rows - 1) / rows;
  const int64_t width = std::max<int64_t>(64, (n.hidden + wanted - 1) / wanted);
  const int64_t cuts = (n.hidden + width - 1) / width;
  torch::stable::parallel_for(0, rows * cuts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t cut = i % cuts, direction = i / cuts % n.directions;
      const int64_t offset = cut * width;
      work(Piece{i / cuts / n.directions, direction * n.hidden + offset,
                 std::min(width, n.hidden - offset), direction == 1});
    }
  });
}

// What forward and backward read alike. Absent inputs become constant rows, which costs nothing
// beside the recurrence and leaves one loop instead of one for each combination.
template <typename T, typename A>
class Inputs {
 public:
  Inputs(const Sizes& n, const Tensor& u, const OptionalTensor& x, const OptionalTensor& v,
         const Tensor& b, const OptionalTensor& c0, const OptionalTensor& mask,
         const OptionalTensor& lengths, double scale)
      : n(n), scale_(x ? scale : 1.0), no_skip_(n.channels, T(0)), zeros_(2 * n.channels, A(0)),
        ones_(n.channels, A(1)) {
    // Pointers and strides are looked up once: through the stable ABI each is a call.
    const Tensor& gates = keep(with_packed_channels(u));
    gates_ = reading<T>(gates);
    plane_ = gates.stride(2);
    skips_ = {no_skip_.data(), 0, 0};
    if (n.planes == 4) skips_ = {gates_.data + 3 * plane_, gates_.batch, gates_.step};
    if (x) skips_ = reading<T>(keep(with_packed_channels(*x)));
    weights_ = v ? packed<A>(*v) : zeros_.data();
    biases_ = packed<A>(b);
    if (c0) c0_ = packed<A>(*c0);
    if (mask) mask_ = packed<A>(*mask);
    if (lengths) lengths_ = packed<int64_t>(*lengths);
    for (int64_t i = 0; i < n.batch; ++i) {
      STD_TORCH_CHECK(length(i) >= 0 && length(i) <= n.steps, "lengths must be 0 to ", n.steps,
                      ", got ", length(i));
    }
  }

  Rows<T, A> rows(const Piece& p, int64_t t) const {
    const T* gates = gates_.row(p.b, t) + p.first;
    return {gates,
            gates + plane_,
            gates + 2 * plane_,
            skips_.row(p.b, t) + p.first,
            weights_ + p.first,
            weights_ + n.channels + p.first,
            biases_ + p.first,
            biases_ + n.channels + p.first,
            (mask_ ? mask_ + p.b * n.channels : ones_.data()) + p.first,
            static_cast<A>(scale_)};
  }

  int64_t length(int64_t b) const { return lengths_ ? lengths_[b] : n.steps; }

  const A* initial(const Piece& p) const {
    return (c0_ ? c0_ + p.b * n.channels : zeros_.data()) + p.first;
  }

  const Sizes n;

 private:
  const Tensor& keep(Tensor t) { return kept_.emplace_back(std::move(t)); }
  template <typename V>
  const V* packed(const Tensor& t) {
    return keep(torch::stable::contiguous(t)).template const_data_ptr<V>();
  }

  std::deque<Tensor> kept_;  // what the pointers point into; its elements never move
  Sequence<const T> gates_, skips_;
  int64_t plane_;
  const A *weights_, *biases_, *c0_ = nullptr, *mask_ = nullptr;
  const int64_t* lengths_ = nullptr;
  const double scale_;
  const std::vector<T> no_skip_;
  const std::vector<A> zeros_, ones_;
};

template <typename T>
void clear(const Sequence<T>& s, const Piece& p, int64_t from, int64_t to) {
  for (int64_t t = from; t < to; ++t) {
    std::fill_n(s.row(p.b, t) + p.first, p.count, T(0));
  }
}

template <typename T, typename A>
void forward(const Inputs<T, A>& in, int64_t activation, Tensor& h, Tensor& last,
             OptionalTensor c) {
  const Sequence<T> out = writing<T>(h);
  A* const carries = last.mutable_data_ptr<A>();
  const Sequence<T> states = c ? writing<T>(*c) : Sequence<T>{};
  for_each_piece(in.n, [&](const Piece& p) {
    const int64_t length = in.length(p.b);
    A* carry = carries + p.b * in.n.channels + p.first;
    std::copy_n(in.initial(p), p.count, carry);
    std::vector<T> unsaved(c ? 0 : p.count);
    for (int64_t i = 0; i < length; ++i) {
      const int64_t t = p.reversed ? length - 1 - i : i;
      forward_row(activation, in.rows(p, t), carry,
                  c ? states.row(p.b, t) + p.first : unsaved.data(), out.row(p.b, t) + p.first,
                  p.count);
    }
    clear(out, p, length, in.n.steps);
    if (c) clear(states, p, length, in.n.steps);
  });
}

template <typename T, typename A>
void backward(const Inputs<T, A>& in, int64_t activation, const Tensor& c, const Tensor& grad_h,
              const OptionalTensor& grad_last, Tensor& grad_u, OptionalTensor grad_x,
              Tensor& grad_parameters, Tensor& grad_c0) {
  const Sequence<const T> states = reading<T>(c), incoming = reading<T>(grad_h);
  const Sequence<T> gates = writing<T>(grad_u);
  const Sequence<T> skips = grad_x ? writing<T>(*grad_x) : Sequence<T>{};
  const int64_t plane = grad_u.stride(2), channels = in.n.channels;
  A* const carries = grad_c0.mutable_data_ptr<A>();
  A* const all_sums = grad_parameters.mutable_data_ptr<A>();
  const A* last = grad_last ? grad_last->const_data_ptr<A>() : nullptr;
  for_each_piece(in.n, [&](const Piece& p) {
    const int64_t length = in.length(p.b);
    A* carry = carries + p.b * channels + p.first;
    if (last) {
      std::copy_n(last + p.b * channels + p.first, p.count, carry);
    } else {
      std::fill_n(carry, p.count, A(0));
    }
    // (B, 4, D): one row a sequence, so that the sum over sequences has one order, whatever the
    // number of threads.
    A* sums = all_sums + p.b * 4 * channels + p.first;
    for (int64_t i = 0; i < 4; ++i) std::fill_n(sums + i * channels, p.count, A(0));
    std::vector<T> initial(p.count), unused(p.count);
    for (int64_t i = 0; i < p.count; ++i) initial[i] = T(in.initial(p)[i]);
    for (int64_t i = length - 1; i >= 0; --i) {
      const int64_t t = p.reversed ? length - 1 - i : i;
      const int64_t before = p.reversed ? t + 1 : t - 1;
      T* row = gates.row(p.b, t) + p.first;
      T* skip = unused.data();
      if (in.n.planes == 4) skip = row + 3 * plane;
      if (grad_x) skip = skips.row(p.b, t) + p.first;
      backward_row(activation, in.rows(p, t),
                   i ? states.row(p.b, before) + p.first : initial.data(),
                   states.row(p.b, t) + p.first, incoming.row(p.b, t) + p.first, carry,
                   {row, row + plane, row + 2 * plane, skip, sums, sums + channels,
                    sums + 2 * channels, sums + 3 * channels},
                   p.count);
    }
    for (int64_t k = 0; k < in.n.planes; ++k) {
      clear(Sequence<T>{gates.data + k * plane, gates.batch, gates.step}, p, length, in.n.steps);
    }
    if (grad_x) clear(skips, p, length, in.n.steps);
  });
}

// Calls f with a value of the stored type.
template <typename F>
void with_type(torch::headeronly::ScalarType dtype, const F& f) {
  using torch::headeronly::ScalarType;
  if (dtype == ScalarType::Float) return f(float());
  if (dtype == ScalarType::Double) return f(double());
  if (dtype == ScalarType::BFloat16) return f(BFloat16());
  if (dtype == ScalarType::Half) return f(Half());
  STD_TORCH_CHECK(false, "u must be float32, float64, bfloat16 or float16");
}

std::tuple<Tensor, Tensor, Tensor> sru_cpu(
    const Tensor& u, const OptionalTensor& x, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& c0, const OptionalTensor& mask, const OptionalTensor& lengths,
    double scale, int64_t activation, bool bidirectional, bool save) {
  const Sizes n = check_inputs(u, x, v, b, c0, mask, lengths, activation, bidirectional);
  Tensor h = torch::stable::new_empty(u, {n.batch, n.steps, n.channels});
  Tensor last = torch::stable::new_empty(u, {n.batch, n.channels}, b.scalar_type());
  Tensor c = torch::stable::new_empty(u, {save ? n.batch : 0, n.steps, n.channels});
  with_type(u.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    using A = typename Wide<T>::type;
    forward<T, A>(Inputs<T, A>(n, u, x, v, b, c0, mask, lengths, scale), activation,
                         h, last, save ? OptionalTensor(c) : std::nullopt);
  });
  return {h, last, c};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> sru_backward_cpu(
    const Tensor& u, const OptionalTensor& x, const OptionalTensor& v, const Tensor& b,
    const OptionalTensor& c0, const OptionalTensor& mask, const OptionalTensor& lengths,
    const Tensor& c, const Tensor& grad_h, const OptionalTensor& grad_last, double scale,
    int64_t activation, bool bidirectional) {
  const Sizes n = check_inputs(u, x, v, b, c0, mask, lengths, activation, bidirectional);
  const Tensor packed = with_packed_channels(grad_h);
  OptionalTensor last;
  if (grad_last) last = torch::stable::contiguous(*grad_last);
  Tensor grad_u = torch::stable::new_empty(u, {n.batch, n.steps, n.planes, n.channels});
  Tensor grad_x = torch::stable::new_empty(u, {x ? n.batch : 0, n.steps, n.channels});
  Tensor grad_c0 = torch::stable::new_empty(u, {n.batch, n.channels}, b.scalar_type());
  Tensor sums = torch::stable::new_empty(u, {n.batch, 4, n.channels}, b.scalar_type());
  with_type(u.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    using A = typename Wide<T>::type;
    backward<T, A>(Inputs<T, A>(n, u, x, v, b, c0, mask, lengths, scale), activation,
                          c, packed, last, grad_u, x ? OptionalTensor(grad_x) : std::nullopt, sums,
                          grad_c0);
  });
  int64_t over_batch = 0;
  return {grad_u, grad_x, torch::stable::sum(sums, torch::headeronly::IntHeaderOnlyArrayRef(&over_batch, 1)), grad_c0};
}

}  // namespace
}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CPU, m) {
  m.impl("sru", TORCH_BOX(&srulight::sru_cpu));
  m.impl("sru_backward", TORCH_BOX(&srulight::sru_backward_cpu));
}
