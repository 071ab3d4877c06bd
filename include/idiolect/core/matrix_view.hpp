// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A view of row-major numbers that somebody else owns: pointer, rows, columns, row stride.
// Everything the library reads or writes per vocabulary entry comes through it. It is made without
// a copy from anything that describes itself as row-major memory: Eigen matrices, maps and blocks
// (rows, cols, data, outerStride), and contiguous ranges, which are a single row.

#include <concepts>
#include <limits>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>

namespace idiolect {

/// `rows` x `cols` elements; element (i, j) is `data[i * stride + j]`, stride >= cols.
template <class T>
class matrix_view {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;

  matrix_view() = default;

  matrix_view(T* data, index_t rows, index_t cols) : matrix_view(data, rows, cols, cols) {}

  /// Raises shape_error for a negative size or a stride smaller than a row.
  matrix_view(T* data, index_t rows, index_t cols, index_t stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {
    require(rows >= 0 && cols >= 0, "matrix_view", [&] {
      return "negative shape " + std::to_string(rows) + " x " + std::to_string(cols);
    });
    require(rows <= 1 || stride >= cols, "matrix_view", [&] {
      return "row stride " + std::to_string(stride) + " is smaller than the " +
             std::to_string(cols) + " columns";
    });
    require(rows == 0 || stride <= largest / rows, "matrix_view", [&] {
      return std::to_string(rows) + " rows of " + std::to_string(stride) +
             " elements are more than there are addresses";
    });
    require(data != nullptr || rows == 0 || cols == 0, "matrix_view", "null pointer");
  }

  /// A mutable view is a read-only view.
  template <class U>
    requires(std::same_as<const U, T>)
  matrix_view(const matrix_view<U>& other)
      : data_(other.data()), rows_(other.rows()), cols_(other.cols()), stride_(other.stride()) {}

  [[nodiscard]] T* data() const noexcept { return data_; }
  [[nodiscard]] index_t rows() const noexcept { return rows_; }
  [[nodiscard]] index_t cols() const noexcept { return cols_; }
  [[nodiscard]] index_t stride() const noexcept { return stride_; }

  [[nodiscard]] T* row(index_t i) const noexcept { return data_ + i * stride_; }
  [[nodiscard]] T& operator()(index_t i, index_t j) const noexcept { return data_[i * stride_ + j]; }

  /// Rows [first, first + count).
  [[nodiscard]] matrix_view block(index_t first, index_t count) const {
    return matrix_view(row(first), count, cols_, stride_);
  }

 private:
  static constexpr index_t largest =
      (std::numeric_limits<index_t>::max)() / static_cast<index_t>(sizeof(T));

  T* data_ = nullptr;
  index_t rows_ = 0;
  index_t cols_ = 0;
  index_t stride_ = 0;
};

namespace detail {

template <class M>
concept is_matrix_view = std::same_as<std::remove_cvref_t<M>,
                                      matrix_view<typename std::remove_cvref_t<M>::element_type>>;

// Eigen's dense types, and anything that names its memory the same way.
template <class M>
concept eigen_like = requires(M& m) {
  { m.rows() } -> std::convertible_to<index_t>;
  { m.cols() } -> std::convertible_to<index_t>;
  { m.outerStride() } -> std::convertible_to<index_t>;
  { m.innerStride() } -> std::convertible_to<index_t>;
  { *m.data() };
  { std::remove_cvref_t<M>::IsRowMajor } -> std::convertible_to<bool>;
};

// Whether an object of Eigen's owns its elements: a matrix does, a map, a block or a reference not.
template <class M>
inline constexpr bool owns_elements = [] {
  if constexpr (requires { typename M::PlainObject; }) {
    return std::same_as<typename M::PlainObject, M>;
  } else {
    return false;
  }
}();

template <class M>
concept row_range = std::ranges::contiguous_range<M> && std::ranges::sized_range<M> &&
                    !eigen_like<M>;

/// Whether the elements of an argument of type M&& are there after the call.
template <class M>
inline constexpr bool outlives_call = [] {
  using object = std::remove_cvref_t<M>;
  if constexpr (std::is_lvalue_reference_v<M> || is_matrix_view<M>) {
    return true;
  } else if constexpr (eigen_like<M>) {
    return !owns_elements<object>;
  } else {
    return std::ranges::borrowed_range<M>;
  }
}();

}  // namespace detail

/// Anything `view` makes a matrix_view of.
template <class M>
concept matrix_like = detail::is_matrix_view<M> || detail::eigen_like<M> || detail::row_range<M>;

/// The view of `m`: itself, an Eigen object's memory, or a contiguous range as one row.
/// A const object gives a read-only view. No copy, O(1).
template <matrix_like M>
[[nodiscard]] auto view(M&& m) {
  static_assert(detail::outlives_call<M>,
                "idiolect: a view of a temporary would dangle; give the matrix or range a name");
  if constexpr (detail::is_matrix_view<M>) {
    return m;
  } else if constexpr (detail::eigen_like<M>) {
    using eigen_type = std::remove_cvref_t<M>;
    constexpr bool column_vector = requires { requires eigen_type::ColsAtCompileTime == 1; };
    static_assert(eigen_type::IsRowMajor || column_vector,
                  "idiolect: a matrix of logits has one row per token and is row-major "
                  "(Eigen::Matrix<T, Dynamic, Dynamic, Eigen::RowMajor>); view a column-major "
                  "V x N matrix with idiolect::columns_as_rows");
    require(m.innerStride() == 1, "matrix_view", "the elements of a row are not adjacent");
    if constexpr (eigen_type::IsRowMajor) {
      return matrix_view(m.data(), m.rows(), m.cols(), m.rows() > 1 ? m.outerStride() : m.cols());
    } else {  // a column vector is one row of logits
      return matrix_view(m.data(), index_t{1}, m.rows(), m.rows());
    }
  } else {
    return matrix_view(std::ranges::data(m), index_t{1}, static_cast<index_t>(std::ranges::size(m)));
  }
}

/// A column-major V x N matrix (Eigen's default order) as N rows of V logits. No copy, O(1).
template <detail::eigen_like M>
[[nodiscard]] auto columns_as_rows(M&& m) {
  static_assert(detail::outlives_call<M>,
                "idiolect: a view of a temporary would dangle; give the matrix a name");
  static_assert(!std::remove_cvref_t<M>::IsRowMajor,
                "idiolect: columns_as_rows is for column-major matrices");
  require(m.innerStride() == 1, "matrix_view", "the elements of a column are not adjacent");
  return matrix_view(m.data(), m.cols(), m.rows(), m.cols() > 1 ? m.outerStride() : m.rows());
}

/// The scalar type that a matrix_like stores.
template <matrix_like M>
using matrix_scalar_t = typename decltype(view(std::declval<std::remove_reference_t<M>&>()))::value_type;

}  // namespace idiolect
