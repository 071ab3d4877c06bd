// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the fuzzers share: choices taken off the bytes of an input, and what ends a run.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect::fuzz {

/// A finding: libFuzzer keeps the input.
[[noreturn]] inline void fault(const std::string& what) {
  std::fprintf(stderr, "fuzz: %s\n", what.c_str());
  std::abort();
}
inline void expect(bool condition, const std::string& what) {
  if (!condition) fault(what);
}

/// The bytes of an input, taken from its front; 0 once they are used up.
class input {
 public:
  input(const std::uint8_t* data, std::size_t size)
      : bytes_(reinterpret_cast<const char*>(data), size) {}

  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  std::uint64_t bits(std::size_t bytes = 8) {
    std::uint64_t x = 0;
    const auto n = std::min(bytes, bytes_.size());
    std::memcpy(&x, bytes_.data(), n);
    bytes_.remove_prefix(n);
    return x;
  }
  index_t below(index_t n) { return static_cast<index_t>(bits(2) % static_cast<std::uint64_t>(n)); }
  bool coin() { return (bits(1) & 1) != 0; }
  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[below(static_cast<index_t>(choices.size()))];
  }
  /// From 0 to 1.
  double share() { return static_cast<double>(bits(2)) / 65535; }

  /// What is left, up to a byte that ends a text, or `most` bytes.
  std::string text(std::size_t most = static_cast<std::size_t>(-1)) {
    const auto end = std::min({bytes_.find('\xFF'), bytes_.size(), most});
    std::string t(bytes_.substr(0, end));
    bytes_.remove_prefix(std::min(end + 1, bytes_.size()));
    return t;
  }
  std::string_view rest() { return std::exchange(bytes_, {}); }

  /// A number as logits may be: ordinary, at the end of the type, masked, broken, or any bits.
  template <class T>
  T number() {
    const std::uint64_t kind = bits(1);
    if (kind < 140) return store<T>((static_cast<double>(bits(2)) - 32768) / 1024);
    if (kind < 160) return store<T>((static_cast<double>(bits(1)) - 128) * 64);
    if (kind < 175) return store<T>(-std::numeric_limits<double>::infinity());
    if (kind < 190) return store<T>(static_cast<double>(bits(1)));
    if (kind < 200) return store<T>(0.0);
    if (kind < 210) return store<T>((static_cast<double>(bits(2)) - 32768) * 1e-42);
    const std::uint64_t raw = bits(sizeof(T));
    T x;
    std::memcpy(static_cast<void*>(&x), &raw, sizeof x);
    return x;
  }

 private:
  std::string_view bytes_;
};

/// f(std::type_identity<T>{}) with T one of the types of logits.
template <class F>
void with_logit_type(input& in, F&& f) {
  switch (in.bits(1) % 4) {
    case 0:
      return f(std::type_identity<half>{});
    case 1:
      return f(std::type_identity<bfloat16>{});
    case 2:
      return f(std::type_identity<double>{});
    default:
      return f(std::type_identity<float>{});
  }
}

/// A file in memory, with a name.
class memory_file {
 public:
  memory_file() : descriptor_(memfd_create("fuzz", 0)) {
    expect(descriptor_ >= 0, "no file in memory");
  }
  memory_file(const memory_file&) = delete;
  memory_file& operator=(const memory_file&) = delete;
  ~memory_file() { close(descriptor_); }

  void write(std::string_view bytes) const {
    expect(ftruncate(descriptor_, 0) == 0, "a file in memory cannot be emptied");
    expect(pwrite(descriptor_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
           "a file in memory cannot be written");
  }
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace idiolect::fuzz
