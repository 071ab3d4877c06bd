// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The program of the README.

// [embed]
#include <idiolect/idiolect.hpp>
#include <iostream>

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

int main() {
  matrix logits = matrix::Random(4, 32000);           // one row a token, from your model
  std::vector<int> targets = {17, 4, 31999, -100};    // row i predicts targets[i]; -100: ignored

  // Would the model have written these tokens itself? phi is near 0 if so, far below if not.
  for (const auto& token : idiolect::score(idiolect::cpu{}, logits, targets))
    std::cout << "log p " << token.log_prob << "  entropy " << token.entropy << "  phi "
              << token.phi << '\n';

  // Train on them, but let foreign tokens pull less: the logits become their own gradient.
  idiolect::loss_options options;
  options.reduce = idiolect::reduction::mean_over(3);  // tokens in the whole optimiser step
  const auto report = idiolect::loss_and_gradient(idiolect::cpu{idiolect::thread_executor(2)},
                                                  logits, targets, idiolect::idft{}, logits, options);
  std::cout << "loss " << report.loss << "  NLL " << report.mean_nll << "  mean weight "
            << report.weight.mean << "  gradient norm " << logits.norm() << '\n';
}
// [embed]
