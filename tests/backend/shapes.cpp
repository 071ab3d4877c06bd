// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Every length of row up to a few SIMD steps, every alignment, and indices beyond 2^31.

#include <cstddef>
#include <string>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support/catch.hpp"
#include "support/cells.hpp"
#include "support/gradient_check.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"

namespace idiolect::test {

TEMPLATE_TEST_CASE("every length of row", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  using A = typename TestType::accumulator;
  const auto values = gaussian_matrix<T>(1, 700, 2, 71);
  // Guards on both sides: nothing outside of a row is written.
  std::vector<T> memory(600 + 64, store<T>(-7.25));
  worst_error loss_error, gradient_worst, outside;
  for (index_t n = 1; n <= 600; ++n) {
    const auto target = static_cast<token_id>((n * 37) % n == 0 ? n - 1 : (n * 37) % n);
    const index_t shift = n % 17;  // and every alignment
    const T* const z = values.data() + n % 13;
    T* const dz = memory.data() + 16 + shift;
    const auto report = loss_and_gradient(TestType::backend(), matrix_view<const T>(z, 1, n),
                                          std::vector<token_id>{target}, half_entropy_bonus{},
                                          matrix_view<T>(dz, 1, n));
    const auto want = exact(z, n, target);
    const auto where = [&] { return "V = " + std::to_string(n); };
    loss_error.see(scaled_error(report.loss, -want.log_prob - want.entropy() / 2), where);
    loss_error.see(scaled_error(report.phi.mean, want.phi), where);
    const auto e = gradient_error<A>(z, dz, n, target, half_entropy_bonus::partials);
    gradient_worst.see(e.value, [&] { return where() + ", " + e.where; });
    for (index_t k = 0; k < static_cast<index_t>(memory.size()); ++k) {
      const bool inside = k >= 16 + shift && k < 16 + shift + n;
      T& x = memory[static_cast<std::size_t>(k)];
      if (!inside) outside.see(static_cast<double>(load(x)) == -7.25 ? 0 : 1, where);
      x = store<T>(-7.25);
    }
  }
  INFO(loss_error.where << "; " << gradient_worst.where << "; " << outside.where);
  CHECK(loss_error.value <= 2 * statistic_tolerance<A>);  // of a log p and half an entropy
  CHECK(gradient_worst.value <= 1);
  CHECK(outside.value == 0);
}

TEMPLATE_TEST_CASE("every target of a row", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  using A = typename TestType::accumulator;
  constexpr index_t n = 2055;  // a block, and the next one's few
  const auto values = gaussian_matrix<T>(1, n, 2, 72);
  std::vector<T> dz(n);
  worst_error worst;
  for (token_id target = 0; target < n; ++target) {
    if (target > 70 && target < 2040 && target % 97 != 0) continue;
    (void)loss_and_gradient(TestType::backend(), values, std::vector<token_id>{target}, nll{}, dz);
    const auto e = gradient_error<A>(values.data(), dz.data(), n, target, {.a = 1});
    worst.see(e.value, [&] { return "target " + std::to_string(target) + ", " + e.where; });
  }
  INFO(worst.where);
  CHECK(worst.value <= 1);
}

TEMPLATE_TEST_CASE("a row has the same bits wherever it lies", "", IDIOLECT_TEST_CELLS) {
  using T = typename TestType::scalar;
  const auto values = gaussian_matrix<T>(1, 2500, 2, 73);
  const std::vector<token_id> target{1234};
  std::vector<T> first(2500);
  const auto report =
      loss_and_gradient(TestType::backend(), values, target, half_entropy_bonus{}, first);
  bool same = true;
  for (index_t shift = 1; shift < 20; ++shift) {
    std::vector<T> from(2600), to(2600);
    std::copy(values.begin(), values.end(), from.begin() + shift);
    const auto moved = loss_and_gradient(
        TestType::backend(), matrix_view<const T>(from.data() + shift, 1, 2500), target,
        half_entropy_bonus{}, matrix_view<T>(to.data() + 20 - shift, 1, 2500));
    same = same && moved.loss == report.loss &&
           same_bits({to.begin() + 20 - shift, to.begin() + 2520 - shift}, first);
  }
  CHECK(same);
}

#if defined(MAP_NORESERVE) && defined(MAP_ANONYMOUS)

namespace {

/// Address space without memory behind it until it is touched.
class lazy_memory {
 public:
  explicit lazy_memory(std::size_t bytes)
      : bytes_(bytes),
        data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  lazy_memory(const lazy_memory&) = delete;
  lazy_memory& operator=(const lazy_memory&) = delete;
  ~lazy_memory() {
    if (available()) munmap(data_, bytes_);
  }
  [[nodiscard]] bool available() const { return data_ != MAP_FAILED; }
  template <class T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  std::size_t bytes_;
  void* data_;
};

}  // namespace

TEMPLATE_TEST_CASE("indices beyond 2^31 elements are right", "", IDIOLECT_TEST_FEW_CELLS) {
  using T = typename TestType::scalar;
  constexpr index_t rows = 4, cols = 100, stride = (index_t{1} << 30) + 3;
  STATIC_REQUIRE((rows - 1) * stride > (index_t{1} << 31));
  const auto bytes = static_cast<std::size_t>(((rows - 1) * stride + cols)) * sizeof(T);
  const lazy_memory logits(bytes), gradient(bytes);
  if (!logits.available() || !gradient.available()) {
    skip("this system does not lend 26 GB of address space");
    return;
  }
  const matrix_view<T> z(logits.as<T>(), rows, cols, stride),
      dz(gradient.as<T>(), rows, cols, stride);
  const auto values = gaussian_matrix<T>(rows, cols, 2, 74);
  for (index_t i = 0; i < rows; ++i) std::copy_n(values.begin() + i * cols, cols, z.row(i));
  const std::vector<token_id> targets{1, 99, 0, 50};
  std::vector<T> near(values.size());
  const auto want =
      loss_and_gradient(TestType::backend(), matrix_view<const T>(values.data(), rows, cols),
                        targets, idft{}, matrix_view<T>(near.data(), rows, cols));
  const auto got = loss_and_gradient(TestType::backend(), z, targets, idft{}, dz);
  CHECK(got.loss == want.loss);
  bool same = true;
  for (index_t i = 0; i < rows; ++i) {
    const std::vector<T> far(dz.row(i), dz.row(i) + cols);
    same = same && same_bits(far, {near.begin() + i * cols, near.begin() + (i + 1) * cols});
  }
  CHECK(same);
}

#endif

}  // namespace idiolect::test
