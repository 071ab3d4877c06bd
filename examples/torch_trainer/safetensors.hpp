// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Files of named arrays in Hugging Face's format:
//
//   8 bytes          length n of the header, little-endian
//   n bytes          JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
//   ...} what is left     the arrays, row-major, little-endian, without holes; offsets count from
//   here
//
// "__metadata__" is an object of strings. https://github.com/huggingface/safetensors

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <idiolect/core/types.hpp>

#include "files/replacement.hpp"

namespace torch_trainer {

enum class dtype : std::uint8_t { f32, f16, bf16 };

/// "F32", as in the header.
[[nodiscard]] const char* name_of(dtype type);
[[nodiscard]] std::size_t bytes_of(dtype type);

struct array_info {
  std::string name;
  dtype type = dtype::f32;
  std::vector<idiolect::index_t> shape;
  std::uint64_t begin = 0;  ///< bytes, from the first array's; a writer fills in both
  std::uint64_t end = 0;
};

using file_metadata = std::map<std::string, std::string>;

/// A file of arrays. The header is read and checked as a whole, so that every later read is of
/// bytes that are there.
class safetensors_reader {
 public:
  /// Raises input_error, which names the array, for a header that is too long or no JSON, types
  /// other than the three, sizes and offsets that do not agree, arrays that overlap or leave holes,
  /// and a file that ends early or late.
  explicit safetensors_reader(const std::filesystem::path& path);

  /// In the order of their bytes.
  [[nodiscard]] const std::vector<array_info>& arrays() const noexcept { return arrays_; }
  [[nodiscard]] const file_metadata& metadata() const noexcept { return metadata_; }
  /// Null where there is none of that name.
  [[nodiscard]] const array_info* find(const std::string& name) const;
  /// Reads the bytes of an array of this file; `out` has its size.
  void read(const array_info& array, std::span<std::byte> out);

 private:
  std::string path_;
  std::ifstream file_;
  std::uint64_t data_ = 0;
  std::vector<array_info> arrays_;
  file_metadata metadata_;
};

/// Writes a file of arrays, which appears when all are written: `append` in the order of `arrays`.
class safetensors_writer {
 public:
  safetensors_writer(const std::filesystem::path& path, std::vector<array_info> arrays,
                     const file_metadata& metadata);

  /// The next array's bytes, all of them.
  void append(std::span<const std::byte> bytes);
  /// Raises shape_error if an array is missing, files::file_error if the disk is full.
  void commit() { files::commit_together(*this); }

  // The two halves of `commit`: see files::commit_together.
  void prepare();
  void publish() { file_.publish(); }

 private:
  files::replacement file_;
  std::vector<array_info> arrays_;
  std::size_t next_ = 0;
};

}  // namespace torch_trainer
