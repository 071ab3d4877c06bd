// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A token's mass in a selection, relative to the most likely token's: what cuts and draws add up,
// on host and device.
//
//   mass(z) = exp((z - max) scale)

#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/stats/exponential.hpp>

namespace idiolect::detail {

/// exp((z - max) scale) in single precision. A rounded argument counts little where it matters:
/// |x| exp(x) <= 0.37, so a sum of masses errs by 1e-7 of the largest term and of itself at most.
template <class Value>
class logit_mass {
 public:
  IDIOLECT_HD logit_mass(double max, double scale) : max_(static_cast<Value>(max)) {
    constexpr auto most = static_cast<double>(largest_finite<Value>);
    scale_ = static_cast<Value>(scale < most ? scale : most);
    rest_ = scale < most ? static_cast<Value>(scale - static_cast<double>(scale_)) : 0;
  }

  [[nodiscard]] IDIOLECT_HD float operator()(Value z) const {
    const Value offset = z - max_;
    return branchless_exp(static_cast<float>(offset * scale_ + offset * rest_));
  }

 private:
  Value max_;
  Value scale_;
  Value rest_;  // what the conversion of the scale left
};

}  // namespace idiolect::detail
