// The operator codebook_linear. srulight/ops/codebook.py defines its schema and its reference.
#include "codebook.h"

#include "../sru.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace srulight {
namespace {

using torch::headeronly::ScalarType;

constexpr int64_t LEAST = 1 << 16;  // multiplications that are worth a thread

Tensor packed(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }

Tensor codebook_linear(const Tensor& x, const Tensor& indices, const Tensor& codebook,
                       const Tensor& scale, std::optional<int64_t> fraction, int64_t bits) {
  SRU_CHECK(x.dim() == 2 && x.scalar_type() == ScalarType::Float,
            "x must be a float32 matrix (row, feature)");
  const int64_t rows = x.size(0), features = x.size(1), bytes = (features + 1) / 2;
  SRU_CHECK(indices.dim() == 2 && indices.scalar_type() == ScalarType::Byte &&
                indices.size(1) == bytes,
            "indices must be a uint8 matrix with ", bytes, " columns");
  const int64_t outputs = indices.size(0);
  SRU_CHECK(codebook.dim() == 2 && codebook.scalar_type() == ScalarType::Char &&
                codebook.size(1) == 16 && codebook.size(0) >= (outputs > 0) &&
                codebook.size(0) <= outputs,
            "codebook must be an int8 matrix with 16 columns and 1 to ", outputs, " rows");
  SRU_CHECK(scale.dim() == 1 && scale.scalar_type() == ScalarType::Float &&
                scale.size(0) == outputs,
            "scale must have ", outputs, " numbers of float32");
  SRU_CHECK(bits >= 4 && bits <= 16, "bits must be 4 to 16, got ", bits);
  SRU_CHECK(!fraction || (*fraction >= -100 && *fraction <= 100),
            "fraction must be -100 to 100, got ", fraction.value_or(0));
  Tensor y = torch::stable::new_empty(x, {rows, outputs});
  if (rows == 0 || outputs == 0) return y;
  const Tensor from = packed(x), words = packed(indices), tables = packed(codebook);
  const Tensor scales = packed(scale);
  std::vector<int16_t> integers(rows * padded_features(features));
  std::vector<float> steps(rows);
  round_codebook_rows({.rows = rows,
                       .features = features,
                       .x = from.const_data_ptr<float>(),
                       .has_fraction = fraction.has_value(),
                       .fraction = fraction.value_or(0),
                       .bits = bits,
                       .integers = integers.data(),
                       .steps = steps.data()});
  const CodebookProduct product{.rows = rows,
                                .features = features,
                                .outputs = outputs,
                                .codebooks = tables.size(0),
                                .integers = integers.data(),
                                .steps = steps.data(),
                                .indices = words.const_data_ptr<uint8_t>(),
                                .codebook = tables.const_data_ptr<int8_t>(),
                                .scale = scales.const_data_ptr<float>(),
                                .y = y.mutable_data_ptr<float>()};
  const int64_t grain = std::max<int64_t>(1, LEAST / std::max<int64_t>(1, rows * features));
  torch::stable::parallel_for(0, outputs, grain, [&](int64_t begin, int64_t end) {
    run_codebook_kernel(product, begin, end);
  });
  return y;
}

}  // namespace
}  // namespace srulight

STABLE_TORCH_LIBRARY_IMPL(srulight, CPU, m) {
  m.impl("codebook_linear", TORCH_BOX(&srulight::codebook_linear));
}
