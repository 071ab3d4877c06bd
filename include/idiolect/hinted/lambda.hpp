// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How far the student's voice leads, as a function of how unsure the teacher is:
// lambda in [0, 1] from the teacher's normalised entropy h = H(p) / ln V. Where the teacher is sure
// (a number, a key step) it leads; where it is not (wording), the student does.
// Source: arXiv 2602.12222; `linear` with beta 3 is the authors' demo.

#include <cmath>
#include <concepts>
#include <cstdint>

#include <idiolect/config.hpp>
#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>

namespace idiolect {

/// Requirements: `s(h)` for h in [0, 1] is in [0, 1], depends on h alone, and is exactly 0 (the
/// teacher alone) or exactly 1 (the student alone) where it is meant to be.
template <class S>
concept lambda_schedule = std::copy_constructible<S> && requires(const S& s, double h) {
  { s(h) } -> std::convertible_to<double>;
};

/// clamp(beta h, 0, 1). beta 0 is the teacher alone: self-distillation.
struct linear_lambda {
  double beta = 3;

  [[nodiscard]] IDIOLECT_HD double operator()(double h) const {
    const double lambda = beta * h;
    return lambda < 0 ? 0 : lambda > 1 ? 1 : lambda;
  }
  void validate() const {
    detail::require_at_least(0, beta, "linear_lambda::beta");
  }
};

/// 1 / (1 + exp(-beta (h - centre))). Never exactly 0 or 1.
struct sigmoid_lambda {
  double beta = 10;
  double centre = 0.5;

  [[nodiscard]] IDIOLECT_HD double operator()(double h) const {
    using std::exp;
    return 1 / (1 + exp(-beta * (h - centre)));
  }
  void validate() const {
    detail::require_at_least(0, beta, "sigmoid_lambda::beta");
    detail::require_finite(centre, "sigmoid_lambda::centre");
  }
};

/// 0 up to `low`, 1 from `high`, linear between.
struct piecewise_lambda {
  double low = 0.3;
  double high = 0.7;

  [[nodiscard]] IDIOLECT_HD double operator()(double h) const {
    if (h <= low) return 0;
    return h >= high ? 1 : (h - low) / (high - low);
  }
  void validate() const {
    require(low <= high && std::isfinite(low) && std::isfinite(high), "piecewise_lambda::low",
            "must be <= high, both finite");
  }
};

/// The same everywhere; 0 is the teacher alone, 1 the student alone.
struct constant_lambda {
  double value = 0.5;

  [[nodiscard]] IDIOLECT_HD double operator()(double) const { return value; }
  void validate() const {
    detail::require_within(0, 1, value, "constant_lambda::value");
  }
};

/// One of the schedules above, chosen at run time. (No std::variant, whose visitors are host code.)
class any_lambda {
 public:
  any_lambda(linear_lambda s = {}) : kind_(kind::linear), linear_(s) {}
  any_lambda(sigmoid_lambda s) : kind_(kind::sigmoid), sigmoid_(s) {}
  any_lambda(piecewise_lambda s) : kind_(kind::piecewise), piecewise_(s) {}
  any_lambda(constant_lambda s) : kind_(kind::constant), constant_(s) {}

  [[nodiscard]] IDIOLECT_HD double operator()(double h) const {
    switch (kind_) {
      case kind::sigmoid:
        return sigmoid_(h);
      case kind::piecewise:
        return piecewise_(h);
      case kind::constant:
        return constant_(h);
      default:
        return linear_(h);
    }
  }
  void validate() const {
    switch (kind_) {
      case kind::sigmoid:
        return sigmoid_.validate();
      case kind::piecewise:
        return piecewise_.validate();
      case kind::constant:
        return constant_.validate();
      default:
        return linear_.validate();
    }
  }

 private:
  enum class kind : std::uint8_t { linear, sigmoid, piecewise, constant };

  kind kind_;
  union {
    linear_lambda linear_;
    sigmoid_lambda sigmoid_;
    piecewise_lambda piecewise_;
    constant_lambda constant_;
  };
};

}  // namespace idiolect
