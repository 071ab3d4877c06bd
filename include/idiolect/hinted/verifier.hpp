// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who decides whether a text may be kept. Any callable is a verifier; some stand ready:
//
//   exact_verifier     the reference's bytes, or its answer behind a delimiter
//   numeric_verifier   the same number, list, set or option behind ####, in \boxed{}, on a line A:
//   regex_verifier     a form, or an answer found by a pattern
//   behind_marker      another verifier, for what stands behind the end of the reasoning
//   command_verifier   a program of yours: include <idiolect/hinted/verifiers/command.hpp>

#include <concepts>
#include <string_view>

#include <idiolect/hinted/verifiers/answer.hpp>
#include <idiolect/hinted/verifiers/exact.hpp>
#include <idiolect/hinted/verifiers/numeric.hpp>
#include <idiolect/hinted/verifiers/regex.hpp>

namespace idiolect {

/// Requirements, for a const verifier `v`, a const record `r` of the caller's type, and a text (the
/// bytes of what was decoded, without an end token):
///  (1) `v(r, text)` says whether `text` is an acceptable answer to `r`.
///  (2) It depends on the two alone, so that a run that is repeated decides alike.
///  (3) Any bytes are a text: none may end the program or raise an error.
///  (4) What is not the text's fault (a checker that cannot be started) raises an error: it is
///      never reported as a text that is not acceptable.
///  (5) One thread at a time calls it, between two calls of the model, which waits; under
///      rewrite_options::verified_at_once several threads may, and the model does not wait.
template <class V, class Record>
concept verifier = requires(const V& v, const Record& r, std::string_view text) {
  { v(r, text) } -> std::convertible_to<bool>;
};

/// Accepts every text.
struct accept_all {
  template <class R>
  [[nodiscard]] bool operator()(const R&, std::string_view) const {
    return true;
  }
};

namespace archetype {

/// The least that is a verifier, of records that are strings.
struct same_text {
  bool operator()(std::string_view record, std::string_view text) const { return record == text; }
};

}  // namespace archetype

static_assert(verifier<archetype::same_text, std::string_view>);
static_assert(verifier<accept_all, int>);
static_assert(verifier<exact_verifier, std::string_view>);
static_assert(verifier<numeric_verifier, std::string_view>);
static_assert(verifier<regex_verifier, std::string_view>);
static_assert(verifier<behind_marker<numeric_verifier>, std::string_view>);

}  // namespace idiolect
