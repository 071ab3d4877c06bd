// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Peak memory of a computation beyond its inputs, as a multiple of the logits. Each is measured in
// a process of its own, which this executable starts as `<itself> --peak <name>`
// (support/main.cpp): what other benchmarks left in the allocator or in the threads' stacks cannot
// blur it.

#include <functional>
#include <map>
#include <span>
#include <string>

#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>

#include "rows.hpp"

namespace idiolect::bench {

/// The batch that peaks are measured on: 311 MB of logits, fp32.
inline constexpr shape peak_shape{512, 151936};

/// A computation over given logits, which it may overwrite, by two threads.
using peak_work = std::function<void(matrix_view<float>, std::span<const token_id>)>;

/// Registers the benchmark peak_memory/<name>; its counter `times_logits` is the result.
void measure_peak(const std::string& name, peak_work work);

}  // namespace idiolect::bench
