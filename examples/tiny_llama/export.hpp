// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Checkpoints in the newer formats of llama2.c (https://github.com/karpathy/llama2.c, export.py):
//
//   uint32  0x616b3432 ("ak42")      int32 version, 1 or 2
//   7 x int32, as in version 0, all positive      uint8  1 if the head is the embedding
//   int32   numbers in a group (version 2)        zeros up to byte 256
//
// Version 1 then has float32: all norms, the embedding, the matrices, the head. Version 2 has the
// norms as float32 and each matrix of each layer as int8 with a float32 scale for each group. All
// little-endian. Neither carries the base of RoPE.

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "tiny_llama/config.hpp"
#include "tiny_llama/file.hpp"
#include "tiny_llama/weights.hpp"

namespace tiny_llama::detail {

inline constexpr std::uint32_t export_magic = 0x616b3432;
inline constexpr std::size_t export_header = 256;

/// What stands first, in this order: all of them float32.
inline constexpr std::array export_norms = {tensor::attention_norm, tensor::ffn_norm,
                                            tensor::final_norm};
/// And then.
inline constexpr std::array export_matrices = {tensor::token_embedding,
                                               tensor::query,
                                               tensor::key,
                                               tensor::value,
                                               tensor::attention_output,
                                               tensor::ffn_gate,
                                               tensor::ffn_down,
                                               tensor::ffn_up,
                                               tensor::head};

inline index_t export_bytes(const config& c, index_t group) {
  index_t bytes = static_cast<index_t>(export_header);
  for (const tensor kind : export_norms) bytes += 4 * shape_of(c, kind).size();
  for (const tensor kind : export_matrices) {
    const index_t n = shape_of(c, kind).size();
    bytes += group > 0 ? n + 4 * (n / group) : 4 * n;
  }
  return bytes;
}

/// Reads what stands behind the header; `group` is 0 in version 1.
template <class Real>
void read_export_body(byte_reader& in, weights<Real>& w, index_t group) {
  const auto values = [&](tensor kind, auto&& read) {
    const tensor_shape s = shape_of(w.shape(), kind);
    const index_t copy = s.rows * s.cols;
    for (index_t layer = 0; layer < s.copies; ++layer) {
      read(w.flat().data() + w.offset(kind) + layer * copy, copy);
    }
  };
  const auto floats = [&](Real* to, index_t n) {
    for (index_t i = 0; i < n; ++i) to[i] = static_cast<Real>(in.word<float>());
  };
  const auto groups = [&](Real* to, index_t n) {
    const std::string_view numbers = in.text(static_cast<std::size_t>(n));
    for (index_t first = 0; first < n; first += group) {
      const auto scale = in.word<float>();
      for (index_t i = first; i < first + group; ++i) {
        const auto q = static_cast<std::int8_t>(numbers[static_cast<std::size_t>(i)]);
        to[i] = static_cast<Real>(static_cast<float>(q) * scale);
      }
    }
  };
  for (const tensor kind : export_norms) values(kind, floats);
  for (const tensor kind : export_matrices) {
    group > 0 ? values(kind, groups) : values(kind, floats);
  }
}

}  // namespace tiny_llama::detail
