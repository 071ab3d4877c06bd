// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The CUDA backend: the library's calls on device data. Compile with nvcc as C++20, for sm_80 or
// newer (nvcc's own default is older). -Werror cross-execution-space-call is worth having: a gate
// whose weight is not marked IDIOLECT_HD is otherwise only a warning, and its result on a device
// undefined.

#include <idiolect/backend/cuda/scalar.cuh>

#include <idiolect/backend/cuda/hinted_policy.cuh>
#include <idiolect/backend/cuda/hinted_step.cuh>
#include <idiolect/backend/cuda/loss.cuh>
#include <idiolect/backend/cuda/policy.cuh>
#include <idiolect/backend/cuda/score.cuh>
