// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Every scalar type and layout of logits: loss, report and gradient have the bits of
// loss_and_gradient on the same numbers.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <functional>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <idiolect/cll/score.hpp>
#include <idiolect/loss/gates.hpp>
#include <idiolect/loss/loss.hpp>

#include "support.hpp"
#include "support/mixed_batch.hpp"

namespace idiolect::test {
namespace {

constexpr index_t vocab = 67;

struct layout {
  std::string name;
  std::function<torch::Tensor(at::ScalarType)> make;  ///< [..., vocab], not contiguous but for one
  bool in_place;                                      ///< its rows can be used where they are
};

const std::vector<layout> layouts{
    {"contiguous",
     [](auto t) {
       return normal_tensor({12, vocab}, t, 1);
     },
     true},
    {"a slice of columns",
     [](auto t) {
       return normal_tensor({12, vocab + 9}, t, 2).narrow(1, 4, vocab);
     },
     true},
    {"every second row",
     [](auto t) {
       return normal_tensor({24, vocab}, t, 3).slice(0, 1, {}, 2);
     },
     true},
    {"sequences",
     [](auto t) {
       return normal_tensor({3, 4, vocab}, t, 4);
     },
     true},
    {"sequences but their last row",
     [](auto t) {
       return normal_tensor({3, 5, vocab}, t, 5).slice(1, 0, -1);
     },
     false},
    {"one sequence but its last row",
     [](auto t) {
       return normal_tensor({1, 13, vocab}, t, 6).slice(1, 0, -1);
     },
     true},
    {"transposed",
     [](auto t) {
       return normal_tensor({vocab, 12}, t, 7).t();
     },
     false},
    {"sequences and rows exchanged",
     [](auto t) {
       return normal_tensor({4, 3, vocab}, t, 8).transpose(0, 1);
     },
     false},
    {"one row for all",
     [](auto t) {
       return normal_tensor({1, vocab}, t, 9).expand({12, vocab});
     },
     false},
    {"every second column",
     [](auto t) {
       return normal_tensor({12, 2 * vocab}, t, 10).slice(1, 0, {}, 2);
     },
     false},
    {"one row, without a dimension for it", [](auto t) { return normal_tensor({vocab}, t, 11); },
     true},
};

// What the tensors are compared with: the library's call on a contiguous copy.
template <class T>
std::pair<loss_report, torch::Tensor> plain_call(const torch::Tensor& logits,
                                                 const torch::Tensor& targets,
                                                 const loss_options& options) {
  const auto z = logits.detach().contiguous();
  const auto y = targets.to(at::kLong).contiguous();
  const index_t rows = y.numel();
  auto gradient = at::zeros(z.sizes(), z.options());
  const auto report = loss_and_gradient(
      cpu{}, matrix_view<const T>(static_cast<const T*>(z.data_ptr()), rows, vocab),
      std::span(static_cast<const std::int64_t*>(y.data_ptr()), static_cast<std::size_t>(rows)),
      idft{}, matrix_view<T>(static_cast<T*>(gradient.data_ptr()), rows, vocab), options);
  return {report, gradient};
}

template <class T>
void check_layouts(at::ScalarType type) {
  for (const auto& l : layouts) {
    INFO(l.name);
    const auto values = l.make(type);
    const auto shape = values.sizes().vec();
    const std::vector<index_t> leading(shape.begin(), shape.end() - 1);
    const auto targets = random_target_tensor(leading, vocab, 20);
    const auto weights = weight_tensor(leading, 21);
    const std::vector<token_id> ends{1, 2, 3};

    loss_options options;
    options.temperature = 1.25;
    options.weights = std::span(static_cast<const float*>(weights.data_ptr()),
                                static_cast<std::size_t>(weights.numel()));
    options.end_tokens = ends;
    options.gradient_scale = 8;
    const auto [report, gradient] = plain_call<T>(values, targets, options);

    torch_loss_options same;
    same.temperature = 1.25;
    same.weights = weights;
    same.end_tokens = ends;
    same.gradient_scale = 8;

    const auto logits = values.detach().requires_grad_(true);
    REQUIRE(logits.strides() == values.strides());
    const auto own = torch_loss(logits, targets, idft{}, same);
    CHECK(same_report(own.report, report));
    CHECK(own.loss.scalar_type() == (type == at::kDouble ? at::kDouble : at::kFloat));
    CHECK(number_of(own.loss) ==
          (type == at::kDouble ? report.loss : static_cast<float>(report.loss)));
    CHECK(same_bits(gradient_of(own.loss, logits), gradient));
    CHECK(same_bits(logits.detach(), values));

    // Targets and weights of any layout and integer type.
    const auto spread = at::stack({targets.to(at::kInt), targets.to(at::kInt)}, -1).select(-1, 0);
    torch_loss_options strided = same;
    strided.weights = at::stack({weights, weights}, -1).select(-1, 1).to(at::kDouble);
    const auto other = torch_loss(logits, spread, idft{}, strided);
    CHECK(same_report(other.report, report));
    CHECK(same_bits(gradient_of(other.loss, logits), gradient));

    // In place: a tensor that autograd did not make a leaf, and whose memory is its own.
    const auto base = l.make(type).requires_grad_(true);
    const auto made = at::empty_strided(base.sizes(), base.strides(), base.options());
    const auto held = l.in_place ? made.copy_(base) : base * 1;
    torch_loss_options over = same;
    over.gradient_in_logits = true;
    if (l.in_place) {
      const auto* const memory = held.data_ptr();
      const auto replaced = torch_loss(held, targets, idft{}, over);
      CHECK(same_report(replaced.report, report));
      CHECK(same_bits(held.detach(), gradient));
      const auto given = gradient_of(replaced.loss, base);
      CHECK(same_bits(given, gradient));
      CHECK(held.data_ptr() == memory);
    }
    // No gradient is asked for: the same loss, and nothing is overwritten.
    const at::NoGradGuard no_grad;
    const auto kept = l.make(type).detach();
    const auto without = torch_loss(kept, targets, idft{}, over);
    CHECK(same_report(without.report, report));
    CHECK_FALSE(without.loss.requires_grad());
    CHECK(same_bits(kept, values));
  }
}

template <class T>
void check_scores(at::ScalarType type) {
  for (const auto& l : layouts) {
    INFO(l.name);
    const auto logits = l.make(type);
    const auto targets = random_target_tensor(
        logits.sizes().slice(0, static_cast<std::size_t>(logits.dim() - 1)), vocab, 30);
    score_options options;
    options.temperature = 0.8;
    const auto z = logits.contiguous();
    const auto* const y = static_cast<const std::int64_t*>(targets.data_ptr());
    const auto expected = score(
        cpu{}, matrix_view<const T>(static_cast<const T*>(z.data_ptr()), targets.numel(), vocab),
        std::span(y, static_cast<std::size_t>(targets.numel())), options);
    const auto found = torch_score(logits, targets.to(at::kInt), options);
    bool same = true;
    const auto compare = [&](const torch::Tensor& t, double token_score::*number) {
      REQUIRE(t.scalar_type() == at::kDouble);
      REQUIRE(t.sizes() == targets.sizes());
      const auto* const numbers = static_cast<const double*>(t.data_ptr());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        same = same && (same_number(numbers[i], expected[i].*number) ||
                        (std::isnan(numbers[i]) && y[i] == -100));
      }
    };
    compare(found.log_prob, &token_score::log_prob);
    compare(found.entropy, &token_score::entropy);
    compare(found.varentropy, &token_score::varentropy);
    compare(found.phi, &token_score::phi);
    CHECK(same);
  }
}

TEST_CASE("fp32 logits of any layout give the library's bits") {
  check_layouts<float>(at::kFloat);
}
TEST_CASE("fp64 logits of any layout give the library's bits") {
  check_layouts<double>(at::kDouble);
}
TEST_CASE("fp16 logits of any layout give the library's bits") {
  check_layouts<half>(at::kHalf);
}
TEST_CASE("bf16 logits of any layout give the library's bits") {
  check_layouts<bfloat16>(at::kBFloat16);
}

TEST_CASE("scores of tensors are the library's") {
  check_scores<float>(at::kFloat);
  check_scores<double>(at::kDouble);
  check_scores<half>(at::kHalf);
  check_scores<bfloat16>(at::kBFloat16);
}

TEST_CASE("which layouts are rows is what the documentation says") {
  for (const auto& l : layouts) {
    INFO(l.name);
    CHECK(detail::row_stride(l.make(at::kFloat)).has_value() == l.in_place);
  }
  // Rows that overlap, and rows that share their memory.
  const auto t = normal_tensor({100}, at::kFloat, 40);
  CHECK_FALSE(detail::row_stride(t.as_strided({4, 10}, {5, 1})).has_value());
  CHECK_FALSE(detail::row_stride(t.as_strided({4, 10}, {0, 1})).has_value());
  CHECK(detail::row_stride(t.as_strided({1, 10}, {0, 1})).has_value());
  CHECK(detail::row_stride(t.as_strided({4, 1}, {3, 7})) == 3);
}

TEST_CASE("any number of threads and any executor gives the same bits") {
  const index_t rows = 301;
  const auto logits = normal_tensor({rows, vocab}, at::kFloat, 50).requires_grad_(true);
  const auto targets = random_target_tensor({rows}, vocab, 51);
  const int before = at::get_num_threads();
  const auto run = [&](const any_executor& executor) {
    torch_loss_options options;
    options.executor = executor;
    const auto r = torch_loss(logits, targets, idft{}, options);
    return std::pair(r.report, gradient_of(r.loss, logits));
  };
  const auto serial = run(serial_executor{});
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    CHECK(torch_executor{}.concurrency() == threads);
    const auto found = run({});
    CHECK(same_report(found.first, serial.first));
    CHECK(same_bits(found.second, serial.second));
  }
  at::set_num_threads(before);
  const auto found = run(thread_executor(2));
  CHECK(same_report(found.first, serial.first));
  CHECK(same_bits(found.second, serial.second));
}

TEST_CASE("LibTorch's threads take every item once and hand an exception on") {
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  for (const index_t n : {0, 1, 2, 3, 7, 1000}) {
    std::vector<std::atomic<int>> taken(static_cast<std::size_t>(n));
    torch_executor{}.bulk(n, [&](index_t i) { ++taken[static_cast<std::size_t>(i)]; });
    CHECK(std::ranges::all_of(taken, [](const auto& k) { return k == 1; }));
  }
  std::mutex mutex;
  std::set<std::thread::id> threads;
  torch_executor{}.bulk(64, [&](index_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::scoped_lock lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  CHECK(threads.size() == 3);
  CHECK(raised([] {
          torch_executor{}.bulk(100, [](index_t i) { require(i != 50, "item", "fifty"); });
        }).argument() == "item");
  at::set_num_threads(before);
}

}  // namespace
}  // namespace idiolect::test
