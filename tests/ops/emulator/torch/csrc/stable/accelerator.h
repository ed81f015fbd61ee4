#pragma once

#include <cstdint>

namespace torch::stable::accelerator {
using DeviceIndex = int32_t;
struct DeviceGuard {
  explicit DeviceGuard(DeviceIndex) {}
};
}  // namespace torch::stable::accelerator
