// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Random tensors, the same for any version of LibTorch, and tensors compared.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <idiolect/adapters/torch/torch.hpp>

// LibTorch has a macro of this name too. Where both are there, Catch2's comes last.
#undef CHECK
#include "support/catch.hpp"
#include "support/rows.hpp"
#include "support/tolerance.hpp"

namespace idiolect::test {

/// Normal numbers of the scale, rounded to `type`.
inline torch::Tensor normal_tensor(at::IntArrayRef shape, at::ScalarType type, std::uint64_t seed,
                                   double scale = 2) {
  torch::Tensor t = at::empty(shape, at::TensorOptions().dtype(at::kDouble));
  random_source random(seed);
  auto* const data = static_cast<double*>(t.data_ptr());
  for (index_t i = 0; i < t.numel(); ++i) data[i] = scale * random.normal();
  return t.to(type);
}

/// Tokens of a vocabulary, every seventh ignored.
inline torch::Tensor random_target_tensor(at::IntArrayRef shape, index_t vocab,
                                          std::uint64_t seed) {
  torch::Tensor t = at::empty(shape, at::TensorOptions().dtype(at::kLong));
  random_source random(seed);
  auto* const data = static_cast<std::int64_t*>(t.data_ptr());
  for (index_t i = 0; i < t.numel(); ++i) data[i] = i % 7 == 3 ? -100 : random.below(vocab);
  return t;
}

/// Numbers in [-1, 2) that fp32 holds.
inline torch::Tensor weight_tensor(at::IntArrayRef shape, std::uint64_t seed) {
  torch::Tensor t = at::empty(shape, at::TensorOptions().dtype(at::kFloat));
  random_source random(seed);
  auto* const data = static_cast<float*>(t.data_ptr());
  for (index_t i = 0; i < t.numel(); ++i) data[i] = static_cast<float>(random.uniform(-1, 2));
  return t;
}

/// Whether two tensors hold the same bits, in the order of their indices.
inline bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  const auto x = a.contiguous();
  const auto y = b.contiguous();
  return x.numel() == 0 ||
         std::memcmp(x.data_ptr(), y.data_ptr(), static_cast<std::size_t>(x.nbytes())) == 0;
}

/// The number in a tensor of one.
inline double number_of(const torch::Tensor& t) {
  return t.item<double>();
}

/// The largest distance of two tensors, NaN where one has a NaN.
inline double distance(const torch::Tensor& a, const torch::Tensor& b) {
  if (a.numel() == 0) return 0;
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/// The gradient of a loss with respect to `x`.
inline torch::Tensor gradient_of(const torch::Tensor& loss, const torch::Tensor& x,
                                 const torch::Tensor& grad_output = {}) {
  torch::autograd::variable_list outputs;
  if (grad_output.defined()) outputs.push_back(grad_output);
  return torch::autograd::grad({loss}, {x}, outputs)[0];
}

}  // namespace idiolect::test
