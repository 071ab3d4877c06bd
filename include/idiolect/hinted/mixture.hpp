// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The distribution that hinted decoding samples from, in the log domain:
//
//   log m = (1 - lambda) log p + lambda log q + constant
//
// p the teacher's, q the student's. lambda 0 is p and lambda 1 is q, exactly; in between a token
// that either forbids (-inf) is forbidden.

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// The type that a mixture of rows of `T` and of `S` is held in.
template <logit_scalar T, logit_scalar S>
using mixture_t = std::common_type_t<accumulator_t<T>, accumulator_t<S>>;

/// A logit of the mixture, on host and device. Differences from each row's maximum are mixed, so a
/// shift of either row changes nothing. Computed in double and rounded once: to 6e-8 of the
/// distance to the maximum for rows in single precision.
template <logit_scalar T, logit_scalar S>
struct mixed_logit {
  double teacher_max;
  double student_max;
  double lambda;

  [[nodiscard]] IDIOLECT_HD mixture_t<T, S> operator()(T teacher, S student) const {
    const double p = static_cast<double>(load(teacher)) - teacher_max;
    const double q = static_cast<double>(load(student)) - student_max;
    return static_cast<mixture_t<T, S>>((1 - lambda) * p + lambda * q);
  }
};

/// Logits of the mixture for one row of n logits each, into `mixed` (resized to n), and the largest
/// of them: -inf where the rows have no token in common. 0 < lambda < 1, the rows finite. O(n).
template <logit_scalar T, logit_scalar S>
double mix_logits(const T* teacher, double teacher_max, const S* student, double student_max,
                  index_t n, double lambda, std::vector<mixture_t<T, S>>& mixed) {
  using value = mixture_t<T, S>;
  const mixed_logit<T, S> logit{teacher_max, student_max, lambda};
  mixed.resize(static_cast<std::size_t>(n));
  constexpr index_t lanes = 32;  // maxima that do not wait for each other
  value largest[lanes];
  std::ranges::fill(largest, -std::numeric_limits<value>::infinity());
  for (index_t first = 0; first < n; first += lanes) {
    value* const out = mixed.data() + first;
    const auto mix = [&](index_t k) { return logit(teacher[first + k], student[first + k]); };
    if (first + lanes <= n) {
      value x[lanes];
      for (index_t k = 0; k < lanes; ++k) x[k] = mix(k);
      for (index_t k = 0; k < lanes; ++k) largest[k] = largest[k] < x[k] ? x[k] : largest[k];
      std::copy(x, x + lanes, out);
    } else {
      for (index_t k = 0; k < n - first; ++k) largest[0] = (std::max)(largest[0], out[k] = mix(k));
    }
  }
  return static_cast<double>(*std::ranges::max_element(largest));
}

}  // namespace idiolect
