// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Scores on a device beside the oracle and the plain backend.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <idiolect/backend/cuda/score.cuh>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/cll/score.hpp>

#include "cuda/support.hpp"
#include "support/oracle.hpp"
#include "support/rows.hpp"
#include "support/tolerance.hpp"

namespace idiolect::test {
namespace {

/// Logits, targets and workspace on the device.
template <class T>
class device_scorer {
 public:
  device_scorer(const std::vector<T>& logits, const std::vector<token_id>& targets, index_t cols,
                placement p = {})
      : z(logits, static_cast<index_t>(targets.size()), cols, p),
        y(targets),
        workspace(static_cast<index_t>(score_workspace_bytes(static_cast<index_t>(targets.size()))),
                  true) {}

  [[nodiscard]] auto enqueue(const score_options& o = {}, cudaStream_t stream = nullptr) const {
    return score(idiolect::cuda{stream, {workspace.data(), workspace.bytes()}}, z.input(), y.span(),
                 o);
  }
  [[nodiscard]] std::vector<token_score> run(const score_options& o = {}) const {
    return enqueue(o).wait();
  }

  device_matrix<T> z;
  device_array<token_id> y;
  device_array<unsigned char> workspace;
};

bool same_scores(const std::vector<token_score>& a, const std::vector<token_score>& b) {
  const auto same = [](double x, double y) { return std::memcmp(&x, &y, sizeof x) == 0; };
  bool all = a.size() == b.size();
  for (std::size_t i = 0; i < a.size() && all; ++i) {
    all = a[i].status == b[i].status && same(a[i].log_prob, b[i].log_prob) &&
          same(a[i].entropy, b[i].entropy) && same(a[i].varentropy, b[i].varentropy) &&
          same(a[i].phi, b[i].phi);
  }
  return all;
}

/// In units of max(1, |value|). A thread adds up to 64 terms one after the other: where they are
/// equal, all roundings in one direction are 64 * 2^-25 = 2e-6 of a sum, and H and phi are made of
/// two. (The host's sums are shorter and promise more.) Rows are asked to be within 1e-5.
template <class Accumulator>
inline constexpr double device_tolerance = std::same_as<Accumulator, float> ? 5e-6 : 2e-11;

/// The largest error over what is allowed, of a token that was scored.
template <class Accumulator>
double score_error(const token_score& got, const exact_stats& want) {
  const double worst = std::max(
      {scaled_error(got.log_prob, want.log_prob), scaled_error(got.entropy, want.entropy()),
       scaled_error(got.phi, want.phi), scaled_error(got.varentropy, want.varentropy)});
  return worst / device_tolerance<Accumulator>;
}

}  // namespace

TEMPLATE_TEST_CASE("device scores are right at every length of row", "", float, double, half,
                   bfloat16) {
  if (no_device()) return;
  using T = TestType;
  worst_error worst;
  for (const index_t cols : {1, 7, 512, 2049, 4097, 8200, 32000, 65536, 131072, 151936}) {
    const index_t rows = cols > 100000 ? 3 : cols > 10000 ? 9 : 41;
    const auto logits = gaussian_matrix<T>(rows, cols, 3, 40 + static_cast<std::uint64_t>(cols));
    const auto targets = random_targets(rows, cols, 41);
    for (const auto& [padding, shift] : {placement{}, placement{3, 5}}) {
      for (const double temperature : {1.0, 0.7}) {
        const device_scorer<T> scorer(logits, targets, cols, {padding, shift});
        const auto scores = scorer.run({.temperature = temperature});
        REQUIRE(static_cast<index_t>(scores.size()) == rows);
        for (index_t i = 0; i < rows; ++i) {
          const auto& got = scores[static_cast<std::size_t>(i)];
          const auto want =
              exact(logits.data() + i * cols, cols, targets[static_cast<std::size_t>(i)],
                    static_cast<long double>(temperature));
          REQUIRE(got.status == token_status::scored);
          worst.see(score_error<accumulator_t<T>>(got, want), [&] {
            return "V = " + std::to_string(cols) + ", row " + std::to_string(i) + ", shift " +
                   std::to_string(shift);
          });
        }
      }
    }
  }
  INFO(worst.where);
  CHECK(worst.value <= 1);
}

TEMPLATE_TEST_CASE("device scores of masked and extreme logits", "", float, half, bfloat16) {
  if (no_device()) return;
  using T = TestType;
  const double largest = std::same_as<T, half> ? 60000 : 1e30;
  for (const index_t cols : {67, 2500, 40000}) {
    for (const auto& [name, values] : adversarial_rows(cols, largest)) {
      const auto logits = stored<T>(values);
      const auto target = static_cast<token_id>(cols - 1);  // never masked
      const device_scorer<T> scorer(logits, {target}, cols);
      const auto got = scorer.run();
      INFO(name << ", V = " << cols);
      CHECK(score_error<float>(got[0], exact(logits.data(), cols, target)) <= 1);
    }
  }
}

TEST_CASE("device rows that are not scored", "[small]") {
  if (no_device()) return;
  constexpr index_t cols = 2500;
  for (const auto& [name, values] : non_finite_rows(cols)) {
    auto logits = gaussian_matrix<bfloat16>(5, cols, 2, 42);
    const auto bad = stored<bfloat16>(values);
    std::copy(bad.begin(), bad.end(), logits.begin() + 3 * cols);
    const std::vector<token_id> targets{1, ignored_target, 2, 7, 2499};
    const device_scorer<bfloat16> scorer(logits, targets, cols);
    const auto got = scorer.run();
    INFO(name);
    CHECK(got[0].status == token_status::scored);
    CHECK(got[1].status == token_status::ignored);
    CHECK(std::isnan(got[1].phi));
    CHECK(got[2].status == token_status::scored);
    CHECK(got[3].status == token_status::non_finite);
    CHECK(std::isnan(got[3].log_prob));
    CHECK(std::isnan(got[3].entropy));
    CHECK(got[4].status == token_status::scored);
  }
  const std::vector<float> logits(3 * 10, 0.5f);
  for (const token_id wrong : {-1, 10}) {
    const device_scorer<float> scorer(logits, {1, 2, wrong}, 10);
    const auto result = scorer.enqueue();
    CHECK(raised<target_error>([&] { (void)result.wait(); }).row() == 2);
  }
  CHECK(device_scorer<float>({}, {}, 10).run().empty());
}

TEST_CASE("device scores have the same bits at every run and in a graph", "[small]") {
  if (no_device()) return;
  for (const index_t cols : {67, 2500, 40000}) {
    const auto first = gaussian_matrix<float>(200, cols, 3, 43);
    const auto second = gaussian_matrix<float>(200, cols, 3, 44);
    const auto targets = random_targets(200, cols, 45);
    device_scorer<float> scorer(first, targets, cols);
    const auto want = scorer.run();
    for (int k = 0; k < 5; ++k) CHECK(same_scores(scorer.run(), want));

    const test_stream stream;
    std::optional<cuda_scores> result;
    const captured_graph graph(stream.get(),
                               [&] { result.emplace(scorer.enqueue({}, stream.get())); });
    for (const auto* logits : {&first, &second, &first}) {
      scorer.z.upload(*logits);
      graph.replay();
      CHECK(same_scores(result->wait(), device_scorer<float>(*logits, targets, cols).run()));
    }
  }
}

TEST_CASE("device scores check what the host can see", "[small]") {
  if (no_device()) return;
  const device_scorer<float> scorer(std::vector<float>(40, 0.0f), {1, 2}, 20);
  const auto argument = [&](auto&& f) { return raised(f).argument(); };
  CHECK(argument([&] { (void)score(idiolect::cuda{}, scorer.z.input(), scorer.y.span()); }) ==
        "workspace");
  CHECK(argument([&] { (void)scorer.run({.temperature = -1}); }) == "temperature");
  CHECK(argument([&] { (void)scorer.run({.sampler = sampler_options{}}); }) ==
        "score_options::sampler");
}

}  // namespace idiolect::test
