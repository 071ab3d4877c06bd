// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// How a decoder schedules texts, and what the decoding cost.

#include <functional>

#include <idiolect/core/bounds.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/writer.hpp>

namespace idiolect {

/// Options of the scheduler; none changes a text but `on_token` (`defer_student` and
/// `shared_beginning` up to the rounding of a model that is not batch_invariant).
struct decoder_options {
  index_t parallel = 16;  ///< texts in flight, fewer where the model has fewer streams
  /// Forward the student only when lambda is above 0, or when it lags `max_lag` tokens behind: for
  /// schedules that are often exactly 0. Its tokens come in few large chunks, which a model takes
  /// faster than one by one; costs a copy of a row and a call now and then.
  bool defer_student = false;
  index_t max_lag = 32;
  /// Tokens that two prompts, one after the other, must have in common at their beginning for these
  /// to be forwarded once and forked; 0: every prompt by itself. Takes up to four streams that no
  /// text needs.
  index_t shared_beginning = 16;
  /// Called with each text after each of its tokens, on the thread that runs the decoder; false
  /// ends that text with stop_reason::stopped. A text that gives its place up in a full cache
  /// starts again, and is told again from its first token.
  std::function<bool(const hinted_state&)> on_token = {};
  /// Asked before each forward; true ends every text with stop_reason::cancelled.
  std::function<bool()> cancelled = {};
};

/// Raises shape_error naming the option that is out of range.
inline void validate(const decoder_options& o) {
  detail::require_count(1, index_t{1} << 20, o.parallel, "decoder_options::parallel");
  require(o.max_lag > 0, "decoder_options::max_lag", "must be > 0");
  require(o.shared_beginning >= 0, "decoder_options::shared_beginning", "must be >= 0");
}

/// What the decoding cost.
struct decoder_counts {
  index_t calls = 0;           ///< of forward
  index_t teacher_tokens = 0;  ///< forwarded in teacher streams, prompts included
  index_t student_tokens = 0;
  index_t beginning_tokens = 0;  ///< forwarded once for several prompts
  index_t shared_tokens = 0;     ///< of prompts, that were forked and not forwarded
  index_t emitted_tokens = 0;
};

}  // namespace idiolect
