// The forward and the backward pass over one row of channels, for sweep.h.
#pragma once

#include "inputs.h"
#include "sweep.h"

#include <cmath>

namespace srulight {

// Where a pass finds and leaves the rows of a sequence.
template <typename T>
struct ForwardOutputs {
  CpuSequences<T> h;
  const Wide<T>* c0;  // (B, D), or null
  Wide<T>* last;      // (B, D)
  Wide<T>* saved;     // (B, saves, D), or null
  int64_t saves, channels;
};
template <typename T>
struct BackwardOutputs {
  CpuSequences<const T> grad_h;
  GatePlanes<T> grads;
  int64_t planes;
  CpuSequences<T> skip;      // gradient of the fourth plane, or of the skip input, or none
  const Wide<T>* saved;      // (B, saves, D)
  const Wide<T>* grad_last;  // (B, D), or null
  Wide<T>* grad_c0;          // (B, D)
  Wide<T>* sums;             // (B, 4, D)
  int64_t saves, channels;
};

// Copies some channels of a (B, D) tensor, or fills `to` with zeros if it is null.
template <typename A>
void copy_row(const A* from, const Piece& p, int64_t all, A* to) {
  if (from) {
    std::copy_n(from + p.sequence * all + p.first, p.channels, to);
  } else {
    std::fill_n(to, p.channels, A(0));
  }
}

// Restricts the inputs to some steps and channels.
template <typename T>
void narrow(CpuArgs<T>& args, int64_t begin, int64_t steps, int64_t first, int64_t channels) {
  args.before = begin;
  args.after = args.steps - begin - steps;
  args.steps = steps;
  args.channels = channels;
  for (Rows<const T>* rows : {&args.candidate, &args.forget, &args.reset, &args.skip}) {
    *rows = rows->from(begin, first);
  }
  for (const Wide<T>** row : {&args.v_f, &args.v_r, &args.b_f, &args.b_r, &args.mask}) {
    if (*row) *row += first;
  }
}

// The mean absolute value of a row, or 1 if it is zero. Gates see the state, and very large ones
// would keep them open or closed.
template <typename T>
Wide<T> size_of(const T* row, int64_t channels) {
  Wide<T> sum = 0;
  for (int64_t i = 0; i < channels; ++i) sum += std::abs(static_cast<Wide<T>>(row[i]));
  return sum > 0 ? sum / static_cast<Wide<T>>(channels) : 1;
}

template <typename T>
class ForwardPass {
 public:
  using Number = Wide<T>;
  using Args = CpuForwardArgs<T>;
  const int64_t channels, segments;

  ForwardPass(const CpuArgs<T>& in, const Piece& p, const ForwardOutputs<T>& out)
      : channels(p.channels),
        segments((p.steps + SEGMENT - 1) / SEGMENT),
        in_(in),
        p_(p),
        out_(out),
        h_(out.h.rows(p)) {}

  static int64_t scratch(int64_t) { return 0; }
  int64_t steps_before(int64_t segment) const { return std::min(segment * SEGMENT, p_.steps); }

  void start(Number* c) const { copy_row(out_.c0, p_, out_.channels, c); }

  Args segment(int64_t i, int64_t first, int64_t count, const Workspace<Number>& space) const {
    const int64_t begin = i * SEGMENT;
    Args args{in_};
    narrow(args, begin, steps_before(i + 1) - begin, first, count);
    args.h = h_.from(begin, first);
    args.c = space.carry;
    if (out_.saved) {
      args.checkpoints = {saved() + begin / CHECKPOINT_STEPS * out_.channels + first,
                          out_.channels};
    }
    return args;
  }

  Args warm_up(int64_t segment, int64_t steps, const Workspace<Number>& space) const {
    Args args{in_};
    narrow(args, steps_before(segment) - steps, steps, 0, channels);
    args.c = space.carry;
    return args;
  }

  Number typical(int64_t segment, int64_t steps) const {
    return size_of(in_.candidate[steps_before(segment) - steps], channels);
  }

  void finish(int64_t first, int64_t count, const Number* c) const {
    std::copy_n(c, count, out_.last + p_.sequence * out_.channels + p_.first + first);
    for (int64_t i = chunks(p_.steps); out_.saved && i < out_.saves; ++i) {
      std::fill_n(saved() + i * out_.channels + first, count, Number(0));
    }
    out_.h.clear_padding(p_, first, count);
  }

  static void run(const Args* args, int64_t count) { run_forward_kernel(args, count); }

