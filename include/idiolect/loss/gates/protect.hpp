// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A gate with exceptions: chosen tokens (the end of sequence, an answer's delimiter) get a fixed
// weight whatever the gate says, so that a gate cannot starve what an answer needs to close.

#include <cstddef>
#include <utility>

#include <idiolect/loss/token_loss.hpp>

namespace idiolect {

/// w = `fixed` where the target is one of `ids`, the inner gate's weight elsewhere.
template <gate Inner, std::size_t Count>
struct protected_gate {
  static constexpr moments required = required_moments<Inner>;

  Inner inner;
  token_id ids[Count];
  double fixed = 1;

  template <class Stats>
  [[nodiscard]] IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    using real = typename Stats::real;
    if (is_protected(s.target)) return static_cast<real>(fixed);
    return static_cast<real>(detail::weight_of(inner, s));
  }
  template <class Stats>
  [[nodiscard]] IDIOLECT_HD weight_slope<typename Stats::real> slope(const Stats& s) const
    requires differentiable_gate<Inner>
  {
    if (is_protected(s.target)) return {};
    return inner.slope(s);
  }
  void validate() const {
    detail::require_finite(fixed, "protect::weight");
    detail::validate_options(inner);
  }

 private:
  [[nodiscard]] IDIOLECT_HD bool is_protected(token_id t) const {
    for (std::size_t i = 0; i < Count; ++i) {
      if (ids[i] == t) return true;
    }
    return false;
  }
};

/// `protect({end, delimiter}, 1.0, idft{})`.
template <gate Inner, std::size_t Count>
[[nodiscard]] constexpr auto protect(const token_id (&ids)[Count], double weight, Inner inner) {
  protected_gate<Inner, Count> gate{.inner = std::move(inner), .ids = {}, .fixed = weight};
  for (std::size_t i = 0; i < Count; ++i) gate.ids[i] = ids[i];
  return gate;
}

}  // namespace idiolect
