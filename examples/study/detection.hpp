// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which score tells the model's own samples from text in another voice, over tasks of different
// difficulty and within each of them; and what the pictures of the report are made from.

#include "study/lab.hpp"

namespace study {

/// `pooled`: for pure B, half B and a quarter B, AUROCs with intervals and their paired
/// differences, over equal parts of the four tasks. `by_task`: AUROCs for pure B within each task
/// and the target.
[[nodiscard]] json detect(const lab& l);

/// Histograms of phi, cumulative paths, and one hinted decoding token by token. Reads data sets.
[[nodiscard]] json gallery(const lab& l);

}  // namespace study
