// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Checkpoints in the format of llama2.c (https://github.com/karpathy/llama2.c, version 0):
//
//   7 x int32   dim, hidden_dim, layers, heads, kv_heads, vocab_size, context_size
//               vocab_size is negative if the output head has weights of its own
//   float32     the tensors in the order of weights.hpp, except that
//               two RoPE tables [context_size, head_size / 2] stand before an untied head
//
// All little-endian. The tables can be computed: they are written and skipped.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tiny_llama/config.hpp"
#include "tiny_llama/file.hpp"
#include "tiny_llama/rope.hpp"
#include "tiny_llama/weights.hpp"

namespace tiny_llama {

namespace detail {

inline constexpr std::size_t header_words = 7;
inline constexpr std::array<const char*, header_words> header_names = {
    "dim", "hidden_dim", "layers", "heads", "kv_heads", "vocab_size", "context_size"};

/// No size in the header may pass this, so that products of three do not overflow.
inline constexpr std::int32_t largest_size = 1 << 18;

inline config parse_header(const std::array<std::int32_t, header_words>& words,
                           const std::filesystem::path& path) {
  bool plausible = true;
  bool plausible_swapped = true;
  std::string listing;
  for (std::size_t i = 0; i < header_words; ++i) {
    const auto size_of = [&](std::int32_t word) {
      const bool negated = header_names[i] == std::string_view("vocab_size") && word < 0;
      return negated ? -static_cast<std::int64_t>(word) : static_cast<std::int64_t>(word);
    };
    const auto in_range = [&](std::int32_t word) {
      return size_of(word) > 0 && size_of(word) <= largest_size;
    };
    plausible = plausible && in_range(words[i]);
    plausible_swapped =
        plausible_swapped &&
        in_range(static_cast<std::int32_t>(byteswap(static_cast<std::uint32_t>(words[i]))));
    listing += (i ? ", " : "") + std::string(header_names[i]) + " " + std::to_string(words[i]);
  }
  require_file(plausible, path,
               (plausible_swapped ? "is big-endian; a llama2.c checkpoint is little-endian ("
                                  : "is not a llama2.c checkpoint: expected sizes from 1 to " +
                                        std::to_string(largest_size) + " in its header (") +
                   listing + ")");
  config c{.dim = words[0],
           .hidden_dim = words[1],
           .layers = words[2],
           .heads = words[3],
           .kv_heads = words[4],
           .vocab_size = std::abs(words[5]),
           .context_size = words[6],
           .tied = words[5] > 0};
  const bool fits = c.dim % c.heads == 0 && c.heads % c.kv_heads == 0 && c.head_size() % 2 == 0;
  require_file(fits, path, "its header does not describe a model (" + listing + ")");
  return c;
}

/// Elements of the two RoPE tables.
inline index_t rope_size(const config& c) {
  return c.context_size * (c.head_size() / 2) * 2;
}

inline index_t checkpoint_bytes(const config& c) {
  return 4 * (static_cast<index_t>(header_words) + parameter_count(c) + rope_size(c));
}

}  // namespace detail

/// The weights in a checkpoint. Raises file_error if the file is not exactly what its header says.
template <class Real = float>
[[nodiscard]] weights<Real> read_checkpoint(const std::filesystem::path& path) {
  const std::vector<char> bytes = read_file(path);
  byte_reader in(bytes);
  detail::require_file(in.left() >= 4 * detail::header_words, path,
                       "is not a llama2.c checkpoint: expected a header of 28 bytes, found " +
                           std::to_string(bytes.size()) + " bytes in all");
  std::array<std::int32_t, detail::header_words> header{};
  for (auto& word : header)
    word = in.word<std::int32_t>();
  const config shape = detail::parse_header(header, path);

  const index_t expected = detail::checkpoint_bytes(shape);
  detail::require_file(static_cast<index_t>(bytes.size()) == expected, path,
                       "expected " + std::to_string(expected) +
                           " bytes for the model that its header describes, found " +
                           std::to_string(bytes.size()));
  weights<Real> w(shape);
  const index_t before_tables = w.offset(tensor::head);
  for (index_t i = 0; i < w.size(); ++i) {
    if (i == before_tables) in.skip(static_cast<std::size_t>(4 * detail::rope_size(shape)));
    w.flat()[static_cast<std::size_t>(i)] = static_cast<Real>(in.word<float>());
  }
  return w;
}

/// Writes the bytes of a checkpoint, rounding to float32.
template <class Real>
void put_checkpoint(const weights<Real>& w, file_writer& out) {
  const config& c = w.shape();
  for (const index_t size :
       {c.dim, c.hidden_dim, c.layers, c.heads, c.kv_heads, c.vocab_size, c.context_size}) {
    idiolect::require(size <= detail::largest_size, "weights", [&] {
      return "a size of " + std::to_string(size) + " does not fit a checkpoint's header";
    });
  }
  const auto header = [&](index_t size) { out.word(static_cast<std::int32_t>(size)); };
  header(c.dim);
  header(c.hidden_dim);
  header(c.layers);
  header(c.heads);
  header(c.kv_heads);
  header(c.tied ? c.vocab_size : -c.vocab_size);
  header(c.context_size);

  const auto values = [&](auto&& range) {
    for (const auto value : range)
      out.word(static_cast<float>(value));
  };
  const auto before_tables = static_cast<std::size_t>(w.offset(tensor::head));
  values(w.flat().first(before_tables));
  const rope_table<float> tables(c);
  values(tables.cosines());
  values(tables.sines());
  values(w.flat().subspan(before_tables));
}

/// Writes a checkpoint. Either the whole file appears or none: see file.hpp.
template <class Real>
void write_checkpoint(const weights<Real>& w, const std::filesystem::path& path) {
  file_writer out(path);
  put_checkpoint(w, out);
  out.commit();
}

}  // namespace tiny_llama
