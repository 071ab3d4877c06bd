// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: one row per token and is row-major
// expect: columns_as_rows

// Eigen's default order is column-major: taken for rows of logits it would be read wrongly.
#include <Eigen/Core>
#include <idiolect/core/matrix_view.hpp>

int main() {
  const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> rows(2, 3);
  const Eigen::MatrixXf columns(3, 2);
#ifdef MUST_FAIL
  return static_cast<int>(idiolect::view(columns).rows() - idiolect::view(rows).rows());
#else
  return static_cast<int>(idiolect::columns_as_rows(columns).rows() - idiolect::view(rows).rows());
#endif
}
