// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "cuda/loss_run.hpp"

IDIOLECT_TEST_LOSS_KERNELS(, idiolect::half, idiolect::half);
IDIOLECT_TEST_LOSS_KERNELS(, idiolect::bfloat16, idiolect::bfloat16);
IDIOLECT_TEST_LOSS_KERNELS(, idiolect::bfloat16, float);
