// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A real language model (stories260K, trained on TinyStories) fine-tuned on Shakespeare with SFT,
// DFT and IDFT. Each learns the new text at its own pace, so what they forget is compared where
// they have gained the same: along each training run, the rise of the NLL of the model's own
// stories (an estimate of KL(before || after), nats a token) where held-out Shakespeare has become
// likelier by a given amount, by its NLL or by its tokens' mean probability.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "study/store.hpp"

namespace study {

/// The folder with model/stories260K.bin, model/tok512.bin and text/tinyshakespeare.txt.
[[nodiscard]] bool has_real_data(const std::filesystem::path& folder);

/// Stages of the first kind, then of the second, which reads them.
[[nodiscard]] std::vector<stage> real_text_data(const settings& how, const store& results,
                                                const std::filesystem::path& folder);
[[nodiscard]] std::vector<stage> real_text_runs(const settings& how, const store& results,
                                                const std::filesystem::path& folder);

/// What came of them, for the report; says why if they were not done.
[[nodiscard]] json real_text_report(const store& results, const std::filesystem::path& folder);

}  // namespace study
