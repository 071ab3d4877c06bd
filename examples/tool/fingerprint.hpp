// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A short name for some bytes: their number and a 64-bit FNV-1a hash. It tells changed files and
// damaged lines apart; it is no protection against someone who wants to deceive.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace tool {

/// Over bytes that come in blocks.
struct hashed {
  std::uint64_t hash = 14695981039346656037u;
  std::size_t bytes = 0;

  void add(std::string_view block) {
    for (const char c : block) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    bytes += block.size();
  }
  [[nodiscard]] std::string digits() const {
    char text[32];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
    return text;
  }
  [[nodiscard]] std::string name() const { return std::to_string(bytes) + " bytes, " + digits(); }
};

[[nodiscard]] inline std::string fingerprint(std::string_view bytes) {
  hashed h;
  h.add(bytes);
  return h.name();
}

/// Of a file, which may be larger than the memory. Raises input_error.
[[nodiscard]] std::string fingerprint_of_file(const std::string& path);

}  // namespace tool
