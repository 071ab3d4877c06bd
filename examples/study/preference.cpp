// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/preference.hpp"

#include <cmath>
#include <span>
#include <utility>

namespace study {

namespace {

/// Log-likelihood and length of each text in a batch.
struct likelihoods {
  std::vector<double> log_prob;
  std::vector<double> length;
};

likelihoods likelihoods_of(idiolect::matrix_view<float> z, const tiny_llama::batch& rows) {
  const auto report = idiolect::loss(idiolect::cpu{}, z, rows.targets, idiolect::nll{},
                                     {.reduce = idiolect::reduction::none()});
  likelihoods l;
  for (std::size_t k = 0; k + 1 < rows.offsets.size(); ++k) {
    double sum = 0;
    double length = 0;
    for (index_t i = rows.offsets[k]; i < rows.offsets[k + 1]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (rows.targets[at] == idiolect::ignored_target) continue;
      sum -= report.token_loss[at];
      length += 1;
    }
    l.log_prob.push_back(sum);
    l.length.push_back(length);
  }
  return l;
}

/// `margin(l, k)` is m of pair k, `slope(l, text)` what m changes by with the text's
/// log-likelihood, but for its sign.
template <class Margin, class Slope>
objective pairwise(Margin margin, Slope slope) {
  return [=](idiolect::matrix_view<float> z, const mini_batch& b, double) {
    const auto l = likelihoods_of(z, b.rows);
    const std::size_t pairs = b.items.size();
    std::vector<float> coefficients(b.rows.targets.size());
    double value = 0;
    for (std::size_t k = 0; k < pairs; ++k) {
      const double m = margin(l, b, k);
      value += std::log1p(std::exp(-m)) / static_cast<double>(pairs);
      const double pull = 1 / (1 + std::exp(m)) / static_cast<double>(pairs);
      for (const std::size_t side : {0U, 1U}) {
        const std::size_t which = 2 * k + side;
        const auto weight = static_cast<float>((side == 0 ? pull : -pull) * slope(l, which));
        for (index_t i = b.rows.offsets[which]; i < b.rows.offsets[which + 1]; ++i)
          coefficients[static_cast<std::size_t>(i)] = weight;
      }
    }
    idiolect::loss_options o;
    o.reduce = idiolect::reduction::sum();
    o.weights = coefficients;
    auto report =
        idiolect::loss_and_gradient(idiolect::cpu{}, z, b.rows.targets, idiolect::nll{}, z, o);
    report.loss = value;
    return report;
  };
}

}  // namespace

objective dpo(std::vector<reference_log_prob> reference, double beta) {
  return pairwise(
      [=, reference = std::move(reference)](const likelihoods& l, const mini_batch& b,
                                            std::size_t k) {
        const auto& r = reference[b.items[k]];
        return beta * (l.log_prob[2 * k] - r.chosen - l.log_prob[2 * k + 1] + r.rejected);
      },
      [=](const likelihoods&, std::size_t) { return beta; });
}

objective simpo(double beta, double margin) {
  return pairwise(
      [=](const likelihoods& l, const mini_batch&, std::size_t k) {
        return beta * (l.log_prob[2 * k] / l.length[2 * k] -
                       l.log_prob[2 * k + 1] / l.length[2 * k + 1]) -
               margin;
      },
      [=](const likelihoods& l, std::size_t which) { return beta / l.length[which]; });
}

}  // namespace study
