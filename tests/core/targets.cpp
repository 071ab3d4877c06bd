// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Targets of any integer type, and errors that say which argument and which row.

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <Eigen/Core>

#include <idiolect/core/error.hpp>
#include <idiolect/core/targets.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"

namespace idiolect::test {
namespace {

const std::vector<float> memory(100);

template <class Target>
error complaint(const std::vector<Target>& targets, index_t rows, index_t cols,
                token_id ignore = ignored_target) {
  const matrix_view<const float> logits(memory.data(), rows, cols);
  return raised<error>([&] { check_targets(logits, targets_of(targets), ignore); });
}

}  // namespace

TEST_CASE("targets are read where they are") {
  std::vector<std::int64_t> wide{1, 2};
  const std::array<std::int16_t, 3> narrow{1, 2, 3};
  const Eigen::VectorXi vector = Eigen::VectorXi::Zero(4);
  CHECK(targets_of(wide).data() == wide.data());
  CHECK(targets_of(narrow).size() == 3);
  CHECK(targets_of(vector).data() == vector.data());
  STATIC_REQUIRE(std::is_same_v<decltype(targets_of(wide)), std::span<const std::int64_t>>);
  STATIC_REQUIRE(target_range<std::span<const token_id>>);
  STATIC_REQUIRE_FALSE(target_range<std::vector<float>>);
  STATIC_REQUIRE_FALSE(target_range<std::vector<unsigned>>);  // -100 could not be told
  STATIC_REQUIRE_FALSE(target_range<int>);
}

TEST_CASE("a target outside the vocabulary is an error that names the row") {
  for (const token_id bad : {-1, 10, 11, -101, std::numeric_limits<token_id>::max()}) {
    const error e = complaint<token_id>({0, 9, -100, bad, 99}, 5, 10);
    INFO(e.what());
    CHECK(e.argument() == "targets");
    CHECK(e.row() == 3);
    CHECK_THAT(e.what(), Catch::Matchers::ContainsSubstring("idiolect: targets (row 3): target " +
                                                            std::to_string(bad)) &&
                             Catch::Matchers::ContainsSubstring("vocabulary of 10"));
  }
  CHECK(complaint<token_id>({0, 9, -100}, 3, 10).argument() == "nothing was raised");
  CHECK_THROWS_AS(check_targets(matrix_view<const float>(memory.data(), 1, 10),
                                std::span<const token_id>(std::array<token_id, 1>{10}), -100),
                  target_error);
}

TEST_CASE("targets are compared in 64 bits") {
  // In 32 bits these would be 1 and -100.
  CHECK(complaint<std::int64_t>({(std::int64_t{1} << 32) + 1}, 1, 10).row() == 0);
  CHECK(complaint<std::int64_t>({(std::int64_t{1} << 32) - 100}, 1, 10).row() == 0);
  // In 8 bits the ignored target -1000 would be 24.
  CHECK(complaint<std::int8_t>({24}, 1, 10, -1000).row() == 0);
  CHECK(complaint<std::int8_t>({24}, 1, 30, -1000).argument() == "nothing was raised");
}

TEST_CASE("the ignored target is the caller's choice") {
  CHECK(complaint<token_id>({-1}, 1, 10, -1).argument() == "nothing was raised");
  CHECK(complaint<token_id>({-100}, 1, 10, -1).row() == 0);
  CHECK(complaint<token_id>({0}, 1, 10, 0).argument() == "nothing was raised");
}

TEST_CASE("there is one target a row and at least one token") {
  const error counts = complaint<token_id>({0, 1}, 3, 10);
  CHECK(counts.argument() == "targets");
  CHECK(counts.row() == -1);
  CHECK_THAT(counts.what(), Catch::Matchers::ContainsSubstring("2 targets for 3 rows"));
  CHECK(complaint<token_id>({-100}, 1, 0).argument() == "logits");
  CHECK(complaint<token_id>({}, 0, 0).argument() == "nothing was raised");
}

TEST_CASE("the targets of a text are its next tokens after the prompt, the last one included") {
  const std::vector<token_id> tokens{1, 10, 11, 12, 2};  // begin, two of a prompt, one, end
  const std::vector<token_id> answer{-100, -100, 12, 2, -100};
  CHECK(next_token_targets(tokens, 3) == answer);
  CHECK(next_token_targets(tokens, 0) == std::vector<token_id>{10, 11, 12, 2, -100});
  CHECK(next_token_targets(tokens, 1) == next_token_targets(tokens, 0));
  CHECK(next_token_targets(tokens, 4, -1) == std::vector<token_id>{-1, -1, -1, 2, -1});
  CHECK(next_token_targets(tokens, 5) == std::vector<token_id>(5, -100));
  CHECK(next_token_targets({}, 0).empty());
  for (const index_t prompt : {-1, 6}) {
    CHECK(raised<shape_error>([&] { (void)next_token_targets(tokens, prompt); }).argument() ==
          "prompt");
  }
}

TEST_CASE("errors carry their argument and row and are one family") {
  STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, error>);
  STATIC_REQUIRE(std::is_base_of_v<error, shape_error>);
  STATIC_REQUIRE(std::is_base_of_v<error, target_error>);
  STATIC_REQUIRE(std::is_base_of_v<error, non_finite_error>);
  STATIC_REQUIRE(std::is_base_of_v<error, backend_error>);
  const shape_error e("gradient", "too small", 7);
  CHECK(std::string(e.what()) == "idiolect: gradient (row 7): too small");
  CHECK(std::string(shape_error("gradient", "too small").what()) ==
        "idiolect: gradient: too small");

  int built = 0;
  const auto message = [&] { return ++built, std::string("late"); };
  require(true, "x", message);
  CHECK(built == 0);
  CHECK_THROWS_AS(require<backend_error>(false, "x", message), backend_error);
  CHECK(built == 1);
}

}  // namespace idiolect::test
