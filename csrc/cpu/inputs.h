// Tensors as the kernels see them: rows of channels, cut into pieces of work.
#pragma once

#include "../sru.h"
#include "kernels.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <deque>
#include <utility>

namespace srulight {

// Some channels of one sequence in one direction: what one thread does at a time.
struct Piece {
  int64_t sequence, first, channels;
  int64_t steps, padded;  // real steps, and then zeros up to this many
  bool reversed;
};

// A (B, T, ..., D) tensor.
template <typename T>
struct Sequences {
  T* data = nullptr;
  int64_t batch = 0, step = 0;

  Rows<T> rows(const Piece& p) const {
    if (!data) return {};
    T* const start = data + p.sequence * batch + p.first;
    if (p.reversed && p.steps > 0) return {start + (p.steps - 1) * step, -step};
    return {start, step};
  }
  void clear_padding(const Piece& p) const {
    for (int64_t t = p.steps; data && t < p.padded; ++t) {
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
      SRU_CHECK(lengths_[i] >= 0 && lengths_[i] <= n.steps, "lengths must be 0 to ",
                n.steps, ", got ", lengths_[i]);
    }
  }

  // Sequences and directions are independent. Wide rows are cut further while cores are idle; not
  // narrow ones: where two cores write side by side they wait for each other.
  template <typename F>
  void for_each_piece(const F& work) const {
    const int64_t rows = n.batch * n.directions;
    if (rows == 0 || n.hidden == 0) return;
    const int64_t threads = torch::stable::get_num_threads();
    const int64_t wanted = (threads + rows - 1) / rows;
    const int64_t width = std::max<int64_t>(256, ((n.hidden + wanted - 1) / wanted + 15) / 16 * 16);
    const int64_t cuts = (n.hidden + width - 1) / width;
    torch::stable::parallel_for(0, rows * cuts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t offset = i % cuts * width, direction = i / cuts % n.directions;
        const int64_t sequence = i / cuts / n.directions;
        work(Piece{sequence, direction * n.hidden + offset, std::min(width, n.hidden - offset),
                   lengths_ ? lengths_[sequence] : n.steps, n.steps, direction == 1});
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
    return keep(t.is_contiguous() ? t : torch::stable::contiguous(t)).template const_data_ptr<V>();
  }

  std::deque<Tensor> kept_;  // what the pointers point into; its elements never move
  Sequences<const T> skip_;
  const A *v_ = nullptr, *b_ = nullptr, *c0_ = nullptr, *mask_ = nullptr;
  const int64_t* lengths_ = nullptr;
  A scale_;
};

}  // namespace srulight