 private:
  Number* saved() const {
    return out_.saved + p_.sequence * out_.saves * out_.channels + p_.first;
  }

  const CpuArgs<T> in_;
  const Piece p_;
  const ForwardOutputs<T>& out_;
  const Rows<T> h_;
};

template <typename T>
class BackwardPass {
 public:
  using Number = Wide<T>;
  using Args = CpuBackwardArgs<T>;
  const int64_t channels, segments;

  // `sums` has room for the sums of each segment, (segments, 4, channels).
  BackwardPass(const CpuArgs<T>& in, const Piece& p, const BackwardOutputs<T>& out, Number* sums)
      : channels(p.channels),
        segments(count_segments(p)),
        in_(in),
        p_(p),
        out_(out),
        sums_(sums),
        saved_(out.saved + p.sequence * out.saves * out.channels + p.first),
        grad_h_(out.grad_h.rows(p)),
        candidate_(out.grads[0].rows(p)),
        forget_(out.grads[1].rows(p)),
        reset_(out.grads[2].rows(p)),
        skip_(out.skip.rows(p)) {}

  static int64_t count_segments(const Piece& p) { return (p.steps + SEGMENT - 1) / SEGMENT; }
  // The last segment is processed first. A warm-up also needs sums, which nobody reads.
  static int64_t scratch(int64_t channels) { return scratch_size(channels) + 4 * channels; }
  int64_t steps_before(int64_t segment) const {
    return std::max<int64_t>(0, p_.steps - (segments - segment) * SEGMENT);
  }

  void start(Number* grad_c) const { copy_row(out_.grad_last, p_, out_.channels, grad_c); }

  Args segment(int64_t i, int64_t first, int64_t count, const Workspace<Number>& space) const {
    const int64_t place = segments - 1 - i, begin = place * SEGMENT;
    Args args = arguments(begin, std::min(SEGMENT, p_.steps - begin), first, count, space);
    args.grad_candidate = candidate_.from(begin, first);
    args.grad_forget = forget_.from(begin, first);
    args.grad_reset = reset_.from(begin, first);
    args.grad_skip = skip_.from(begin, first);
    Number* const sums = sums_ + place * 4 * channels + first;
    args.grad_v_f = sums;
    args.grad_v_r = sums + channels;
    args.grad_b_f = sums + 2 * channels;
    args.grad_b_r = sums + 3 * channels;
    for (int64_t k = 0; k < 4; ++k) std::fill_n(sums + k * channels, count, Number(0));
    return args;
  }

  Args warm_up(int64_t segment, int64_t steps, const Workspace<Number>& space) const {
    const int64_t begin = (segments - segment) * SEGMENT;
    return arguments(begin, steps, 0, channels, space);
  }

  Number typical(int64_t segment, int64_t steps) const {
    const int64_t last = (segments - segment) * SEGMENT + steps - 1;
    return size_of(grad_h_[last], channels);
  }

  void finish(int64_t first, int64_t count, const Number* grad_c) const {
    std::copy_n(grad_c, count, out_.grad_c0 + p_.sequence * out_.channels + p_.first + first);
    for (int64_t k = 0; k < 4; ++k) {
      Number* const to =
          out_.sums + (p_.sequence * 4 + k) * out_.channels + p_.first + first;
      std::fill_n(to, count, Number(0));
      for (int64_t i = 0; i < segments; ++i) {
        const Number* const from = sums_ + (i * 4 + k) * channels + first;
        for (int64_t j = 0; j < count; ++j) to[j] += from[j];
      }
    }
    for (int64_t k = 0; k < out_.planes; ++k) out_.grads[k].clear_padding(p_, first, count);
    if (out_.planes == 3) out_.skip.clear_padding(p_, first, count);
  }

  static void run(const Args* args, int64_t count) { run_backward_kernel(args, count); }

 private:
  Args arguments(int64_t begin, int64_t steps, int64_t first, int64_t count,
                 const Workspace<Number>& space) const {
    Args args{in_};
    narrow(args, begin, steps, first, count);
    args.checkpoints = {saved_ + begin / CHECKPOINT_STEPS * out_.channels + first, out_.channels};
    args.grad_h = grad_h_.from(begin, first);
    args.grad_c = space.carry;
    args.scratch = space.scratch;
    return args;
  }

  const CpuArgs<T> in_;
  const Piece p_;
  const BackwardOutputs<T>& out_;
  Number* const sums_;
  const Number* const saved_;
  const Rows<const T> grad_h_;
  const Rows<T> candidate_, forget_, reset_, skip_;
};

}  // namespace srulight
