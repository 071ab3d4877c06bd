// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The whole program: reads, trains, scores, writes.

#include "torch_trainer/options.hpp"

namespace torch_trainer {

/// Raises input_error and usage_error, `interrupted`, and LibTorch's errors.
void run(options o);

}  // namespace torch_trainer
