// Runs passes over time, each over a row of channels, by many threads.
//
// A pass carries numbers from segment to segment: the state, or its gradient. Without chunks, it
// processes its segments in order. With chunks, all chunks of a row are processed at the same time.
// Each starts from a guess, which is compared with the result of the chunk before, bit for bit.
// Where they differ, the chunk is processed again, for the channels that differ and until they equal
// what the first time left behind. The results are therefore those of the segments in order, to the
// bit, whatever the guesses were.
#pragma once

#include "kernels.h"
#include "plan.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace srulight {

// Memory that a thread writes at every step. It starts at a multiple of two cache lines, because
// processors fetch lines in pairs, so that threads do not share lines.
template <typename A>
struct Scratch {
  explicit Scratch(int64_t size)
      : data(static_cast<A*>(::operator new(size * sizeof(A), ALIGNMENT))) {}
  ~Scratch() { ::operator delete(data, ALIGNMENT); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  A* const data;

 private:
  static constexpr std::align_val_t ALIGNMENT{128};
};

// What a thread needs to process a segment of N channels.
template <typename A>
struct Workspace {
  A *carry, *scratch;  // (N,) numbers, and as many as the pass asks for
};

// A `Pass` is a row of channels. Its segments are numbered in the order of processing. It has
//   Number                   the type of the carried numbers
//   Args                     the arguments of its kernel
//   channels, segments       how many there are
//   scratch(channels)        how many numbers its kernel needs
//   start(carry)             sets what is carried to the first segment
//   segment(...)             the arguments for some channels of a segment
//   steps_before(segment)    the number of steps before it
//   warm_up(...)             the arguments for some steps before a segment, without results
//   typical(segment, steps)  the size of the carried numbers, roughly, that many steps before it
//   finish(first, channels, carry)   ends some channels of the row
//   run(args, count)         runs the kernel on some streams
template <typename Pass>
class Sweep {
  using A = typename Pass::Number;
  using Args = typename Pass::Args;

 public:
  Sweep(const std::vector<Pass>& passes, const Plan& plan) : plan_(plan), rows_(passes.size()) {
    for (size_t i = 0; i < passes.size(); ++i) {
      Row& row = rows_[i];
      row.pass = &passes[i];
      const int64_t n = passes[i].segments;
      row.length = std::max<int64_t>(1, (n + plan.chunks - 1) / plan.chunks);
      row.chunks = std::max<int64_t>(1, (n + row.length - 1) / row.length);
      for (int64_t k = 0; k < row.chunks; ++k) lanes_.push_back({&row, k});
      if (row.chunks > 1) divided_ = true;
    }
  }

