// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The CUDA backend's policy: where work runs and which memory it may use. Calls with it take views
// of device memory, enqueue kernels on the stream and return; nothing is allocated, nothing waits,
// and everything may be captured in a graph. Results stay on the device until they are asked for.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <cuda_runtime_api.h>

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "idiolect: CUDA kernels need sm_80 or newer; give nvcc -arch=sm_80, sm_90, ..."
#endif

namespace idiolect {

/// Device memory for intermediate results, 256-byte aligned as cudaMalloc's is. Ask the call's
/// `..._workspace_bytes` how much it needs. One call at a time uses a workspace: calls on one
/// stream may share one, but the second then takes the first one's results away.
struct device_workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

/// Execution policy: kernels on `stream` of the current device. A cheap value. CCCL has a namespace
/// of this name: write idiolect::cuda where that is in sight.
struct cuda {
  cudaStream_t stream = nullptr;
  device_workspace workspace = {};
};

/// Raises backend_error where `status` is not cudaSuccess; `what` names the call.
inline void check(cudaError_t status, std::string_view what) {
  require<backend_error>(status == cudaSuccess, what, [&] {
    return std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status);
  });
}

namespace detail {

/// Cuts a workspace into aligned pieces; without memory it only counts. The query and the call walk
/// the same pieces, so that they cannot differ.
class workspace_layout {
 public:
  static constexpr std::size_t alignment = 256;

  workspace_layout() = default;
  explicit workspace_layout(const device_workspace& w)
      : data_(static_cast<unsigned char*>(w.data)), bytes_(w.bytes) {}

  template <class T>
  T* take(index_t count) {
    const std::size_t begin = used_;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + alignment - 1) / alignment * alignment;
    return data_ != nullptr && used_ <= bytes_ ? reinterpret_cast<T*>(data_ + begin) : nullptr;
  }
  [[nodiscard]] std::size_t used() const { return used_; }

  /// Raises shape_error unless everything taken fitted.
  void check(std::string_view query) const {
    require(used_ <= bytes_ && (data_ != nullptr || used_ == 0), "workspace", [&] {
      return std::to_string(bytes_) + " bytes, but " + std::to_string(used_) + " are needed; ask " +
             std::string(query);
    });
    require(reinterpret_cast<std::uintptr_t>(data_) % alignment == 0, "workspace",
            "must be 256-byte aligned, as cudaMalloc's memory is");
  }

 private:
  unsigned char* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t used_ = 0;
};

}  // namespace detail

}  // namespace idiolect
