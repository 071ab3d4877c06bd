// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A span that options keep until a call: it cannot be made of a temporary, whose elements would be
// gone by then.

#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <type_traits>

namespace idiolect {

/// std::span<T>, of anything that a span can be made of but temporaries that own their elements.
template <class T>
struct kept_span : std::span<T> {
  constexpr kept_span() = default;
  constexpr kept_span(T* first, std::size_t count) : std::span<T>(first, count) {}

  template <class R>
    requires(!std::same_as<std::remove_cvref_t<R>, kept_span> &&
             std::constructible_from<std::span<T>, R>)
  constexpr kept_span(R&& elements) : std::span<T>(elements) {
    static_assert(std::is_lvalue_reference_v<R> || std::ranges::borrowed_range<R>,
                  "idiolect: options would keep a view of a temporary; give the range a name");
  }
};

}  // namespace idiolect
/// @cond
template <class T>
inline constexpr bool std::ranges::enable_borrowed_range<idiolect::kept_span<T>> = true;
/// @endcond
