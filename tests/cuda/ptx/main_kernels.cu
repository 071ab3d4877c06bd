// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The instantiations that trainers and scorers run: what nvcc makes of them is looked at.

#include <span>

#include <idiolect/backend/cuda/loss.cuh>
#include <idiolect/backend/cuda/score.cuh>
#include <idiolect/loss/gates/idft.hpp>

namespace {

template <class T>
void enqueue_all(const idiolect::cuda& where, idiolect::matrix_view<T> z,
                 std::span<const idiolect::token_id> y) {
  (void)idiolect::score(where, z, y);
  (void)idiolect::loss_and_gradient(where, z, y, idiolect::idft{}, z);
}

}  // namespace

void instantiate(const idiolect::cuda& where, std::span<const idiolect::token_id> y) {
  enqueue_all(where, idiolect::matrix_view<idiolect::bfloat16>(), y);
  enqueue_all(where, idiolect::matrix_view<idiolect::half>(), y);
  enqueue_all(where, idiolect::matrix_view<float>(), y);
}
