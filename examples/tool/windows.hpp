// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Texts longer than a model's context are read in windows that overlap: each token is scored once,
// in the first window that has it, so that behind the first window every token still has at least
// `overlap` tokens before it.

#include <algorithm>
#include <vector>

#include <idiolect/core/types.hpp>

namespace tool {

using idiolect::index;

/// Rows [first, first + rows) of a sequence; row i holds token i and predicts token i + 1. The
/// first `repeated` rows were read by the window before.
struct window {
  index first;
  index rows;
  index repeated;
};

/// Windows over the rows of a sequence of `tokens` tokens, for a model that holds `context` rows;
/// 0 <= overlap < context.
[[nodiscard]] inline std::vector<window> cut_windows(index tokens, index context, index overlap) {
  std::vector<window> windows;
  const index rows = tokens - 1;
  for (index done = 0; done < rows;) {
    const index repeated = std::min(done, overlap);
    const index count = std::min(context, rows - done + repeated);
    windows.push_back({done - repeated, count, repeated});
    done += count - repeated;
  }
  return windows;
}

}  // namespace tool
