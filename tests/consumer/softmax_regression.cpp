// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A whole trainer in thirty lines: softmax regression with the IDFT gate, nothing but the library.

#include <idiolect/idiolect.hpp>
#include <iostream>

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

int main() {
  const int examples = 600, features = 4, classes = 3;
  const matrix centres = 2 * matrix::Identity(classes, features);
  matrix inputs(examples, features), weights = matrix::Zero(features, classes);
  std::vector<int> labels(examples);
  const idiolect::philox random{.seed = 1};
  for (int i = 0; i < examples; ++i) {
    labels[i] = i % classes;
    for (int j = 0; j < features; ++j) {
      const double noise = random.uniform(i * features + j) - 0.5;
      inputs(i, j) = centres(labels[i], j) + static_cast<float>(2 * noise);
    }
  }

  idiolect::loss_report report;
  for (int step = 0; step < 200; ++step) {
    matrix logits = inputs * weights;  // becomes its own gradient
    report = idiolect::loss_and_gradient(idiolect::cpu{}, logits, labels, idiolect::idft{}, logits);
    weights -= 0.5F * inputs.transpose() * logits;
  }
  std::cout << "mean NLL " << report.mean_nll << " (chance 1.0986), mean phi " << report.phi.mean
            << ", mean weight " << report.weight.mean << '\n';
  return report.mean_nll < 0.3 ? 0 : 1;
}
