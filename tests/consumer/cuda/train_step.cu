// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// A host's training step on device data: a gate of its own, the logits become their own gradient,
// all of it in the host's stream and memory. Compiled and linked by the test; there may be no
// device to run it.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>

#include <idiolect/backend/cuda/loss.cuh>
#include <idiolect/loss/gates/idft.hpp>

namespace {

// [gate]
/// No weight for what the model would hardly say.
struct own_gate {
  template <class Stats>
  IDIOLECT_HD typename Stats::real weight(const Stats& s) const {
    return s.prob() < 0.01 ? 0 : idiolect::idft{}.weight(s);
  }
};
// [gate]

// [train_step]
/// Logits of rows x vocab in device memory become their own gradient; nothing waits, nothing is
/// allocated. Ask loss_workspace_bytes(rows) once for the size of the workspace.
idiolect::cuda_loss train_step(cudaStream_t stream, idiolect::device_workspace workspace,
                               idiolect::bfloat16* logits, const int* targets, std::int64_t rows,
                               std::int64_t vocab) {
  const idiolect::matrix_view<idiolect::bfloat16> z(logits, rows, vocab);
  return idiolect::loss_and_gradient(idiolect::cuda{stream, workspace}, z,
                                     std::span(targets, static_cast<std::size_t>(rows)), own_gate{},
                                     z);
}
// Later, where the numbers are wanted: `wait()` waits for the stream and gives the loss_report.
// [train_step]

}  // namespace

int main() {
  constexpr int rows = 64, vocab = 32000;
  idiolect::bfloat16* logits = nullptr;
  int* targets = nullptr;
  void* memory = nullptr;
  const std::size_t bytes = idiolect::loss_workspace_bytes(rows);
  if (cudaMalloc(&logits, sizeof(*logits) * rows * vocab) != cudaSuccess ||
      cudaMalloc(&targets, sizeof(int) * rows) != cudaSuccess ||
      cudaMalloc(&memory, bytes) != cudaSuccess ||
      cudaMemset(logits, 0, sizeof(*logits) * rows * vocab) != cudaSuccess ||
      cudaMemset(targets, 0, sizeof(int) * rows) != cudaSuccess) {
    std::puts("no CUDA device");
    return 1;
  }
  const auto step = train_step(nullptr, {memory, bytes}, logits, targets, rows, vocab);
  std::printf("loss %f\n", step.wait().loss);
  return 0;
}
