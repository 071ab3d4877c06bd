// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Candidates of a selection: the tokens of a row whose logits lie in an interval, in order of id,
// and what is done with a list of them.

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/exponential.hpp>
#include <idiolect/stats/nucleus.hpp>
#include <idiolect/stats/row_blocks.hpp>

namespace idiolect {

/// Memory for `select_distribution` and `select_token`, kept by the caller between calls. 20 bytes
/// a logit at most, 36 where a whole row ties.
struct selection_scratch {
  std::vector<token_id> tokens;   // candidates, in order of id
  std::vector<double> offsets;    // of `tokens`: z - max
  std::size_t count = 0;          // of candidates; the vectors may be longer
  std::vector<double> masses;     // of candidates or of blocks
  std::vector<float> row_masses;  // of a short row
  std::vector<detail::edge_entry> edge;
};

namespace detail {

/// All tokens with logits in the interval, and their offsets, in order of id. Gives up, with false,
/// once there are more than `limit`.
template <logit_scalar T>
bool gather(const row_blocks<T>& row, index_t n, double max,
            logit_interval<accumulator_t<T>> interval, index_t limit, selection_scratch& s) {
  std::size_t count = 0;
  row.for_each([&](index_t first, const accumulator_t<T>* z) {
    if (count > static_cast<std::size_t>(limit) || count_from(interval.low, z) == 0) return;
    const std::size_t needed = count + static_cast<std::size_t>(select_block) + 8;
    if (s.tokens.size() < needed) {
      s.tokens.resize((std::max)(needed, (std::min)(2 * needed, static_cast<std::size_t>(n))));
      s.offsets.resize(s.tokens.size());
    }
    token_id* const tokens = s.tokens.data() + count;
    double* const offsets = s.offsets.data() + count;
    const index_t found = positions_in(interval, z, static_cast<token_id>(first), tokens);
    for (index_t k = 0; k < found; ++k) {
      offsets[k] = static_cast<double>(z[tokens[k] - first]) - max;
    }
    count += static_cast<std::size_t>(found);
  });
  s.count = count;
  return count <= static_cast<std::size_t>(limit);
}

/// Keeps the candidates whose offset `stays`, asked in order of id.
template <class Stays>
void keep_if(selection_scratch& s, Stays&& stays) {
  std::size_t kept = 0;
  for (std::size_t k = 0; k < s.count; ++k) {
    const double offset = s.offsets[k];
    s.tokens[kept] = s.tokens[k];
    s.offsets[kept] = offset;
    kept += stays(offset) ? 1u : 0u;
  }
  s.count = kept;
}

/// Keeps the candidates of the prefix.
inline void cut_candidates(selection_scratch& s, prefix_cut prefix) {
  std::size_t above = 0;
  std::size_t ties = 0;
  for (std::size_t k = 0; k < s.count; ++k) {
    above += s.offsets[k] > prefix.offset ? 1u : 0u;
    ties += s.offsets[k] == prefix.offset ? 1u : 0u;
  }
  if (above + ties == s.count && ties <= static_cast<std::size_t>(prefix.ties)) return;
  keep_if(s, [&](double offset) {
    const bool tie = offset == prefix.offset;
    prefix.ties -= tie ? 1 : 0;
    return offset > prefix.offset || (tie && prefix.ties >= 0);
  });
}

/// The sum of x in eight lanes.
inline double lane_sum(std::span<const double> x) {
  double lane[8] = {};
  std::size_t k = 0;
  for (; k + 8 <= x.size(); k += 8) {
    for (std::size_t j = 0; j < 8; ++j) lane[j] += x[k + j];
  }
  double total = 0;
  for (; k < x.size(); ++k) total += x[k];
  for (const double part : lane) total += part;
  return total;
}

/// exp of the candidates' offsets times `scale` into the scratch's masses, and their sum.
inline double masses_of(selection_scratch& s, double scale) {
  if (s.masses.size() < s.count) s.masses.resize(s.count);
  for (std::size_t k = 0; k < s.count; ++k) s.masses[k] = branchless_exp(s.offsets[k] * scale);
  return lane_sum({s.masses.data(), s.count});
}

/// Where the prefix of the candidates ends that reaches `target`: a mass, or a rank. Those of less
/// than `least` cannot be in it.
inline prefix_cut cut_of(selection_scratch& s, bool by_rank, double target, double least = 0) {
  s.edge.resize(s.count);
  std::size_t count = 0;
  for (std::size_t k = 0; k < s.count; ++k) {
    const double weight = by_rank ? 1 : s.masses[k];
    s.edge[count] = {s.offsets[k], weight};
    count += weight >= least ? 1u : 0u;
  }
  s.edge.resize(count);
  if (s.edge.empty()) return {};
  return find_cut(s.edge, target);
}

}  // namespace detail

}  // namespace idiolect
