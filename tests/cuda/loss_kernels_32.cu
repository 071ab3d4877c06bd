// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "cuda/loss_run.hpp"

IDIOLECT_TEST_LOSS_KERNELS(, float, float);
IDIOLECT_TEST_LOSS_KERNELS(, double, double);
