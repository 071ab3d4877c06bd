// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// LibTorch's own threads as an executor, so that at::set_num_threads and OMP_NUM_THREADS hold for
// the library's calls too; and any executor behind one type, so that a call is compiled once for
// all.

#include <concepts>
#include <cstdint>
#include <functional>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>

#include <idiolect/core/executor.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// The threads that LibTorch's operators run on; within a parallel region of LibTorch's, the
/// calling thread alone.
///
/// at::parallel_for is serial in a unit that is compiled without OpenMP. An iterator over n bytes
/// is cut by LibTorch itself, compiled as LibTorch was.
struct torch_executor {
  [[nodiscard]] int concurrency() const {
    return at::in_parallel_region() ? 1 : at::get_num_threads();
  }

  template <class F>
  void bulk(index_t n, F&& f) const {
    if (n <= 1 || concurrency() == 1) return serial_executor{}.bulk(n, f);
    const at::Tensor items = at::empty({n}, at::TensorOptions(at::kCPU).dtype(at::kByte));
    const char* const first = static_cast<const char*>(items.data_ptr());
    auto iterator = at::TensorIterator::borrowing_nullary_op(items);
    iterator.for_each(
        [&](char** data, const std::int64_t* strides, std::int64_t inner, std::int64_t outer) {
          for (index_t j = 0; j < outer; ++j) {
            for (index_t k = 0; k < inner; ++k) {
              f(data[0] + j * strides[1] + k * strides[0] - first);
            }
          }
        },
        /*grain_size=*/1);
  }
};

/// Any executor. A copy means the same workers. Without one, LibTorch's threads.
class any_executor {
 public:
  any_executor() : any_executor(torch_executor{}) {}

  // What it is not is asked first: whether it is copyable would be asked of itself without end.
  template <class E>
    requires(!std::same_as<E, any_executor> && executor<E>)
  any_executor(E e)
      : bulk_([e](index_t n, const std::function<void(index_t)>& f) { e.bulk(n, f); }),
        concurrency_([e] { return detail::concurrency_of(e); }) {}

  [[nodiscard]] index_t concurrency() const { return concurrency_(); }

  template <class F>
  void bulk(index_t n, F&& f) const {
    bulk_(n, [&f](index_t i) { f(i); });
  }

 private:
  std::function<void(index_t, const std::function<void(index_t)>&)> bulk_;
  std::function<index_t()> concurrency_;
};

}  // namespace idiolect
