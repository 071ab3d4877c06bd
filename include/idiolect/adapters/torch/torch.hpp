// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// LibTorch: losses under autograd, scores of tensors, and a module with a cache as a causal_lm. For
// tensors on the CPU; cuda.cuh is for CUDA's. LibTorch 1.13 or newer. No umbrella includes this.

#include <idiolect/adapters/torch/causal_lm.hpp>
#include <idiolect/adapters/torch/loss.hpp>
#include <idiolect/adapters/torch/score.hpp>
