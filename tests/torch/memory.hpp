// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The bytes of tensors on the CPU that a piece of work holds at once, by what LibTorch's allocator
// tells its profiler.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

namespace idiolect::test {

struct tensor_bytes {
  std::int64_t most = 0;  ///< at once, above what there was at the start
  std::int64_t left = 0;  ///< at the end
};

// Its signature has other integers from version to version.
template <class Total>
class memory_watch_of : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, Total, Total, c10::Device) override {
    now_ += bytes;
    bytes_.most = std::max(bytes_.most, now_);
    bytes_.left = now_;
  }
  [[nodiscard]] bool memoryProfilingEnabled() const override { return true; }
  [[nodiscard]] tensor_bytes bytes() const { return bytes_; }

 private:
  std::int64_t now_ = 0;
  tensor_bytes bytes_;
};

template <class Total>
Total total_of(void (c10::MemoryReportingInfoBase::*)(void*, std::int64_t, Total, Total,
                                                      c10::Device));
using memory_watch =
    memory_watch_of<decltype(total_of(&c10::MemoryReportingInfoBase::reportMemoryUsage))>;

/// What f() holds. Its backward passes are on the CPU, so on the calling thread.
template <class F>
tensor_bytes watched(F&& f) {
  const auto watch = std::make_shared<memory_watch>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, watch);
  f();
  return watch->bytes();
}

}  // namespace idiolect::test
