// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Kernels with each fault that the check looks for, so that the check is known to see them.

__global__ void narrow_loss_rows(const float* from, float* to) {
  to[threadIdx.x] = from[threadIdx.x];
}

// Places that are known too late for registers.
__global__ void spilled_score_rows(const uint4* from, uint4* to) {
  uint4 words[16] = {};
  for (int i = 0; i < 64; ++i) words[from[i].x % 16] = from[i];
  for (int i = 0; i < 16; ++i) to[i] = words[i];
}
