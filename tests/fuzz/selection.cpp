// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Selection without a sort beside the sampler's definition: no kept token that the definition does
// not keep, but for a cut that falls within 1e-6 of a border, and every draw one of those kept.

#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/selection.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include "fuzz/input.hpp"
#include "support/sampler_cases.hpp"

namespace idiolect::fuzz {
namespace {

/// What the pruned tail may hold, and what a cut may be off by.
constexpr double pruned = 1.2e-7;
constexpr double hair = 1e-6;

template <class T>
void run(input in) {
  sampler_options o;
  o.temperature = in.one_of({1.0, 0.0, 0.05 + 3 * in.share(), std::exp(8 * in.share() - 4)});
  o.top_k = in.one_of<index_t>({0, 0, 1 + in.below(40), 1 + in.below(3000)});
  o.top_p = in.one_of({1.0, 0.95, 1e-9, std::max(1e-9, in.share())});
  o.min_p = in.one_of({0.0, 0.0, 1.0, in.share()});
  o.order = in.coin() ? sampler_order::temperature_first : sampler_order::temperature_last;
  const double u = in.share() * (1 - 0x1.0p-53);
  // A few numbers of the input, over and over.
  const auto n = static_cast<std::size_t>(1 + in.one_of({in.below(64), in.below(3000)}));
  const auto period = static_cast<std::size_t>(1 + in.below(300));
  std::vector<T> row;
  for (std::size_t i = 0; i < n; ++i) {
    row.push_back(i < period ? in.number<T>() : row[i - period]);
  }
  const auto size = static_cast<index_t>(n);
  const auto expected = sampled_distribution(row.data(), size, o);
  if (expected.empty()) return;  // no distribution: the caller's fold has said so
  const double max = test::maximum(row);

  static selection_scratch scratch;
  sampler_distribution found;
  select_distribution(row.data(), size, max, o, scratch, found);
  expect(!found.empty() && found.tokens.size() == found.probs.size(), "nothing is kept");
  double total = 0;
  for (std::size_t k = 0; k < found.tokens.size(); ++k) {
    expect(found.tokens[k] >= 0 && found.tokens[k] < size, "a token that does not exist");
    expect(k == 0 || found.tokens[k - 1] < found.tokens[k], "not in the order of ids");
    expect(found.probs[k] >= 0 && std::isfinite(found.probs[k]), "no probability");
    total += found.probs[k];
  }
  expect(std::abs(total - 1) < 1e-9, "probabilities that do not sum to 1");
  const token_id drawn = select_token(row.data(), size, max, o, u, scratch);
  expect(test::distance_of(u, drawn, found) < 4 * pruned, "a draw that is not of what is kept");

  // Between the definition with a little less and with a little more.
  const auto moved = [&](double by) {
    sampler_options other = o;
    if (o.top_p < 1) other.top_p = std::clamp(o.top_p * (1 + by), 1e-300, 1.0);
    if (o.min_p > 0) other.min_p = std::min(1.0, o.min_p * (1 - by));
    return sampled_distribution(row.data(), size, other);
  };
  const auto least = moved(-hair);
  const auto most = moved(hair);
  const auto all_in = [](const auto& some, const auto& others) {
    return std::ranges::includes(others.tokens, some.tokens);
  };
  expect(all_in(found, most), "a token is kept that the definition does not keep");
  for (std::size_t k = 0; k < least.tokens.size(); ++k) {
    const bool there = std::ranges::binary_search(found.tokens, least.tokens[k]);
    expect(there || least.probs[k] <= pruned, "a token of the definition is missing");
  }
}

}  // namespace
}  // namespace idiolect::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace idiolect::fuzz;
  input in(data, size);
  with_logit_type(in, [&]<class T>(std::type_identity<T>) { run<T>(in); });
  return 0;
}
