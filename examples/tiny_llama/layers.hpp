// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The pieces of a Llama that are not matrix products, forward and backward, for training: RMSNorm,
// SwiGLU and causal attention over packed rows. Inference has its own (see model.hpp), whose bits
// do not depend on the batch.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <vector>

#include <Eigen/Core>

#include <idiolect/core/matrix_view.hpp>

#include "tiny_llama/config.hpp"

namespace tiny_llama::training {

template <class Real>
using matrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Real>
using matrix_map = Eigen::Map<matrix<Real>>;
template <class Real>
using strided_map = Eigen::Map<matrix<Real>, Eigen::Unaligned, Eigen::OuterStride<>>;

/// A parameter, or a part of the logits, as an Eigen matrix.
template <class Real>
[[nodiscard]] auto as_eigen(idiolect::matrix_view<Real> m) {
  using value = std::remove_const_t<Real>;
  using map =
      Eigen::Map<std::conditional_t<std::is_const_v<Real>, const matrix<value>, matrix<value>>,
                 Eigen::Unaligned, Eigen::OuterStride<>>;
  return map(m.data(), m.rows(), m.cols(), Eigen::OuterStride<>(m.stride()));
}

/// Memory for one activation. It only grows, and is always equally aligned, so that neither the
/// allocator nor an earlier batch can change how Eigen rounds a sum.
template <class Real>
class buffer {
 public:
  /// The first rows * cols elements as a matrix; what it holds stays if the size does.
  [[nodiscard]] matrix_map<Real> as(index_t rows, index_t cols) {
    const auto size = static_cast<std::size_t>(rows * cols);
    if (storage_.size() < size) storage_.resize(size);
    return {storage_.data(), rows, cols};
  }

 private:
  std::vector<Real, Eigen::aligned_allocator<Real>> storage_;
};

/// y = x * scale / sqrt(mean(x^2) + epsilon) for every row; `inverse` keeps the 1 / sqrt(...).
template <class Real, class X, class Y, class Scale>
void rms_norm(const X& x, const Scale& scale, Y&& y, std::vector<Real>& inverse) {
  const index_t rows = x.rows();
  inverse.resize(static_cast<std::size_t>(rows));
  for (index_t i = 0; i < rows; ++i) {
    const Real mean = x.row(i).squaredNorm() / static_cast<Real>(x.cols());
    const Real r = Real{1} / std::sqrt(mean + static_cast<Real>(norm_epsilon));
    inverse[static_cast<std::size_t>(i)] = r;
    y.row(i).array() = x.row(i).array() * r * scale.array();
  }
}

/// Adds to dx and dscale what dy passes back through rms_norm:
/// dx = r (g - x r^2 mean(g x)) with g = dy * scale, and dscale = sum over rows of dy x r.
template <class Real, class X, class DY, class DX, class Scale, class DScale>
void rms_norm_backward(const X& x, const Scale& scale, const std::vector<Real>& inverse,
                       const DY& dy, DX&& dx, DScale&& dscale) {
  for (index_t i = 0; i < x.rows(); ++i) {
    const Real r = inverse[static_cast<std::size_t>(i)];
    const Real mean =
        (dy.row(i).array() * scale.array() * x.row(i).array()).sum() / static_cast<Real>(x.cols());
    dscale.array() += dy.row(i).array() * x.row(i).array() * r;
    dx.row(i).array() +=
        dy.row(i).array() * scale.array() * r - x.row(i).array() * (r * r * r * mean);
  }
}

/// hidden = silu(gate) * up, silu(g) = g / (1 + exp(-g)).
template <class Gate, class Up, class Hidden>
void swiglu(const Gate& gate, const Up& up, Hidden&& hidden) {
  using Real = typename std::remove_cvref_t<Hidden>::Scalar;
  hidden.array() = gate.array() / (Real{1} + (-gate.array()).exp()) * up.array();
}

/// Overwrites gate and up with their gradients, given the gradient of hidden.
template <class Gate, class Up, class DHidden>
void swiglu_backward(Gate&& gate, Up&& up, const DHidden& dhidden) {
  using Real = typename std::remove_cvref_t<Gate>::Scalar;
  for (index_t i = 0; i < gate.rows(); ++i) {
    for (index_t j = 0; j < gate.cols(); j += 64) {
      const index_t n = std::min<index_t>(64, gate.cols() - j);
      using block = Eigen::Array<Real, 1, Eigen::Dynamic, Eigen::RowMajor, 1, 64>;
      auto g = gate.row(i).segment(j, n).array();
      auto u = up.row(i).segment(j, n).array();
      const auto dh = dhidden.row(i).segment(j, n).array();
      const block s = Real{1} / (Real{1} + (-g).exp());
      const block du = dh * g * s;
      g = dh * u * s * (Real{1} + g * (Real{1} - s));
      u = du;
    }
  }
}

/// Row i of p becomes the softmax of its first i + 1 elements times scale, and 0 after them.
template <class Real, class P>
void causal_softmax(P&& p, Real scale) {
  const index_t n = p.rows();
  for (index_t i = 0; i < n; ++i) {
    auto row = p.row(i).head(i + 1).array();
    const Real top = row.maxCoeff();
    row = ((row - top) * scale).exp();
    row *= Real{1} / row.sum();
    p.row(i).tail(n - i - 1).setZero();
  }
}

/// Causal attention of one head over the rows of one sequence; q, k, v, out: rows x head_size. The
/// probabilities are scratch: kept, they would be most of the memory, so the backward pass computes
/// them again.
template <class Real>
void attend(const strided_map<Real>& q, const strided_map<Real>& k, const strided_map<Real>& v,
            strided_map<Real> out, buffer<Real>& scratch) {
  const Real scale = Real{1} / std::sqrt(static_cast<Real>(q.cols()));
  auto p = scratch.as(q.rows(), q.rows());
  p.noalias() = q * k.transpose();
  causal_softmax(p, scale);
  out.noalias() = p * v;
}

/// Writes dq and adds to dk and dv, which the query heads of a group share.
template <class Real>
void attend_backward(const strided_map<Real>& q, const strided_map<Real>& k,
                     const strided_map<Real>& v, const strided_map<Real>& dout,
                     strided_map<Real> dq, strided_map<Real> dk, strided_map<Real> dv,
                     buffer<Real>& scratch, buffer<Real>& dscratch) {
  const index_t n = q.rows();
  const Real scale = Real{1} / std::sqrt(static_cast<Real>(q.cols()));
  auto p = scratch.as(n, n);
  auto dp = dscratch.as(n, n);
  p.noalias() = q * k.transpose();
  causal_softmax(p, scale);
  dv.noalias() += p.transpose() * dout;
  dp.noalias() = dout * v.transpose();
  for (index_t i = 0; i < n; ++i) {
    const auto row = p.row(i).head(i + 1).array();
    auto drow = dp.row(i).head(i + 1).array();
    const Real mean = (row * drow).sum();
    drow = row * (drow - mean) * scale;
    dp.row(i).tail(n - i - 1).setZero();
  }
  dq.noalias() = dp * k;
  dk.noalias() += dp.transpose() * q;
}

}  // namespace tiny_llama::training
