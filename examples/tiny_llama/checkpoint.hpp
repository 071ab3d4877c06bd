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
// All little-endian. Of the tables only the base of RoPE is taken: the rest can be computed. The
// newer formats are those of export.hpp.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tiny_llama/config.hpp"
#include "tiny_llama/export.hpp"
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

/// The base whose angles these tables have, if there is one.
inline std::optional<double> base_of_tables(config c, std::span<const float> tables) {
  const index_t pairs = c.head_size() / 2;
  const auto n = static_cast<std::size_t>(c.context_size * pairs);
  const auto fits = [&](double base) {
    c.rope_base = base;
    const rope_table<double> right(c);
    // The angles were float32 when the tables were made: 1e-7 of some thousand turns.
    const double tolerance = 1e-3 + 1e-6 * static_cast<double>(c.context_size);
    for (std::size_t i = 0; i < n; ++i) {
      const bool near = std::fabs(tables[i] - right.cosines()[i]) <= tolerance &&
                        std::fabs(tables[n + i] - right.sines()[i]) <= tolerance;
      if (!near) return false;
    }
    return true;
  };
  if (pairs < 2 || c.context_size < 2 || fits(usual_rope_base)) return usual_rope_base;
  // The slowest pair at position 1 has the angle base^(-2 (pairs - 1) / head_size).
  const auto slowest = static_cast<std::size_t>(2 * pairs - 1);
  const double angle =
      std::atan2(static_cast<double>(tables[n + slowest]), static_cast<double>(tables[slowest]));
  double base = std::pow(angle, -static_cast<double>(pairs) / static_cast<double>(pairs - 1));
  if (!std::isfinite(base) || base <= 0) return std::nullopt;
  const double round = std::pow(10.0, std::floor(std::log10(base)) - 4);  // float32 has no more
  base = std::round(base / round) * round;
  return fits(base) ? std::optional(base) : std::nullopt;
}

inline void require_size(std::size_t found, index_t expected, const std::filesystem::path& path) {
  require_file(static_cast<index_t>(found) == expected, path,
               "expected " + std::to_string(expected) +
                   " bytes for the model that its header describes, found " +
                   std::to_string(found));
}

}  // namespace detail

/// Where the base of RoPE is from.
enum class rope_origin {
  tables,      ///< the file's tables
  convention,  ///< nothing in the file says: llama2.c's own
  given        ///< the caller's
};

template <class Real>
struct checkpoint {
  tiny_llama::weights<Real> weights;
  rope_origin rope = rope_origin::convention;
};

namespace detail {

template <class Real>
checkpoint<Real> read_export(byte_reader in, std::size_t size, const std::filesystem::path& path,
                             const std::optional<double>& base) {
  in.skip(4);
  require_file(size >= export_header, path,
               "is a llama2.c export that is cut off in its header of 256 bytes");
  const auto version = in.word<std::int32_t>();
  require_file(version == 1 || version == 2, path,
               "is a llama2.c export of version " + std::to_string(version) +
                   "; versions 0, 1 and 2 can be read");
  std::array<std::int32_t, header_words> header{};
  for (auto& word : header) word = in.word<std::int32_t>();
  const char tied = in.text(1).front();
  const auto group = version == 2 ? in.word<std::int32_t>() : 0;
  require_file(tied == 0 || tied == 1, path, "its header does not say whether it has a head");
  require_file(header[5] > 0, path, "its header has a vocabulary of negative size");
  config shape = parse_header(header, path);
  shape.tied = tied == 1;
  shape.rope_base = base.value_or(usual_rope_base);
  if (version == 2) {
    bool whole = group > 0;
    for (const tensor kind : export_matrices) {
      const tensor_shape s = shape_of(shape, kind);
      whole = whole && (s.rows * s.cols) % group == 0;
    }
    require_file(whole, path,
                 "its groups of " + std::to_string(group) + " numbers do not divide its matrices");
  }
  require_size(size, export_bytes(shape, group), path);
  in.skip(export_header - (size - in.left()));
  checkpoint<Real> c{weights<Real>(shape), base ? rope_origin::given : rope_origin::convention};
  read_export_body(in, c.weights, group);
  return c;
}

}  // namespace detail

/// A checkpoint of version 0, 1 or 2. `rope_base` stands above what the file says. Raises
/// file_error if the file is not exactly what its header says, and, unless a base is given, for
/// tables that belong to no base (scaled positions).
template <class Real = float>
[[nodiscard]] checkpoint<Real> open_checkpoint(const std::filesystem::path& path,
                                               const std::optional<double>& rope_base = {}) {
  const std::vector<char> bytes = read_file(path);
  byte_reader in(bytes);
  detail::require_file(in.left() >= 4 * detail::header_words, path,
                       "is not a llama2.c checkpoint: expected a header of 28 bytes, found " +
                           std::to_string(bytes.size()) + " bytes in all");
  if (byte_reader(bytes).word<std::uint32_t>() == detail::export_magic) {
    return detail::read_export<Real>(in, bytes.size(), path, rope_base);
  }
  std::array<std::int32_t, detail::header_words> header{};
  for (auto& word : header) word = in.word<std::int32_t>();
  config shape = detail::parse_header(header, path);
  detail::require_size(bytes.size(), detail::checkpoint_bytes(shape), path);

  const index_t before_tables = weights<Real>(shape).offset(tensor::head);
  byte_reader tables_at(bytes);
  tables_at.skip(4 * (detail::header_words + static_cast<std::size_t>(before_tables)));
  std::vector<float> tables(static_cast<std::size_t>(detail::rope_size(shape)));
  for (float& x : tables) x = tables_at.word<float>();
  rope_origin origin = rope_origin::given;
  if (!rope_base) {
    // Some programs leave the place empty.
    const bool empty = std::ranges::all_of(tables, [](float x) { return x == 0; });
    const auto found =
        empty ? std::optional(usual_rope_base) : detail::base_of_tables(shape, tables);
    detail::require_file(found.has_value(), path,
                         "its RoPE tables are those of no base: scaled positions, which this "
                         "program does not compute, or a damaged file");
    origin = empty ? rope_origin::convention : rope_origin::tables;
    shape.rope_base = *found;
  } else {
    shape.rope_base = *rope_base;
  }
  weights<Real> w(shape);
  for (index_t i = 0; i < w.size(); ++i) {
    if (i == before_tables) in.skip(4 * tables.size());
    w.flat()[static_cast<std::size_t>(i)] = static_cast<Real>(in.word<float>());
  }
  return {std::move(w), origin};
}

/// Its weights alone. Raises as above.
template <class Real = float>
[[nodiscard]] weights<Real> read_checkpoint(const std::filesystem::path& path) {
  return open_checkpoint<Real>(path).weights;
}

/// Writes the bytes of a checkpoint, rounding to float32. Raises shape_error for weights that are
/// no finite numbers, such as those of a training that diverged: such a file would be of no use.
template <class Real>
void put_checkpoint(const weights<Real>& w, file_writer& out) {
  const auto finite = [](Real x) { return std::isfinite(static_cast<float>(x)); };
  idiolect::require(std::ranges::all_of(w.flat(), finite), "weights",
                    "are not finite numbers (did training diverge?); nothing is written");
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
    for (const auto value : range) out.word(static_cast<float>(value));
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
