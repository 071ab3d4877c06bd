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

using idiolect::index_t;

/// Rows [first, first + rows) of a sequence; row i holds token i and predicts token i + 1. The
/// first `repeated` rows were read by the window before.
struct window {
  index_t first;
  index_t rows;
  index_t repeated;
};

/// Windows over the rows of a sequence of `tokens` tokens, for a model that holds `context` rows;
/// 0 <= overlap < context.
[[nodiscard]] inline std::vector<window> cut_windows(index_t tokens, index_t context,
                                                     index_t overlap) {
  std::vector<window> windows;
  const index_t rows = tokens - 1;
  for (index_t done = 0; done < rows;) {
    const index_t repeated = std::min(done, overlap);
    const index_t count = std::min(context, rows - done + repeated);
    windows.push_back({done - repeated, count, repeated});
    done += count - repeated;
  }
  return windows;
}

}  // namespace tool