  void run(int64_t threads) {
    for (Row& row : rows_) row.remember();
    const int64_t lanes = static_cast<int64_t>(lanes_.size());
    const int64_t batches = (lanes + plan_.streams - 1) / plan_.streams;
    torch::stable::parallel_for(0, batches, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i * plan_.streams;
        sweep(&lanes_[first], std::min(plan_.streams, lanes - first));
      }
    });
    if (divided_) repair(threads);
  }

 private:
  struct Row {
    const Pass* pass = nullptr;
    int64_t length = 0, chunks = 0;  // segments of a chunk; number of chunks
    std::unique_ptr<A[]> marks;      // (segments + 1, channels) what is carried to each segment
    std::unique_ptr<A[]> starts;     // (chunks, channels) what each chunk started from
    std::unique_ptr<bool[]> swept;   // (chunks,) whether it has been processed

    void remember() {
      if (chunks == 1) return;
      marks.reset(new A[(pass->segments + 1) * pass->channels]);
      starts.reset(new A[chunks * pass->channels]);
      swept.reset(new bool[chunks]());
    }
    A* mark(int64_t segment) const { return marks.get() + segment * pass->channels; }
    A* start(int64_t chunk) const { return starts.get() + chunk * pass->channels; }
    int64_t end(int64_t chunk) const { return std::min((chunk + 1) * length, pass->segments); }
  };
  struct Lane {
    Row* row;
    int64_t chunk;
  };

  // Compares this many channels at a time, which no vector crosses.
  static constexpr int64_t GROUP = MAX_LANES;

  static bool same(const A* a, const A* b, int64_t count) {
    return memcmp(a, b, count * sizeof(A)) == 0;
  }

  // Processes the chunks of some lanes side by side.
  void sweep(const Lane* lanes, int64_t count) {
    int64_t widest = 0;
    for (int64_t i = 0; i < count; ++i) widest = std::max(widest, lanes[i].row->pass->channels);
    const int64_t size = (widest + Pass::scratch(widest) + 31) / 32 * 32;
    const Scratch<A> memory((count + 1) * size);
    const auto space = [&](int64_t i) {
      return Workspace<A>{memory.data + i * size, memory.data + i * size + widest};
    };
    int64_t at[MAX_STREAMS], end[MAX_STREAMS];
    for (int64_t i = 0; i < count; ++i) {
      const Row& row = *lanes[i].row;
      const int64_t k = lanes[i].chunk;
      at[i] = k * row.length;
      end[i] = row.end(k);
      if (k == 0) {
        row.pass->start(space(i).carry);
      } else if (!guess(row, at[i], space(i), space(count))) {
        end[i] = at[i];
      }
      if (row.chunks == 1) continue;
      const int64_t channels = row.pass->channels;
      std::copy_n(space(i).carry, channels, row.start(k));
      if (k == 0) std::copy_n(space(i).carry, channels, row.mark(0));
      row.swept[k] = at[i] < end[i];
    }
    for (;;) {
      Args args[MAX_STREAMS];
      int64_t active[MAX_STREAMS], streams = 0;
      for (int64_t i = 0; i < count; ++i) {
        if (at[i] == end[i]) continue;
        const Pass& pass = *lanes[i].row->pass;
        active[streams] = i;
        args[streams++] = pass.segment(at[i], 0, pass.channels, space(i));
      }
      if (streams == 0) break;
      Pass::run(args, streams);
      for (int64_t s = 0; s < streams; ++s) {
        const int64_t i = active[s];
        const Row& row = *lanes[i].row;
        ++at[i];
        if (row.chunks > 1) std::copy_n(space(i).carry, row.pass->channels, row.mark(at[i]));
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      const Pass& pass = *lanes[i].row->pass;
      if (lanes[i].row->chunks == 1) pass.finish(0, pass.channels, space(i).carry);
    }
  }

  // Guesses what is carried to a segment: the result of some steps before it, starting from zero.
  // Another start shows what the guess is worth. Returns whether it is to be used.
  bool guess(const Row& row, int64_t segment, const Workspace<A>& ours, const Workspace<A>& other) {
    const Pass& pass = *row.pass;
    const int64_t n = pass.channels, available = pass.steps_before(segment);
    const int64_t steps = std::min(WARMUP, available);
    const A between = pass.typical(segment, steps);  // the two starts
    if (steps == available) {
      pass.start(ours.carry);
      pass.start(other.carry);
    } else {
      std::fill_n(ours.carry, n, A(0));
      std::fill_n(other.carry, n, between);
    }
    const Args args[] = {pass.warm_up(segment, steps, ours), pass.warm_up(segment, steps, other)};
    Pass::run(args, 2);
    counters.warmup.fetch_add(2 * steps * n, std::memory_order_relaxed);
    const double share = static_cast<double>(steps) / static_cast<double>(row.length * SEGMENT);
    return plan_.forced ||
           is_close(ours.carry, other.carry, n, between * std::exp2(-TWICE_24_BITS * share));
  }

  // If differences shrink by 2 ** (-48 * s) within a share s of a chunk, they shrink by 2 ** -24, to
  // the last bit, within half of it. Returns whether that holds for most groups.
  static constexpr double TWICE_24_BITS = 48;
  static bool is_close(const A* a, const A* b, int64_t count, double limit) {
    int64_t close = 0, groups = 0;
    for (int64_t i = 0; i < count; i += GROUP, ++groups) {
      const int64_t end = std::min(i + GROUP, count);
      int64_t j = i;
      while (j < end && std::abs(a[j] - b[j]) <= limit) ++j;  // not if they are not numbers
      close += j == end;
    }
    return 2 * close >= groups;
  }

  // Corrects the chunks whose start does not equal the end of the chunk before, and ends the rows.
  void repair(int64_t threads) {
    const int64_t rows = static_cast<int64_t>(rows_.size());
    if (std::none_of(rows_.begin(), rows_.end(), is_wrong)) {  // other threads would only wait
      for (const Row& row : rows_) repair(row, 0, row.pass->channels);
      return;
    }
    int64_t widest = 0;
    for (const Row& row : rows_) widest = std::max(widest, row.pass->channels);
    const int64_t each = (widest + threads - 1) / threads;
    const int64_t width = std::max<int64_t>(64, (each + GROUP - 1) / GROUP * GROUP);
    const int64_t blocks = (widest + width - 1) / width;  // of channels, which are independent
    torch::stable::parallel_for(0, rows * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Row& row = rows_[i / blocks];
        const int64_t first = i % blocks * width;
        repair(row, first, std::min(width, row.pass->channels - first));
      }
    });
  }

  static bool is_wrong(const Row& row) {
    for (int64_t k = 1; k < row.chunks; ++k) {
      if (!row.swept[k]) return true;
      if (!same(row.start(k), row.mark(k * row.length), row.pass->channels)) return true;
    }
    return false;
  }

  // The same for some channels of a row.
  void repair(const Row& row, int64_t first, int64_t channels) {
    if (row.chunks == 1 || channels <= 0) return;
    const Pass& pass = *row.pass;
    const Scratch<A> memory(channels + Pass::scratch(channels));
    for (int64_t k = 1; k < row.chunks; ++k) {
      repair(row, k, first, channels, {memory.data, memory.data + channels});
    }
    pass.finish(first, channels, row.mark(pass.segments) + first);
    const int64_t steps = pass.steps_before(pass.segments);
    counters.numbers.fetch_add(steps * channels, std::memory_order_relaxed);
    counters.passes.fetch_add(first == 0, std::memory_order_relaxed);
    counters.chunks.fetch_add(row.chunks - 1, std::memory_order_relaxed);
  }

  // The same for some channels of a chunk.
  void repair(const Row& row, int64_t chunk, int64_t first, int64_t channels,
              const Workspace<A>& space) {
    const Pass& pass = *row.pass;
    const bool swept = row.swept[chunk];
    std::vector<int64_t> wrong;  // first channels of groups
    int64_t at = chunk * row.length;
    const auto count = [&](int64_t i) { return std::min(GROUP, first + channels - i); };
    for (int64_t i = first; i < first + channels; i += GROUP) {
      if (!swept || !same(row.start(chunk) + i, row.mark(at) + i, count(i))) wrong.push_back(i);
    }
    if (!wrong.empty()) counters.repaired.fetch_add(1, std::memory_order_relaxed);
    for (; !wrong.empty() && at < row.end(chunk); ++at) {
      for (size_t i = 0; i < wrong.size();) {
        Args args[MAX_STREAMS];
        int64_t streams = 0, total = 0;
        for (; i < wrong.size() && streams < MAX_STREAMS; ++streams) {
          const int64_t from = wrong[i];
          int64_t to = from;
          while (i < wrong.size() && wrong[i] == to) to += count(wrong[i++]);
          A* const carry = space.carry + (from - first);
          std::copy_n(row.mark(at) + from, to - from, carry);
          A* const scratch = space.scratch + Pass::scratch(from - first);
          args[streams] = pass.segment(at, from, to - from, {carry, scratch});
          total += to - from;
        }
        Pass::run(args, streams);
        const int64_t steps = pass.steps_before(at + 1) - pass.steps_before(at);
        counters.repairs.fetch_add(steps * total, std::memory_order_relaxed);
      }
      size_t left = 0;
      for (const int64_t i : wrong) {
        const A* const now = space.carry + (i - first);
        if (swept && same(now, row.mark(at + 1) + i, count(i))) continue;
        std::copy_n(now, count(i), row.mark(at + 1) + i);
        wrong[left++] = i;
      }
      wrong.resize(left);
    }
  }

  const Plan plan_;
  std::vector<Row> rows_;
  std::vector<Lane> lanes_;
  bool divided_ = false;
};

}  // namespace srulight
