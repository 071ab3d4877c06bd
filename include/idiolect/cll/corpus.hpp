// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Summary of a corpus: every token once (long sequences weigh more) and every sequence once.
// Shards summarise on their own and merge; moments merge as Chan, Golub and LeVeque (1979) do.

#include <span>

#include <idiolect/cll/score.hpp>
#include <idiolect/cll/sequence.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/summary.hpp>

namespace idiolect {

/// Moments of phi over tokens and of the scores over sequences. Natural logarithms, nats.
/// A masked target makes the mean of phi -inf and its variance NaN; it is in the histogram's
/// `below`. Sequences without a scored token are counted and in no moment.
struct corpus_summary {
  index_t sequences = 0;  ///< with at least one scored token
  index_t empty = 0;      ///< without

  /// All tokens as if they were one sequence, in the order of adding and merging: token-weighted
  /// mean phi, mean NLL, perplexity and entropy, the shares, and z of the whole corpus.
  sequence_score all_tokens;
  moment_summary phi;              ///< over tokens
  histogram<96> phi_bins{-16, 8};  ///< over tokens, a quarter of a nat each
  moment_summary mean_phi;         ///< over sequences, as are the ones below
  moment_summary z;                ///< mean 0 and variance near 1 for the model's own text
  moment_summary mean_log_prob;
  moment_summary perplexity;

  /// One more sequence. O(T).
  void add(std::span<const token_score> scores) {
    sequence_score sequence;
    for (const auto& s : scores) {
      const index_t before = sequence.tokens;
      sequence.add(s);
      if (sequence.tokens == before) continue;
      phi.add(s.phi);
      phi_bins.add(s.phi);
    }
    all_tokens.merge(sequence);
    if (sequence.tokens == 0) {
      ++empty;
      return;
    }
    ++sequences;
    mean_phi.add(sequence.mean_phi());
    z.add(sequence.z());
    mean_log_prob.add(sequence.mean_log_prob());
    perplexity.add(sequence.perplexity());
  }

  /// Another shard, whose sequences follow. Counts and histogram are exact for any cut between
  /// sequences, moments equal up to rounding. O(1).
  void merge(const corpus_summary& next) {
    sequences += next.sequences;
    empty += next.empty;
    all_tokens.merge(next.all_tokens);
    phi.merge(next.phi);
    phi_bins.merge(next.phi_bins);
    mean_phi.merge(next.mean_phi);
    z.merge(next.z);
    mean_log_prob.merge(next.mean_log_prob);
    perplexity.merge(next.perplexity);
  }
};

}  // namespace idiolect
