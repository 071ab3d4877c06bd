// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Errors of the host entry points. Every one names the argument it is about and, where there is
// one, the row. Device code never raises: it reports a status.
//
// With exceptions disabled, or to log before aborting, define IDIOLECT_ERROR_HANDLER to the name of
// a function `[[noreturn]] void f(const idiolect::error&)` that is declared before this header.

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <idiolect/config.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// Base of all errors: `argument()` is the parameter's name, `row()` the row or -1.
class error : public std::runtime_error {
 public:
  error(std::string_view argument, const std::string& message, index_t row = -1)
      : std::runtime_error("idiolect: " + std::string(argument) +
                           (row >= 0 ? " (row " + std::to_string(row) + ")" : "") + ": " + message),
        argument_(argument),
        row_(row) {}

  [[nodiscard]] const std::string& argument() const noexcept { return argument_; }
  [[nodiscard]] index_t row() const noexcept { return row_; }

 private:
  std::string argument_;
  index_t row_;
};

/// Sizes, strides or options that do not fit together.
struct shape_error : error {
  using error::error;
};
/// A target outside [0, vocab_size) that is not the ignored target.
struct target_error : error {
  using error::error;
};
/// A row that is not finite, under non_finite::error, or a NaN that has no rank.
struct non_finite_error : error {
  using error::error;
};
/// A backend or a model could not do its work.
struct backend_error : error {
  using error::error;
};

/// Throws, or calls the embedder's handler, or prints and aborts where exceptions are disabled.
template <class Error>
[[noreturn]] void raise(Error&& e) {
#if defined(IDIOLECT_ERROR_HANDLER)
  IDIOLECT_ERROR_HANDLER(static_cast<const error&>(e));
  std::abort();
#elif defined(__cpp_exceptions)
  throw std::forward<Error>(e);
#else
  std::fputs(e.what(), stderr);
  std::fputc('\n', stderr);
  std::abort();
#endif
}

/// Raises `Error(argument, message, row)` unless `condition` holds. The message is built only then.
template <class Error = shape_error, class Message>
void require(bool condition, std::string_view argument, Message&& message, index_t row = -1) {
  if (!condition) [[unlikely]] {
    if constexpr (std::is_invocable_v<Message>) {
      raise(Error(argument, std::forward<Message>(message)(), row));
    } else {
      raise(Error(argument, std::string(std::forward<Message>(message)), row));
    }
  }
}

namespace detail {
/// Runs f; what it throws is lost. For clean-up on the way out of an error.
template <class F>
void quietly(F&& f) noexcept {
#if defined(__cpp_exceptions)
  try {
    f();
  } catch (...) {
  }
#else
  f();
#endif
}
}  // namespace detail

}  // namespace idiolect
