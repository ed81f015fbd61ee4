// Runs layers through the fused kernel.
#include "fused.h"

#include "passes.h"

#include <torch/csrc/stable/ops.h>

#include <cstdlib>
#include <cstring>

namespace srulight {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::ScalarType;

// Steps that are processed at a time: enough rows to pay for reading the weight from the cache.
constexpr int64_t BLOCK_ROWS = SEGMENT;

// Divides the channels of a direction, and runs some of them over some sequences.
template <typename T>
class FusedLayer {
 public:
  FusedLayer(const T* x, const T* weight, int64_t features, const CpuInputs<T>& in,
             const ForwardOutputs<T>& out, T* u, int64_t threads)
      : threads_(threads),
        x_(x),
        weight_(weight),
        u_(u),
        features_(features),
        in_(in),
        out_(out),
        shape_(tile_shape<T>()) {
    const Sizes& n = in.n;
    const int64_t column = shape_.packed(features, shape_.columns) * n.planes;
    const int64_t panels = (n.hidden + shape_.columns - 1) / shape_.columns;
    const int64_t fit = std::max<int64_t>(1, shape_.cache / std::max<int64_t>(column, 1));
    // Sequences shorter than a block share one.
    group_ = std::max<int64_t>(1, std::min(MAX_STREAMS, BLOCK_ROWS / std::max<int64_t>(n.steps, 1)));
    groups_ = (n.batch + group_ - 1) / group_;
    // If there are fewer sequences than threads, these share channels.
    const int64_t rows = groups_ * n.directions, wanted = (threads + rows - 1) / rows;
    const int64_t blocks = std::max((panels + fit - 1) / fit, std::min(panels, wanted));
    width_ = (panels + blocks - 1) / blocks * shape_.columns;
    blocks_ = (n.hidden + width_ - 1) / width_;
  }

  void run() const {
    const Sizes& n = in_.n;
    // A thread packs the weight of a block once for all of its groups.
    const int64_t all = blocks_ * n.directions;
    const int64_t parts = std::min(groups_, (threads_ + all - 1) / all);
    torch::stable::parallel_for(0, all * parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t part = i % parts, block = i / parts % blocks_, direction = i / parts / blocks_;
        const int64_t offset = block * width_;
        run(direction, offset, std::min(width_, n.hidden - offset), groups_ * part / parts,
            groups_ * (part + 1) / parts);
      }
    });
  }

 private:
  void run(int64_t direction, int64_t offset, int64_t channels, int64_t begin, int64_t end) const {
    const Sizes& n = in_.n;
    const int64_t width = (channels + shape_.columns - 1) / shape_.columns * shape_.columns;
    const int64_t first = direction * n.hidden + offset, columns = n.planes * width;
    const Scratch<char> weight(shape_.packed(features_, columns));
    const Scratch<char> scratch(shape_.scratch(features_));
    const Scratch<T> u(std::max(BLOCK_ROWS, group_ * std::min(n.steps, BLOCK_ROWS)) * columns);
    const int64_t room = (channels + 31) / 32 * 32;
    const Scratch<Wide<T>> carry(group_ * room);
    pack_weight<T>({weight_, features_, n.planes, n.channels, first, channels}, weight.data);
    TileProduct<T> product{nullptr, 0, features_, weight.data, n.planes, width, u.data,
                           scratch.data};
    for (int64_t i = begin; i < end; ++i) {
      std::vector<ForwardPass<T>> passes;
      const int64_t sequence = i * group_, count = std::min(group_, n.batch - sequence);
      passes.reserve(count);
      int64_t segments = 0;
      const Piece piece = in_.piece(sequence, direction, offset, channels);
      for (int64_t s = 0; s < count; ++s) {
        const Piece own = in_.piece(sequence + s, direction, offset, channels);
        passes.emplace_back(in_.args(own), own, out_);
        passes[s].start(carry.data + s * room);
        segments = std::max(segments, passes[s].segments);
      }
      for (int64_t k = 0; k < segments; ++k) {
        // Several sequences have one segment each, and their rows are neighbors.
        const int64_t from = passes[0].steps_before(k), to = passes[0].steps_before(k + 1);
        const int64_t top = count > 1 ? 0 : piece.reversed ? piece.steps - to : from;
        product.rows = count > 1 ? count * n.steps : to - from;
        product.x = x_ + (sequence * n.steps + top) * features_;
        run_tile_product(product);
        if (u_) keep(product, sequence * n.steps + top, first, channels);
        CpuForwardArgs<T> args[MAX_STREAMS];
        int64_t streams = 0;
        for (int64_t s = 0; s < count; ++s) {
          if (k >= passes[s].segments) continue;
          CpuForwardArgs<T>& one = args[streams++];
          one = passes[s].segment(k, 0, channels, {carry.data + s * room, nullptr});
          const T* row = u.data + s * n.steps * columns;
          int64_t step = columns;
          if (piece.reversed) {
            row += (one.steps - 1) * columns;
            step = -columns;
          }
          one.before = one.after = 0;
          Rows<const T>* const planes[] = {&one.candidate, &one.forget, &one.reset, &one.skip};
          for (int64_t plane = 0; plane < n.planes; ++plane) {
            *planes[plane] = {row + plane * width, step};
          }
        }
        run_forward_kernel(args, streams);
      }
      for (int64_t s = 0; s < count; ++s) passes[s].finish(0, channels, carry.data + s * room);
    }
  }

  // Copies rows of a product to u, where they begin at row `to`.
  void keep(const TileProduct<T>& from, int64_t to, int64_t first, int64_t channels) const {
    const Sizes& n = in_.n;
    for (int64_t row = 0; row < from.rows; ++row) {
      for (int64_t plane = 0; plane < n.planes; ++plane) {
        std::copy_n(from.u + (row * n.planes + plane) * from.width, channels,
                    u_ + ((to + row) * n.planes + plane) * n.channels + first);
      }
    }
  }

  const int64_t threads_;
  const T* const x_;
  const T* const weight_;
  T* const u_;  // (B, T, K, D), or null
  const int64_t features_;
  const CpuInputs<T>& in_;
  const ForwardOutputs<T>& out_;
  const TileShape shape_;
  int64_t width_, blocks_;   // channels of a block, and blocks of a direction
  int64_t group_, groups_;  // sequences that share a block of rows, and how many such groups
};

