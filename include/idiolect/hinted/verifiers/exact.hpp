// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The same bytes as the reference: of the whole text, or of the answer behind a delimiter.

#include <string>
#include <string_view>

#include <idiolect/hinted/verifiers/answer.hpp>

namespace idiolect {

/// Accepts a text that equals the reference, both trimmed. With a delimiter: whose answer behind it
/// equals the reference's, or the whole reference where that has no delimiter (a bare answer). A
/// text without the delimiter, or with nothing behind it, is not accepted.
struct exact_verifier {
  std::string delimiter = {};  ///< empty: compare whole texts

  template <has_reference R>
  [[nodiscard]] bool operator()(const R& record, std::string_view text) const {
    const std::string_view expected = reference_of(record);
    if (delimiter.empty()) return trimmed(text) == trimmed(expected);
    const auto found = answer_after(text, delimiter);
    return found && !found->empty() &&
           *found == answer_after(expected, delimiter).value_or(trimmed(expected));
  }
};

}  // namespace idiolect
