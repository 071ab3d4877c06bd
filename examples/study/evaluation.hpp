// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a model can do and what it finds likely: greedy answers to target and base questions, and
// the likelihood of new and of retained text.

#include "study/lab.hpp"

namespace study {

/// For `target` and `base`: `right`, a string of 0 and 1 by question; `flawless`, the same for
/// answers whose every step is right; `closed`, the same for those that end. For base questions
/// also the accuracy by task. `nll`: by text, for B, Bs and A on target questions and A on base
/// questions; `tokens` likewise.
[[nodiscard]] json evaluate(const lab& l, const weights& w);

}  // namespace study
