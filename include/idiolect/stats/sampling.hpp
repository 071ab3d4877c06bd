// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The distribution a sampler draws from: temperature, top-k, top-p and min-p applied to a row.
// The plain version, by sorting: the definition that faster selections are compared with, and what
// the sampler-aware CLL centres by.
//
//   scores    x = z / temperature, or z where temperature comes last
//   top-k     the k largest (ties: the smaller token id)
//   top-p     of those, renormalised, the shortest descending prefix with mass >= top_p
//   min-p     of those, the tokens with probability >= min_p times the largest
//   r         softmax of z / temperature over what is kept

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// Whether the nucleus is taken from the tempered distribution (most engines) or the temperature
/// is applied to the nucleus (the order of the hinted-decoding authors).
enum class sampler_order : std::uint8_t { temperature_first, temperature_last };

/// Options of a sampler; the defaults sample from the model itself.
struct sampler_options {
  double temperature = 1;  ///< 0: the most likely token
  index_t top_k = 0;         ///< 0: all
  double top_p = 1;        ///< (0, 1]
  double min_p = 0;        ///< [0, 1]
  sampler_order order = sampler_order::temperature_first;
};

/// Raises shape_error naming the option that is out of range.
inline void validate(const sampler_options& o) {
  detail::require_at_least(0, o.temperature, "temperature");
  require(o.top_k >= 0, "top_k", [&] { return "must be >= 0, got " + std::to_string(o.top_k); });
  require(o.top_p > 0 && o.top_p <= 1, "top_p",
          [&] { return "must be in (0, 1], got " + detail::shown(o.top_p); });
  detail::require_within(0, 1, o.min_p, "min_p");
}

/// The kept tokens in ascending order of id, and their probabilities, which sum to 1.
/// Empty where the row leaves nothing to sample: NaN, +inf, or -inf only.
struct sampler_distribution {
  std::vector<token_id> tokens;
  std::vector<double> probs;

  [[nodiscard]] bool empty() const { return tokens.empty(); }

  /// The token at `u` in [0, 1) of the cumulative distribution, in order of id. Not when empty.
  [[nodiscard]] token_id draw(double u) const {
    double cumulative = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      cumulative += probs[i];
      if (u < cumulative) return tokens[i];
    }
    for (std::size_t i = tokens.size(); i-- > 0;) {  // rounding left the sum just below 1
      if (probs[i] > 0) return tokens[i];
    }
    return tokens.back();
  }
};

/// The distribution that a sampler with options `o` draws from at a row of n logits.
/// O(n log n) time, O(n) memory.
template <logit_scalar T>
[[nodiscard]] sampler_distribution sampled_distribution(const T* row, index_t n,
                                                        const sampler_options& o) {
  validate(o);
  sampler_distribution result;
  double max = -std::numeric_limits<double>::infinity();
  for (index_t i = 0; i < n; ++i) {
    const auto z = static_cast<double>(load(row[i]));
    if (std::isnan(z) || z == std::numeric_limits<double>::infinity()) return result;
    max = (std::max)(max, z);
  }
  if (max == -std::numeric_limits<double>::infinity()) return result;

  struct candidate {
    double offset;  // z - max
    token_id token;
  };
  std::vector<candidate> kept;
  kept.reserve(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) {
    const double offset = static_cast<double>(load(row[i])) - max;
    if (offset > -std::numeric_limits<double>::infinity()) {
      kept.push_back({offset, static_cast<token_id>(i)});
    }
  }
  std::ranges::sort(kept, [](const candidate& a, const candidate& b) {
    return a.offset != b.offset ? a.offset > b.offset : a.token < b.token;
  });

  // 1 / temperature; bounded, so that 0 * sharpness is 0 down to the smallest temperature.
  const double sharpness = o.temperature > 0 ? (std::min)(1 / o.temperature, 1e300) : 1;
  if (o.temperature == 0) {
    kept.resize(1);
  } else {
    const double scale = o.order == sampler_order::temperature_first ? sharpness : 1;
    if (o.top_k > 0 && o.top_k < static_cast<index_t>(kept.size())) {
      kept.resize(static_cast<std::size_t>(o.top_k));
    }
    if (o.top_p < 1) {
      double total = 0;
      for (const auto& c : kept) total += std::exp(c.offset * scale);
      double mass = 0;
      std::size_t count = 0;
      while (count < kept.size() && mass < o.top_p * total) {
        mass += std::exp(kept[count++].offset * scale);
      }
      kept.resize(count);
    }
    if (o.min_p > 0) {
      const auto first_out = std::ranges::find_if(
          kept, [&](const candidate& c) { return std::exp(c.offset * scale) < o.min_p; });
      kept.erase(first_out, kept.end());
    }
  }

  std::ranges::sort(kept, {}, &candidate::token);
  result.tokens.reserve(kept.size());
  result.probs.reserve(kept.size());
  double total = 0;
  for (const auto& c : kept) {
    const double mass = std::exp(c.offset * sharpness);
    result.tokens.push_back(c.token);
    result.probs.push_back(mass);
    total += mass;
  }
  for (double& p : result.probs) p /= total;
  return result;
}

}  // namespace idiolect
