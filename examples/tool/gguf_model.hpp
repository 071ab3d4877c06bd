// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// GGUF files, which llama.cpp runs where the tool is built with it.

#include "tool/language_model.hpp"

namespace tool {

/// Reads the GGUF that `choice` names. Raises input_error for a file that cannot be used, and for
/// any in a tool without llama.cpp; usage_error for options that make no sense with it. What
/// llama.cpp says of an error is in the message; its log is silent unless `choice.verbose`.
[[nodiscard]] loaded_model load_gguf(const model_choice& choice);

}  // namespace tool
