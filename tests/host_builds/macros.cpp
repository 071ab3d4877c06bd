// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A host with min and max as macros, as some platforms define them, and with every warning an error in
// our headers too.
#include <vector>

#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))

#include <idiolect/idiolect.hpp>

int smaller(int a, int b) {
  return min(a, b);  // still the host's
}

idiolect::loss_report of_all_types(std::vector<float>& z, std::vector<double>& wide) {
  const std::vector<int> targets{0};
  (void)idiolect::loss_and_gradient(idiolect::cpu{}, wide, targets, idiolect::idft{}, wide);
  return idiolect::loss_and_gradient(idiolect::cpu{idiolect::thread_executor(2)}, z, targets,
                                     idiolect::idft{}, z);
}

std::vector<idiolect::token_score> scores(const std::vector<float>& z) {
  idiolect::score_options options;
  options.sampler = idiolect::sampler_options{.temperature = 0.7, .top_p = 0.9};
  return idiolect::score(idiolect::reference{}, z, std::vector<int>{0}, options);
}
