// Presents tensors to the kernels as rows of channels, and divides the work into pieces.
#pragma once

#include "../sru.h"
#include "kernels.h"

#include <algorithm>
#include <vector>

namespace srulight {

// Some channels of one sequence in one direction.
struct Piece {
  int64_t sequence, first, channels;
  int64_t steps, padded;  // number of real steps; steps including padding, which is zeroed
  bool reversed;
};

// A (B, T, ..., D) tensor with contiguous channels. Strides are in elements.
template <typename T>
struct CpuSequences {
  T* data = nullptr;  // null: no tensor
  int64_t batch = 0, step = 0;

  Rows<T> rows(const Piece& p) const {
    if (!data) return {};
    T* const start = data + p.sequence * batch + p.first;
    if (p.reversed && p.steps > 0) return {start + (p.steps - 1) * step, -step};
    return {start, step};
  }
  void clear_padding(const Piece& p, int64_t first, int64_t channels) const {
    for (int64_t t = p.steps; data && t < p.padded; ++t) {
      std::fill_n(data + p.sequence * batch + t * step + p.first + first, channels, T(0));
    }
  }
};

template <typename T>
CpuSequences<const T> reading(const Tensor& t) {
  return {t.const_data_ptr<T>(), t.stride(0), t.stride(1)};
}
template <typename T>
CpuSequences<T> writing(Tensor& t) {
  return {t.mutable_data_ptr<T>(), t.stride(0), t.stride(1)};
}
// The data of a contiguous tensor, or null.
template <typename T>
const T* numbers(const OptionalTensor& t) {
  return t ? t->const_data_ptr<T>() : nullptr;
}

// u or its gradient.
template <typename T>
struct GatePlanes {
  CpuSequences<T> all;
  int64_t plane;
  CpuSequences<T> operator[](int64_t k) const {
    return {all.data + k * plane, all.batch, all.step};
  }
};

// The inputs that forward and backward share. Pointers and strides are looked up once, because
// through the stable ABI each is a function call. They point into the operator's tensors.
template <typename T>
class CpuInputs {
  using A = Wide<T>;

 public:
  CpuInputs(const Planes& u, const Arguments& a, const Sizes& n)
      : n(n),
        activation_(a.activation),
        gates_{{static_cast<const T*>(u.data), u.batch, u.step}, u.plane},
        v_(numbers<A>(a.v)),
        b_(numbers<A>(a.b)),
        mask_(numbers<A>(a.mask)),
        lengths_(numbers<int64_t>(a.lengths)),
        scale_(static_cast<A>(a.skip ? a.scale : 1.0)) {
    if (a.skip) skip_ = reading<T>(*a.skip);
    if (n.planes == 4) skip_ = gates_[3];
    for (int64_t i = 0; lengths_ && i < n.batch; ++i) {
      SRU_CHECK(lengths_[i] >= 0 && lengths_[i] <= n.steps, "lengths must be between 0 and ",
                n.steps, ", got ", lengths_[i]);
    }
  }

  // Some channels of a direction of a sequence.
  Piece piece(int64_t sequence, int64_t direction, int64_t offset, int64_t channels) const {
    return {.sequence = sequence,
            .first = direction * n.hidden + offset,
            .channels = channels,
            .steps = lengths_ ? lengths_[sequence] : n.steps,
            .padded = n.steps,
            .reversed = direction == 1};
  }

  // Sequences and directions are independent. If there are fewer of them than threads, wide rows
  // are divided as well. Narrow rows are not: cores that write to neighboring memory slow each
  // other down.
  std::vector<Piece> pieces(int64_t threads) const {
    const int64_t rows = n.batch * n.directions;
    std::vector<Piece> all;
    if (rows == 0 || n.hidden == 0) return all;
    const int64_t wanted = (threads + rows - 1) / rows;
    const int64_t width = std::max<int64_t>(256, ((n.hidden + wanted - 1) / wanted + 15) / 16 * 16);
    const int64_t cuts = (n.hidden + width - 1) / width;
    all.reserve(rows * cuts);
    for (int64_t i = 0; i < rows * cuts; ++i) {
      const int64_t offset = i % cuts * width, direction = i / cuts % n.directions;
      const int64_t sequence = i / cuts / n.directions;
      all.push_back(piece(sequence, direction, offset, std::min(width, n.hidden - offset)));
    }
    return all;
  }

  CpuArgs<T> args(const Piece& p) const {
    return {.steps = p.steps,
            .channels = p.channels,
            .activation = activation_,
            .before = 0,
            .after = 0,
            .candidate = gates_[0].rows(p),
            .forget = gates_[1].rows(p),
            .reset = gates_[2].rows(p),
            .skip = skip_.rows(p),
            .v_f = v_ ? v_ + p.first : nullptr,
            .v_r = v_ ? v_ + n.channels + p.first : nullptr,
            .b_f = b_ + p.first,
            .b_r = b_ + n.channels + p.first,
            .mask = mask_ ? mask_ + p.sequence * n.channels + p.first : nullptr,
            .scale = scale_};
  }

  const Sizes n;

 private:
  const int64_t activation_;
  const GatePlanes<const T> gates_;
  CpuSequences<const T> skip_;
  const A *const v_, *const b_, *const mask_;
  const int64_t* const lengths_;
  const A scale_;
};

}  // namespace srulight
