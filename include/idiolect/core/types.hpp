// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Integer types of the interface: 64-bit sizes (rows * cols passes 2^31 in ordinary training)
// and 32-bit token ids.

#include <cstdint>

namespace idiolect {

/// Sizes, rows, columns, strides, positions.
using index_t = std::int64_t;

/// A token of the vocabulary, in [0, vocab_size).
using token_id = std::int32_t;

/// The conventional target of a row that is not trained or scored.
inline constexpr token_id ignored_target = -100;

}  // namespace idiolect
