// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

/// \file
/// What llama.cpp says of a text, and the way from this program's files to llama.cpp's.
#pragma once

#include <string>

#include "support.hpp"
// After that one, which has Catch2.
#include "examples/tool_support.hpp"
#include "llama_cpp/support.hpp"

namespace idiolect::test {

/// Logits [T, V] of a text by llama.cpp, in fp32 throughout.
inline at::Tensor llama_logits(const std::filesystem::path& path, const tokens& text) {
  const auto model = load(path);
  REQUIRE(model != nullptr);
  const auto engine =
      context(model, {.context = 256, .streams = 1, .batch = 256, .micro_batch = 256});
  llama_lm m(engine.get());
  const auto rows = m.open();
  REQUIRE(give(m, rows, text, want_logits::all) == forward_status::ok);
  const auto z = m.logits(rows);
  at::Tensor logits = at::empty({z.rows(), z.cols()}, at::TensorOptions().dtype(at::kFloat));
  for (index_t i = 0; i < z.rows(); ++i) {
    std::copy_n(z.row(i), z.cols(), static_cast<float*>(logits.data_ptr()) + i * z.cols());
  }
  return logits;
}

inline at::Tensor torch_logits(const torch_trainer::llama& model, const tokens& text) {
  const at::NoGradGuard no_grad;
  return model.logits(model.hidden(row_of(text)))[0];
}

/// The largest difference over the range of the logits.
inline double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  return largest_difference(a, b) / (b.max() - b.min()).item<double>();
}

/// to_gguf.py; its exit code.
inline int to_gguf(const std::string& folder, const std::string& original, const std::string& out,
                   const std::string& type) {
  const std::string python = IDIOLECT_TEST_PYTHON;
  const tool_test::scratch output;
  const int code = tool_test::wait_for(tool_test::start(
      output, {"-B", IDIOLECT_TEST_TO_GGUF, folder, original, out, "--type", type}, python));
  INFO(tool_test::read_all(output / "stderr"));
  CHECK(code == 0);
  return code;
}

}  // namespace idiolect::test
