// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Views of other people's memory: the same pointer, the right shape and stride, no copy.

#include <array>
#include <span>
#include <type_traits>
#include <vector>

#include <Eigen/Core>

#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/scalar.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"

namespace idiolect::test {
namespace {

using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using column_major = Eigen::MatrixXf;

/// "rows x cols / stride", so that one assertion compares all three.
template <class T>
std::array<index_t, 3> shape(const matrix_view<T>& v) {
  return {v.rows(), v.cols(), v.stride()};
}

/// Not Eigen's, and not derived from anything.
struct tensor {
  static constexpr bool IsRowMajor = true;
  float* memory;
  [[nodiscard]] int rows() const { return 2; }
  [[nodiscard]] int cols() const { return 3; }
  [[nodiscard]] int outerStride() const { return 4; }
  [[nodiscard]] int innerStride() const { return 1; }
  [[nodiscard]] float* data() const { return memory; }
};

}  // namespace

TEST_CASE("a view addresses elements by row and stride") {
  std::vector<int> data(12);
  for (int i = 0; i < 12; ++i) data[static_cast<std::size_t>(i)] = i;
  const matrix_view<int> v(data.data(), 3, 3, 4);
  CHECK(shape(v) == std::array<index_t, 3>{3, 3, 4});
  CHECK(v(2, 1) == 9);
  CHECK(v.row(1) == data.data() + 4);
  v(0, 0) = 100;
  CHECK(data[0] == 100);

  const auto middle = v.block(1, 2);
  CHECK(middle.data() == data.data() + 4);
  CHECK(shape(middle) == std::array<index_t, 3>{2, 3, 4});

  const matrix_view<const int> readable = v;
  CHECK(readable.data() == v.data());
  STATIC_REQUIRE_FALSE(std::is_constructible_v<matrix_view<int>, matrix_view<const int>>);
  STATIC_REQUIRE(std::is_same_v<matrix_view<const int>::value_type, int>);
  CHECK(shape(matrix_view<float>{}) == std::array<index_t, 3>{0, 0, 0});
}

TEST_CASE("a view refuses shapes that make no sense") {
  float x[8] = {};
  const auto message = [&](index_t rows, index_t cols, index_t stride) {
    return std::string(
        raised<shape_error>([&] { matrix_view<float>(x, rows, cols, stride); }).what());
  };
  CHECK_THAT(message(2, 4, 3),
             Catch::Matchers::ContainsSubstring("stride 3 is smaller than the 4"));
  CHECK_THAT(message(2, 4, -4), Catch::Matchers::ContainsSubstring("stride -4"));
  CHECK_THAT(message(-1, 4, 4), Catch::Matchers::ContainsSubstring("negative shape -1 x 4"));
  CHECK_THAT(message(1, -4, 4), Catch::Matchers::ContainsSubstring("negative shape 1 x -4"));
  CHECK_THROWS_AS(matrix_view<float>(nullptr, 1, 1), shape_error);
  CHECK_NOTHROW(matrix_view<float>(nullptr, 0, 5));
  CHECK_NOTHROW(matrix_view<float>(nullptr, 5, 0));
  CHECK_NOTHROW(matrix_view<float>(x, 1, 8, 0));  // one row has no stride
}

TEST_CASE("row-major Eigen objects become views without a copy") {
  row_major m = row_major::Random(5, 7);
  const row_major& constant = m;
  STATIC_REQUIRE(std::is_same_v<decltype(view(m)), matrix_view<float>>);
  STATIC_REQUIRE(std::is_same_v<decltype(view(constant)), matrix_view<const float>>);
  CHECK(view(m).data() == m.data());
  CHECK(shape(view(m)) == std::array<index_t, 3>{5, 7, 7});
  CHECK(view(constant)(4, 6) == m(4, 6));

  auto block = m.block(1, 2, 3, 4);
  CHECK(view(block).data() == &m(1, 2));
  CHECK(shape(view(block)) == std::array<index_t, 3>{3, 4, 7});
  CHECK(shape(view(m.row(2))) == std::array<index_t, 3>{1, 7, 7});
  CHECK(shape(view(m.topRows(1))) == std::array<index_t, 3>{1, 7, 7});

  std::vector<float> memory(40);
  Eigen::Map<row_major, 0, Eigen::OuterStride<>> strided(memory.data(), 4, 6,
                                                         Eigen::OuterStride<>(10));
  CHECK(view(strided).data() == memory.data());
  CHECK(shape(view(strided)) == std::array<index_t, 3>{4, 6, 10});
  const Eigen::Map<const row_major> plain(memory.data(), 5, 8);
  STATIC_REQUIRE(std::is_same_v<decltype(view(plain)), matrix_view<const float>>);
  CHECK(shape(view(plain)) == std::array<index_t, 3>{5, 8, 8});
  Eigen::Ref<row_major> ref(m);
  CHECK(view(ref).data() == m.data());
  const row_major none(0, 9);
  CHECK(shape(view(none)) == std::array<index_t, 3>{0, 9, 9});
}

TEST_CASE("Eigen vectors are one row") {
  Eigen::VectorXf column = Eigen::VectorXf::Random(6);
  Eigen::RowVectorXf row = Eigen::RowVectorXf::Random(6);
  CHECK(view(column).data() == column.data());
  CHECK(shape(view(column)) == std::array<index_t, 3>{1, 6, 6});
  CHECK(view(row).data() == row.data());
  CHECK(shape(view(row)) == std::array<index_t, 3>{1, 6, 6});
  CHECK(shape(view(column.segment(2, 3))) == std::array<index_t, 3>{1, 3, 3});

  row_major wide = row_major::Random(3, 4);
  CHECK_THROWS_AS(view(wide.col(1)), shape_error);  // its elements are 4 apart
  Eigen::Map<Eigen::VectorXf, 0, Eigen::InnerStride<2>> every_other(column.data(), 3);
  CHECK_THROWS_AS(view(every_other), shape_error);
}

TEST_CASE("a column-major matrix is viewed by columns") {
  column_major m = column_major::Random(7, 3);
  const auto v = columns_as_rows(m);
  CHECK(v.data() == m.data());
  CHECK(shape(v) == std::array<index_t, 3>{3, 7, 7});
  CHECK(v(2, 5) == m(5, 2));
  const auto part = columns_as_rows(m.topRows(4));
  CHECK(shape(part) == std::array<index_t, 3>{3, 4, 7});
  CHECK(part(1, 3) == m(3, 1));
  const column_major& constant = m;
  STATIC_REQUIRE(std::is_same_v<decltype(columns_as_rows(constant)), matrix_view<const float>>);
}

TEST_CASE("contiguous ranges are one row") {
  std::vector<double> vector{1, 2, 3};
  const std::vector<double>& constant = vector;
  std::array<half, 4> array{};
  float plain[5] = {};
  const std::span<double> span(vector);
  CHECK(view(vector).data() == vector.data());
  CHECK(shape(view(vector)) == std::array<index_t, 3>{1, 3, 3});
  STATIC_REQUIRE(std::is_same_v<decltype(view(constant)), matrix_view<const double>>);
  STATIC_REQUIRE(std::is_same_v<decltype(view(span)), matrix_view<double>>);
  CHECK(view(span.subspan(1)).data() == &vector[1]);
  CHECK(view(array).data() == array.data());
  CHECK(shape(view(plain)) == std::array<index_t, 3>{1, 5, 5});
  STATIC_REQUIRE(std::is_same_v<matrix_scalar_t<decltype(array)&>, half>);
  STATIC_REQUIRE(std::is_same_v<matrix_scalar_t<const row_major&>, float>);

  const auto v = view(vector);
  CHECK(view(v).data() == vector.data());
  STATIC_REQUIRE(matrix_like<std::vector<float>>);
  STATIC_REQUIRE(matrix_like<row_major>);
  STATIC_REQUIRE_FALSE(matrix_like<int>);
  STATIC_REQUIRE_FALSE(matrix_like<std::vector<bool>>);
}

TEST_CASE("a foreign matrix type needs only the same names") {
  float memory[8] = {};
  CHECK(view(tensor{memory}).data() == memory);
  CHECK(shape(view(tensor{memory})) == std::array<index_t, 3>{2, 3, 4});
}

}  // namespace idiolect::test
