// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The names of the files in a model's folder.

#include <filesystem>

namespace torch_trainer {

[[nodiscard]] inline std::filesystem::path weights_file(const std::filesystem::path& folder) {
  return folder / "model.safetensors";
}
[[nodiscard]] inline std::filesystem::path config_file(const std::filesystem::path& folder) {
  return folder / "config.json";
}
[[nodiscard]] inline std::filesystem::path report_file(const std::filesystem::path& folder) {
  return folder / "report.json";
}
/// What a run goes on from; see trainer::save.
[[nodiscard]] inline std::filesystem::path state_file(const std::filesystem::path& folder) {
  return folder / "state.safetensors";
}

}  // namespace torch_trainer
