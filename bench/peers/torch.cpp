// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// LibTorch, forward and backward:
//
//   torch_cross_entropy   plain likelihood; ours beside it: gradient_in_place_nll
//   torch_idft            IDFT in the operations of its authors' trainer, from softmax on
//   torch_idft_lean       the same loss in as few operations as Torch allows, with the weight under
//                         stop-gradient as ours
//
// The gradient of the logits is dropped before each call, untimed, as trainers do. The allocator is
// tuned in Torch's favour: glibc's malloc keeps what is freed instead of handing large blocks back
// to the system, where every page would be cleared again (M_MMAP_MAX 0, M_TRIM_THRESHOLD off).

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/csrc/api/include/torch/version.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "../support/ours.hpp"
#include "../support/peak.hpp"

namespace idiolect::bench {
namespace {

at::Tensor tensor(matrix_view<const float> z) {
  return at::from_blob(const_cast<float*>(z.data()), {z.rows(), z.cols()}, at::kFloat)
      .requires_grad_(true);
}
at::Tensor tensor(std::span<const token_id> y) {
  auto t = at::empty({static_cast<index_t>(y.size())}, at::kLong);
  std::copy(y.begin(), y.end(), t.data_ptr<std::int64_t>());
  return t;
}

at::Tensor cross_entropy(const at::Tensor& z, const at::Tensor& y) {
  return at::cross_entropy_loss(z, y);
}

at::Tensor idft_of_authors(const at::Tensor& z, const at::Tensor& y) {
  constexpr double epsilon = 1e-10;
  const auto p = at::softmax(z, -1);
  const auto entropy = -(p * at::log(p + epsilon)).sum(-1);
  const auto log_prob = -at::cross_entropy_loss(z, y, {}, at::Reduction::None);
  const auto gamma = at::clamp(at::exp(-(log_prob + entropy)), 0.1, 2.0);
  const auto p_y = at::clamp(at::gather(p, 1, y.unsqueeze(-1)).squeeze(-1), epsilon, 1.0);
  return (-at::pow(p_y, gamma.detach()) * at::log(p_y)).mean();
}

at::Tensor idft_lean(const at::Tensor& z, const at::Tensor& y) {
  const auto log_p = at::log_softmax(z, -1);
  const auto log_prob = log_p.gather(1, y.unsqueeze(-1)).squeeze(-1);
  const auto fixed = log_p.detach();
  const auto entropy = -(fixed.exp() * fixed).sum(-1);
  const auto l = log_prob.detach();
  const auto gamma = at::clamp(at::exp(-(l + entropy)), 0.1, 2.0);
  return -(at::exp(gamma * l) * log_prob).mean();
}

using torch_loss = at::Tensor (*)(const at::Tensor&, const at::Tensor&);

void tune_allocator() {
#if defined(__GLIBC__)
  [[maybe_unused]] static const bool tuned = [] {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
    return true;
  }();
#endif
}

template <torch_loss Loss, class Same>
void torch_step(run& r) {
  tune_allocator();
  at::set_num_threads(r.threads());
  auto z = tensor(r.input());
  const auto y = r.targets();
  const auto targets = tensor(y);
  r.check([&] {
    const auto found = Loss(z, targets);
    const double expected = loss(reference{workers(2)}, r.input(), y, Same{}).loss;
    agree(found.item<double>(), expected, 1e-3, std::abs(expected), "Torch's loss");
    found.backward();
    // The authors' trainer differentiates p_y^gamma too, at a fixed gamma.
    if constexpr (Loss != idft_of_authors) {
      check_gradient_rows<float>(
          {z.grad().template data_ptr<float>(), r.size().rows, r.size().vocab}, r.size(), Same{});
    }
  });
  r.time([&] { z.mutable_grad().reset(); }, [&] { Loss(z, targets).backward(); });
}

template <torch_loss Loss>
void torch_peak(matrix_view<float> z, std::span<const token_id> y) {
  at::set_num_threads(2);
  Loss(tensor(z), tensor(y)).backward();
}

[[maybe_unused]] const bool registered = [] {
  rest_before_timing = std::chrono::milliseconds(10);
  benchmark::AddCustomContext("peer", std::string("LibTorch ") + TORCH_VERSION);
  measure_shapes("gradient_in_place", "fp32", gradient_in_place<float>);
  measure_shapes("gradient_in_place_nll", "fp32", gradient_in_place<float, nll>);
  measure_shapes("torch_cross_entropy", "fp32", torch_step<cross_entropy, nll>);
  measure_shapes("torch_idft", "fp32", torch_step<idft_of_authors, idft>);
  measure_shapes("torch_idft_lean", "fp32", torch_step<idft_lean, idft>);
  measure_peak("torch_cross_entropy", torch_peak<cross_entropy>);
  measure_peak("torch_idft", torch_peak<idft_of_authors>);
  measure_peak("torch_idft_lean", torch_peak<idft_lean>);
  return true;
}();

}  // namespace
}  // namespace idiolect::bench
