// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
// expect: a matrix of logits has one row per token and is row-major

// At the call of a loss the message is that of the view.
#include <Eigen/Core>
#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/loss/gates/nll.hpp>
#include <idiolect/loss/loss.hpp>

int main() {
  using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const row_major logits = row_major::Zero(2, 3);
  const Eigen::VectorXi targets = Eigen::VectorXi::Zero(2);
#ifdef MUST_FAIL
  Eigen::MatrixXf gradient(2, 3);
#else
  row_major gradient(2, 3);
#endif
  idiolect::loss_and_gradient(idiolect::cpu{}, logits, targets, idiolect::nll{}, gradient);
}
