// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The numerical contract of losses on a device: targets, rows that are not finite, options, memory,
// the same bits at every run, graphs.

#include <cmath>
#include <concepts>
#include <optional>
#include <string>
#include <vector>

#include "cuda/loss_run.hpp"
#include "support/mixed_batch.hpp"

namespace idiolect::test {
namespace {

const device_test_loss gated{device_test_loss::gated_pull};
const device_test_loss entropic{device_test_loss::entropic};

template <class T>
bool row_is(const host_batch<T>& batch, const std::vector<T>& gradient, index_t row, double value) {
  for (index_t j = 0; j < batch.cols; ++j) {
    const auto x =
        static_cast<double>(load(gradient[static_cast<std::size_t>(row * batch.cols + j)]));
    if (std::isnan(value) ? !std::isnan(x) : x != value) return false;
  }
  return true;
}

template <class G>
bool same_outcome(const device_outcome<G>& a, const device_outcome<G>& b) {
  return same_report(a.report, b.report) && same_bits(a.gradient, b.gradient);
}

// Lengths of row for a warp, a block and a cluster.
constexpr index_t lengths[] = {67, 2500, 150000};

}  // namespace

TEMPLATE_TEST_CASE("a device gradient in place has the bits of one apart", "[small]", float,
                   bfloat16) {
  if (no_device()) return;
  for (const index_t cols : lengths) {
    const host_batch<TestType> batch(9, cols, 21);
    const device_call<TestType> call(batch);
    const auto apart = call.run(entropic);
    const auto report = call.enqueue_in_place(entropic).wait();
    INFO("V = " << cols);
    CHECK(same_number(report.loss, apart.report.loss));
    CHECK(same_bits(call.z.download(), apart.gradient));
    CHECK(call.z.clean());
  }
}

TEMPLATE_TEST_CASE("a device gradient is added to what is there", "[small]", float, double, half,
                   bfloat16) {
  if (no_device()) return;
  for (const index_t cols : lengths) {
    host_batch<TestType> batch(4, cols, 22);
    const loss_options options{.reduce = reduction::sum(), .accumulate = true};
    const auto sum = on_device(batch, entropic, options, {}, {}, 0.25);
    const auto error = gradient_error_of(batch, sum.gradient, entropic, 1, 1, 0.25);
    INFO("V = " << cols << ", " << error.where);
    CHECK(error.value <= 1);
    // A row that does not count leaves what is there.
    batch.targets[1] = ignored_target;
    CHECK(row_is(batch, on_device(batch, entropic, options, {}, {}, 0.25).gradient, 1, 0.25));
  }
}

TEST_CASE("ignored targets on a device", "[small]") {
  if (no_device()) return;
  for (const index_t cols : lengths) {
    host_batch<float> batch(12, cols, 23);
    for (const std::size_t i : {0, 3, 4, 11}) batch.targets[i] = ignored_target;
    const auto got = on_device(batch, gated, {}, {1, 2}, {3, 5});
    const auto want = on_host(batch, gated);
    const auto error = report_error(got.report, want.report);
    INFO("V = " << cols << ", " << error.where);
    CHECK(error.value <= report_tolerance<float>);
    CHECK(got.clean);
    for (const index_t i : {0, 3, 4, 11}) CHECK(row_is(batch, got.gradient, i, 0));

    for (token_id& t : batch.targets) t = ignored_target;
    const auto none = on_device(batch, gated);
    CHECK(none.report.loss == 0);
    CHECK(none.report.valid == 0);
    CHECK(std::isnan(none.report.mean_nll));
    for (index_t i = 0; i < 12; ++i) CHECK(row_is(batch, none.gradient, i, 0));
  }
  const host_batch<float> empty(0, 5, 1);
  CHECK(on_device(empty, gated).report.loss == 0);
}

TEST_CASE("a device names the row of a target outside the vocabulary", "[small]") {
  if (no_device()) return;
  for (const index_t cols : lengths) {
    for (const token_id bad : {-1, -99, static_cast<token_id>(cols), 2147483647}) {
      host_batch<float> batch(9, cols, 24);
      batch.targets[5] = batch.targets[7] = bad;
      const device_call<float> call(batch);
      const auto result = call.enqueue(gated);
      const auto e = raised<target_error>([&] { (void)result.wait(); });
      INFO("V = " << cols << ", target " << bad);
      CHECK(e.argument() == "targets");
      CHECK(e.row() == 5);
      // Such rows are zeroed; the others are as if they were ignored.
      const auto gradient = call.dz.download();
      CHECK(row_is(batch, gradient, 5, 0));
      CHECK(row_is(batch, gradient, 7, 0));
      batch.targets[5] = batch.targets[7] = ignored_target;
      CHECK(same_bits(gradient, on_device(batch, gated).gradient));
      CHECK(call.dz.clean());
    }
  }
}

TEMPLATE_TEST_CASE("device rows that are not finite", "", float, half, bfloat16) {
  if (no_device()) return;
  using T = TestType;
  for (const index_t cols : {67, 2500}) {
    for (const auto& [name, values] : non_finite_rows(cols)) {
      host_batch<T> batch(4, cols, 25);
      const auto bad = stored<T>(values);
      std::copy(bad.begin(), bad.end(), batch.logits.begin() + 2 * cols);
      INFO(name << ", V = " << cols);

      const auto spread = on_device(batch, gated, {}, {1, 2}, {3, 5});
      CHECK(spread.clean);
      CHECK(std::isnan(spread.report.loss));
      CHECK(spread.report.non_finite == 1);
      CHECK(spread.report.phi.count == 3);
      CHECK(row_is(batch, spread.gradient, 2, not_a_number));

      const auto skipped = on_device(batch, gated, {.on_non_finite = non_finite::skip});
      const auto want = on_host(batch, gated, {.on_non_finite = non_finite::skip});
      CHECK(report_error(skipped.report, want.report).value <= report_tolerance<float>);
      CHECK(row_is(batch, skipped.gradient, 2, 0));

      const device_call<T> call(batch, {.on_non_finite = non_finite::error});
      const auto result = call.enqueue(gated);
      CHECK(raised<non_finite_error>([&] { (void)result.wait(); }).row() == 2);
    }
  }
}

TEMPLATE_TEST_CASE("masked and extreme logits on a device", "", float, double, half, bfloat16) {
  if (no_device()) return;
  using T = TestType;
  // As what the type can store; a sum of float's largest overflows, and is no logit.
  const double largest = sizeof(T) == 2 && std::same_as<T, half> ? 60000 : 1e30;
  for (const index_t cols : {67, 2500, 40000}) {
    for (const auto& [name, values] : adversarial_rows(cols, largest)) {
      host_batch<T> batch(1, cols, 1);
      batch.logits = stored<T>(values);
      batch.targets[0] = static_cast<token_id>(cols - 1);  // never masked
      INFO(name << ", V = " << cols);
      for (const auto f : all_device_losses) {
        const auto got = on_device(batch, f);
        const auto want = on_host(batch, f);
        const auto error = report_error(got.report, want.report);
        INFO(error.where);
        CHECK(error.value <= report_tolerance<accumulator_t<T>>);
        const auto gradient = gradient_error_of(batch, got.gradient, f, 1);
        INFO(gradient.where);
        CHECK(gradient.value <= 1);
      }
    }
  }
}

TEST_CASE("reductions weights and temperatures on a device", "[small]") {
  if (no_device()) return;
  const std::vector<index_t> offsets{0, 4, 4, 9, 30, 40};
  random_source random(26);
  std::vector<float> weights;
  for (int i = 0; i < 40; ++i) weights.push_back(static_cast<float>(random.uniform(-1, 2)));
  weights[3] = 0;
  const std::vector<token_id> ends{1, 2, 3};
  for (const index_t cols : lengths) {
    host_batch<float> batch(40, cols, 27);
    for (std::size_t i = 0; i < 4; ++i) batch.targets[10 + i] = static_cast<token_id>(i);
    for (std::size_t i = 4; i < 9; ++i) batch.targets[i] = ignored_target;  // a whole sequence
    for (const auto reduce : {reduction::sum(), reduction::mean(), reduction::mean_over(123),
                              reduction::sequence_mean(), reduction::none()}) {
      for (const double temperature : {1.0, 0.3, 7.0}) {
        if (cols > 10000 && temperature != 0.3) continue;  // the oracle takes its time
        const loss_options options{.reduce = reduce,
                                   .temperature = temperature,
                                   .gradient_scale = 1024,
                                   .weights = weights,
                                   .sequence_offsets = offsets,
                                   .end_tokens = ends};
        const auto got = on_device(batch, entropic, options);
        const auto want = on_host(batch, entropic, options);
        INFO("V = " << cols << ", reduction " << static_cast<int>(reduce.how) << ", temperature "
                    << temperature);
        const auto report = report_error(got.report, want.report);
        INFO(report.where);
        // A sum of 31 rows.
        CHECK(report.value <= 8 * report_tolerance<float>);
        const detail::row_scales scales(std::span<const token_id>(batch.targets), options);
        const auto worst = gradient_error_of(
            batch, got.gradient, entropic,
            [&](index_t i) { return scales[i] * weights[static_cast<std::size_t>(i)] * 1024; },
            temperature);
        for (index_t i = 4; i < 9; ++i) CHECK(row_is(batch, got.gradient, i, 0));
        INFO(worst.where);
        CHECK(worst.value <= 1);
      }
    }
  }
  const device_call<float> call(host_batch<float>(40, 67, 1), {.reduce = reduction::sequence_mean(),
                                                               .sequence_offsets = offsets});
  // Offsets in device memory are checked there.
  const std::vector<index_t> wrong{0, 9, 4, 40};
  const device_array<index_t> device_wrong(wrong);
  auto options = call.options.get();
  options.sequence_offsets = device_wrong.span();
  const auto result = loss_and_gradient(call.where(), call.z.input(), call.y.span(), gated,
                                        call.dz.view(), options);
  CHECK(raised<shape_error>([&] { (void)result.wait(); }).argument() == "sequence_offsets");
}

TEMPLATE_TEST_CASE("a device gives the same bits at every run", "", float, bfloat16) {
  if (no_device()) return;
  for (const index_t cols : lengths) {
    const host_batch<TestType> batch(300, cols > 10000 ? 40000 : cols, 28);
    const loss_options options{.reduce = reduction::none()};
    const auto first = on_device(batch, entropic, options);
    for (int k = 0; k < 5; ++k) CHECK(same_outcome(on_device(batch, entropic, options), first));
    // On a stream beside other work too.
    const test_stream stream, other;
    const device_call<TestType> call(batch, options), busy(batch, options);
    for (int k = 0; k < 3; ++k) (void)busy.enqueue(gated, other.get());
    device_outcome<TestType> again;
    again.report = call.enqueue(entropic, stream.get()).wait();
    again.gradient = call.dz.download();
    CHECK(same_outcome(again, first));
  }
}

TEST_CASE("device calls can be captured in a graph", "[small]") {
  if (no_device()) return;
  const test_stream stream;
  for (const index_t cols : lengths) {
    const host_batch<bfloat16> first(20, cols, 29), second(20, cols, 30);
    const device_call<bfloat16> call(first);
    std::optional<cuda_loss> result;
    const captured_graph graph(stream.get(),
                               [&] { result.emplace(call.enqueue(gated, stream.get())); });
    for (const auto* batch : {&first, &second, &first}) {
      auto& inputs = const_cast<device_call<bfloat16>&>(call);
      inputs.z.upload(batch->logits);
      inputs.y.upload(batch->targets);
      graph.replay();
      const device_outcome<bfloat16> got{result->wait(), call.dz.download()};
      CHECK(same_outcome(got, on_device(*batch, gated)));
    }
  }
}

TEST_CASE("device calls check what the host can see before anything is enqueued", "[small]") {
  if (no_device()) return;
  const host_batch<float> batch(8, 100, 31);
  const device_call<float> call(batch, {}, {}, {}, 0.5);
  const auto z = call.z.input();
  const auto y = call.y.span();
  const auto dz = call.dz.view();
  const auto argument = [&](auto&& f) { return raised(f).argument(); };

  auto small = call.where();
  --small.workspace.bytes;
  CHECK(argument([&] { (void)loss_and_gradient(small, z, y, gated, dz); }) == "workspace");
  CHECK(argument([&] { (void)loss_and_gradient(idiolect::cuda{}, z, y, gated, dz); }) ==
        "workspace");
  auto crooked = call.where();
  crooked.workspace.data = call.workspace.data() + 8;
  CHECK(argument([&] { (void)loss_and_gradient(crooked, z, y, gated, dz); }) == "workspace");
  CHECK(argument([&] { (void)loss_and_gradient(call.where(), z, y.first(7), gated, dz); }) ==
        "targets");
  CHECK(argument([&] { (void)loss_and_gradient(call.where(), z, y, gated, dz.block(0, 7)); }) ==
        "gradient");
  CHECK(argument([&] {
          (void)loss_and_gradient(call.where(), z, y, gated,
                                  matrix_view<float>(call.z.view().data() + 4, 8, 100));
        }) == "gradient");
  CHECK(argument([&] {
          (void)loss_and_gradient(call.where(), z, y, gated, dz, {.temperature = 0});
        }) == "temperature");
  for (index_t i = 0; i < 8; ++i) CHECK(row_is(batch, call.dz.download(), i, 0.5));
}

}  // namespace idiolect::test