template <typename T>
void fused(const Tensor& x, const Tensor& weight, const Arguments& a, const Sizes& n,
           Outputs& out) {
  using A = Wide<T>;
  // The rows of u are set for each block.
  const CpuInputs<T> in({out.h.const_data_ptr(), 0, 0, 0}, a, n);
  const ForwardOutputs<T> to{.h = writing<T>(out.h),
                             .c0 = numbers<A>(a.c0),
                             .last = out.last.mutable_data_ptr<A>(),
                             .saved = out.c ? out.c->mutable_data_ptr<A>() : nullptr,
                             .saves = chunks(n.steps),
                             .channels = n.channels};
  const int64_t threads = torch::stable::get_num_threads();
  T* const u = out.u ? out.u->mutable_data_ptr<T>() : nullptr;
  FusedLayer<T>(x.const_data_ptr<T>(), weight.const_data_ptr<T>(), weight.size(1), in, to, u,
                threads)
      .run();
}

enum Choice { OFF, ON, AUTO };

// SRULIGHT_FUSED=on or off overrides the rule.
Choice choice() {
  static const Choice chosen = [] {
    const char* asked = std::getenv("SRULIGHT_FUSED");
    if (asked && std::strcmp(asked, "on") == 0) return ON;
    if (asked && std::strcmp(asked, "off") == 0) return OFF;
    return AUTO;
  }();
  return chosen;
}

}  // namespace

bool fuses(ScalarType dtype) {
  const bool half = dtype == ScalarType::BFloat16 || dtype == ScalarType::Half;
  if (choice() == AUTO) return half && fuses_halves();
  return choice() == ON && (half || dtype == ScalarType::Float);
}

void fused_forward(const Tensor& x, const Tensor& weight, const Arguments& a, const Sizes& n,
                   Outputs& out) {
  switch (x.scalar_type()) {
    case ScalarType::BFloat16: return fused<BFloat16>(x, weight, a, n, out);
    case ScalarType::Half: return fused<Half>(x, weight, a, n, out);
    default: return fused<float>(x, weight, a, n, out);
  }
}

}  // namespace srulight

// Read by srulight/ops/layer.py: whether layers of float32 (0), bfloat16 (1) or float16 (2) run
// through the fused kernel.
extern "C" __attribute__((visibility("default"))) int srulight_fuses(int dtype) {
  using torch::headeronly::ScalarType;
  constexpr ScalarType types[] = {ScalarType::Float, ScalarType::BFloat16, ScalarType::Half};
  return dtype >= 0 && dtype < 3 && srulight::fuses(types[dtype]);
}
