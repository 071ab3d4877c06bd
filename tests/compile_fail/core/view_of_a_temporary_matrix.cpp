// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: a view of a temporary would dangle

// A matrix that is gone when its view is used; a map of memory that stays is fine.
#include <idiolect/core/matrix_view.hpp>

#include <Eigen/Core>
#include <vector>

using rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

int main() {
  std::vector<float> memory(6);
#ifdef MUST_FAIL
  const auto z = idiolect::view(rows(2, 3));
#else
  const auto z = idiolect::view(Eigen::Map<rows>(memory.data(), 2, 3));
#endif
  return static_cast<int>(z.rows()) - 2;
}
