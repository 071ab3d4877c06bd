// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a text asks of a policy for its next token, and what comes back. Plain data for host and
// device: a policy whose rows are on a device answers many texts at once.

#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>

#include <idiolect/cll/score.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/lambda.hpp>
#include <idiolect/stats/sampling.hpp>

namespace idiolect {

/// Whose distribution a token came from: the one with the larger share of the exponent.
enum class voice : std::uint8_t { teacher, student };

/// One emitted token. Natural logarithms, at temperature 1.
struct hinted_token {
  token_id token = 0;
  double lambda = 0;  ///< the student's share, in [0, 1]
  /// Under the teacher; NaN where it had no row (the student alone).
  double teacher_log_prob = detail::quiet_nan<double>;
  /// Under the student; `ignored` until a deferred row is scored.
  token_score student = {};

  [[nodiscard]] voice leader() const { return lambda < 0.5 ? voice::teacher : voice::student; }
};

/// What is asked for.
enum class hinted_task : std::uint8_t {
  next_token,    ///< drawn from the mixture of both rows
  greedy,        ///< the teacher's most likely token, the smallest id among equals
  student_score  ///< the student's score of a given token
};

/// A request about one text. Rows are `size` logits, where the policy reads them: on the host or on
/// a device.
template <logit_scalar T, logit_scalar S = T>
struct hinted_request {
  hinted_task task = hinted_task::next_token;
  bool student_only = false;  ///< lambda is 1 and the teacher has no row
  /// The teacher's row is the one that this place's last answer kept: it was `student_needed`.
  bool kept_teacher = false;
  token_id token = 0;  ///< student_score: the token to score
  const T* teacher = nullptr;
  const S* student = nullptr;  ///< next_token: null where it is not there yet
  index_t size = 0;            ///< columns that count: hinted_writer::real_columns of the row's
  /// Of the text among those that ask together, from 0: a policy that works on many texts at once
  /// may keep memory for each.
  index_t place = 0;
  std::uint64_t record = 0;    ///< with the policy's seed, the key of the draws
  std::uint64_t position = 0;  ///< of the token in its text
  sampler_options sampler = {};
};

enum class hinted_status : std::uint8_t {
  ok,
  non_finite,      ///< a row that matters had NaN, +inf or nothing but -inf
  no_support,      ///< the rows have no token in common
  student_needed,  ///< lambda is above 0 and the student's row was not there: ask again with it
  bad_lambda       ///< the schedule gave a lambda outside [0, 1]
};

/// What came of a request. Of a score only `token.student`, of `greedy` only `token.token` is set.
struct hinted_answer {
  hinted_status status = hinted_status::ok;
  hinted_token token = {};
};

/// How lambda and the draws follow from a request: all of a policy that is not rows or text.
template <lambda_schedule Schedule>
struct hinted_rule {
  Schedule schedule;
  double entropy_norm = 0;  ///< nats; 0: ln of a request's `size`
  bool teacher_first_token = true;
  std::uint64_t seed = 0;

  /// The student's share, from the teacher's entropy in nats over a row of n logits.
  [[nodiscard]] IDIOLECT_HD double lambda(double entropy, index_t n, std::uint64_t position) const {
    using std::log;
    if (position == 0 && teacher_first_token) return 0;
    const double norm = entropy_norm > 0 ? entropy_norm : log(static_cast<double>(n));
    const double h = norm > 0 ? entropy / norm : 0;
    return static_cast<double>(schedule(h < 0 ? 0 : h > 1 ? 1 : h));
  }

  /// The number in [0, 1) that picks the token.
  [[nodiscard]] IDIOLECT_HD double draw(std::uint64_t record, std::uint64_t position) const {
    return philox{seed, record}.uniform(position);
  }
};

/// A policy that answers many requests at once: `p.answer(requests, answers)` fills as many answers
/// as there are requests. One for each text in flight at most, and one for each late row of its
/// student's; those of one text are neighbours.
template <class P, class T>
concept batch_policy = requires(const P& p, std::span<const hinted_request<T>> requests,
                                std::span<hinted_answer> answers) {
  p.answer(requests, answers);
};

namespace detail {
/// Whether a policy reads logits in device memory.
template <class P>
inline constexpr bool reads_device_logits = [] {
  if constexpr (requires {
                  { P::device_logits } -> std::convertible_to<bool>;
                }) {
    return static_cast<bool>(P::device_logits);
  } else {
    return false;
  }
}();

/// Raises shape_error for a schedule that is not one.
inline void check_lambda(hinted_status status) {
  require(status != hinted_status::bad_lambda, "lambda_schedule", "gave a lambda outside [0, 1]");
}
}  // namespace detail

}  // namespace idiolect
