// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Scores of a sequence, their path, and the corpus summary: against sums written out, and in every
// cut.

#include <idiolect/cll/corpus.hpp>
#include <idiolect/cll/sequence.hpp>
#include <idiolect/core/philox.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace idiolect {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

token_score scored(double log_prob, double entropy, double varentropy) {
  return {log_prob, entropy, varentropy, log_prob + entropy, token_status::scored};
}
const token_score ignored{};
const token_score broken{nan, nan, nan, nan, token_status::non_finite};

/// Scores of random tokens with some ignored and some broken ones among them.
std::vector<token_score> random_scores(std::size_t n, std::uint64_t record) {
  const philox random{5, record};
  std::vector<token_score> scores;
  for (std::size_t i = 0; i < n; ++i) {
    const double kind = random.uniform(4 * i);
    if (kind < 0.1) {
      scores.push_back(ignored);
    } else if (kind < 0.15) {
      scores.push_back(broken);
    } else {
      scores.push_back(scored(std::log(random.uniform(4 * i + 1) + 1e-9),
                              3 * random.uniform(4 * i + 2), 2 * random.uniform(4 * i + 3)));
    }
  }
  return scores;
}

/// Equal, or both NaN: of nothing.
bool same(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

void check_equal(const sequence_score& a, const sequence_score& b) {
  CHECK(a.tokens == b.tokens);
  CHECK(a.ignored == b.ignored);
  CHECK(a.non_finite == b.non_finite);
  CHECK(a.above == b.above);
  CHECK(same(a.min_phi, b.min_phi));
  CHECK(a.min_position == b.min_position);
  CHECK(a.sum_log_prob == Approx(b.sum_log_prob).epsilon(1e-13));
  CHECK(a.sum_entropy == Approx(b.sum_entropy).epsilon(1e-13));
  CHECK(a.sum_phi == Approx(b.sum_phi).epsilon(1e-13).margin(1e-12));
  CHECK(a.sum_varentropy == Approx(b.sum_varentropy).epsilon(1e-13));
}

void check_equal(const moment_summary& a, const moment_summary& b) {
  CHECK(a.count == b.count);
  CHECK(a.min == b.min);
  CHECK(a.max == b.max);
  if (a.count > 0) CHECK(a.mean == Approx(b.mean).epsilon(1e-12).margin(1e-12));
  CHECK(a.sum_of_squares == Approx(b.sum_of_squares).epsilon(1e-10));
}

TEST_CASE("the numbers of a short sequence by hand") {
  const std::vector<token_score> scores = {ignored, scored(-1, 0.5, 0.25), scored(-4, 1, 1),
                                           broken,  scored(-0.5, 2, 2),    scored(-7.5, 0.5, 0.75)};
  const auto s = score_sequence(scores);  // phi: -0.5, -3, 1.5, -7
  CHECK(s.tokens == 4);
  CHECK(s.ignored == 1);
  CHECK(s.non_finite == 1);
  CHECK(s.positions() == 6);
  CHECK(s.sum_phi == -9);
  CHECK(s.mean_phi() == -2.25);
  CHECK(s.mean_nll() == 3.25);
  CHECK(s.mean_log_prob() == -3.25);
  CHECK(s.perplexity() == Approx(std::exp(3.25)));
  CHECK(s.mean_entropy() == 1);
  CHECK(s.sum_varentropy == 4);
  CHECK(s.standard_error() == 0.5);
  CHECK(s.z() == -4.5);
  CHECK(s.p_value() == Approx(6.795346249477e-6).epsilon(1e-9));  // tabulated
  CHECK(s.share_above(0) == 0.25);
  CHECK(s.share_above(-1) == 0.5);
  CHECK(s.share_above(-3) == 0.5);  // -3 is not above -3
  CHECK(s.share_above(-5) == 0.75);
  CHECK(s.min_phi == -7);
  CHECK(s.min_position == 5);
}

TEST_CASE("p-values of tabulated standard scores") {
  CHECK(two_sided_p_value(0) == 1);
  CHECK(two_sided_p_value(1) == Approx(0.317310507863));
  CHECK(two_sided_p_value(-1.959963984540) == Approx(0.05));
  CHECK(two_sided_p_value(2.575829303549) == Approx(0.01));
  CHECK(two_sided_p_value(30) > 0);  // not 1 - (1 - p)
  CHECK(two_sided_p_value(infinity) == 0);
}

TEST_CASE("the standardised score of a certain model") {
  CHECK(standardised(0, 0) == 0);
  CHECK(standardised(-0.0, 0) == 0);
  CHECK(standardised(1e-300, 0) == infinity);
  CHECK(standardised(-2, 0) == -infinity);
  CHECK(standardised(-infinity, 0) == -infinity);
  CHECK(standardised(-infinity, 3) == -infinity);
  CHECK(std::isnan(standardised(1, std::numeric_limits<double>::quiet_NaN())));
  const auto certain = score_sequence(std::vector{scored(0, 0, 0), scored(0, 0, 0)});
  CHECK(certain.z() == 0);
  CHECK(certain.p_value() == 1);
  const auto wrong = score_sequence(std::vector{scored(0, 0, 0), scored(-30, 0, 0)});
  CHECK(wrong.z() == -infinity);
  CHECK(wrong.p_value() == 0);
}

TEST_CASE("a sequence without scored tokens has no score") {
  for (const auto& scores : {std::vector<token_score>{}, std::vector<token_score>(3, ignored),
                             std::vector{broken, ignored, broken}}) {
    const auto s = score_sequence(scores);
    CHECK(s.tokens == 0);
    CHECK(s.positions() == static_cast<index_t>(scores.size()));
    for (const double number :
         {s.mean_phi(), s.mean_nll(), s.mean_log_prob(), s.perplexity(), s.mean_entropy(),
          s.standard_error(), s.z(), s.p_value(), s.share_above(0), s.min_phi}) {
      CHECK(std::isnan(number));
    }
    CHECK(s.sum_phi == 0);
    CHECK(s.min_position == -1);
  }
}

TEST_CASE("a masked target is scored and makes the sequence impossible") {
  const token_score masked{-infinity, 1, 0.5, -infinity, token_status::scored};
  const auto s = score_sequence(std::vector{scored(-1, 1, 1), masked, scored(-2, 1, 1), masked});
  CHECK(s.tokens == 4);
  CHECK(s.non_finite == 0);
  CHECK(s.mean_phi() == -infinity);
  CHECK(s.mean_nll() == infinity);
  CHECK(s.perplexity() == infinity);
  CHECK(s.z() == -infinity);
  CHECK(s.p_value() == 0);
  CHECK(s.mean_entropy() == 1);
  CHECK(s.share_above(-5) == 0.5);
  CHECK(s.min_phi == -infinity);
  CHECK(s.min_position == 1);  // the first of equals
  const auto path = cumulative_path(std::vector{scored(-1, 1, 1), masked, scored(-2, 1, 1)});
  CHECK(path.phi == std::vector<double>{0, -infinity, -infinity});
}

TEST_CASE("a score with a NaN counts as non-finite whatever its status") {
  for (int field = 0; field < 4; ++field) {
    token_score s = scored(-1, 1, 1);
    (field == 0 ? s.log_prob : field == 1 ? s.entropy : field == 2 ? s.varentropy : s.phi) = nan;
    const auto sequence = score_sequence(std::vector{s, scored(-1, 0.5, 1)});
    CHECK(sequence.tokens == 1);
    CHECK(sequence.non_finite == 1);
    CHECK(sequence.mean_phi() == -0.5);
  }
}

TEST_CASE("only the counted thresholds have shares") {
  const auto s = score_sequence(std::vector{scored(-1, 1, 1)});
  try {
    static_cast<void>(s.share_above(-2));
    FAIL("accepted");
  } catch (const shape_error& e) {
    CHECK(e.argument() == "threshold");
  }
}

TEST_CASE("the parts of a sequence make the whole in every cut") {
  const auto scores = random_scores(60, 1);
  const std::span<const token_score> all(scores);
  const auto whole = score_sequence(all);
  REQUIRE(whole.tokens > 40);
  REQUIRE(whole.ignored > 0);
  REQUIRE(whole.non_finite > 0);
  for (std::size_t i = 0; i <= 60; ++i) {
    for (std::size_t j = i; j <= 60; j += 7) {
      auto left = score_sequence(all.first(i));
      const auto middle = score_sequence(all.subspan(i, j - i));
      const auto right = score_sequence(all.subspan(j));
      auto tail = middle;
      tail.merge(right);
      auto other = left;
      other.merge(tail);  // left + (middle + right)
      left.merge(middle);
      left.merge(right);  // (left + middle) + right
      check_equal(left, whole);
      check_equal(other, whole);
    }
  }
}

TEST_CASE("the minimum keeps its position across parts of ignored tokens") {
  auto s = score_sequence(std::vector{ignored, ignored});
  s.merge(score_sequence(std::vector{broken, scored(-3, 1, 1)}));
  CHECK(s.min_position == 3);
  s.merge(score_sequence(std::vector{scored(-3, 1, 1), scored(-4, 1, 1)}));
  CHECK(s.min_position == 5);
  s.merge(score_sequence(std::vector{ignored}));
  s.merge(score_sequence(std::vector{scored(-4, 1, 1)}));
  CHECK(s.min_position == 5);
  CHECK(s.min_phi == -3);
}

TEST_CASE("the path ends at the sequence and stands still where nothing is scored") {
  const auto scores = random_scores(80, 2);
  const auto path = cumulative_path(scores);
  REQUIRE(path.phi.size() == 80);
  REQUIRE(path.sigma.size() == 80);
  CHECK(cumulative_phi(scores) == path.phi);
  double sum = 0, variance = 0;
  for (std::size_t i = 0; i < 80; ++i) {
    if (scores[i].status == token_status::scored) {
      sum += scores[i].phi;
      variance += scores[i].varentropy;
    }
    CHECK(path.phi[i] == Approx(sum).margin(1e-12));
    CHECK(path.sigma[i] == Approx(std::sqrt(variance)).margin(1e-12));
  }
  const auto s = score_sequence(scores);
  CHECK(path.phi.back() / path.sigma.back() == s.z());
  CHECK(cumulative_phi({}).empty());
  CHECK(cumulative_phi(std::vector{ignored, scored(-1, 3, 1)}) == std::vector<double>{0, 2});
}

TEST_CASE("packed sequences are scored apart") {
  const auto scores = random_scores(30, 3);
  const std::vector<index_t> offsets = {0, 10, 10, 30};
  const auto sequences = score_sequences(scores, offsets);
  REQUIRE(sequences.size() == 3);
  check_equal(sequences[0], score_sequence(std::span(scores).first(10)));
  CHECK(sequences[1].positions() == 0);
  check_equal(sequences[2], score_sequence(std::span(scores).subspan(10)));
  CHECK(score_sequences({}, {}).empty());
  CHECK(score_sequences({}, std::vector<index_t>{0}).empty());

  for (const std::vector<index_t>& wrong :
       {std::vector<index_t>{}, {0}, {0, 29}, {1, 30}, {0, 20, 10, 30}, {0, 31}, {0, 40, 30}}) {
    try {
      static_cast<void>(score_sequences(scores, wrong));
      FAIL("accepted");
    } catch (const shape_error& e) {
      CHECK(e.argument() == "sequence_offsets");
    }
  }
}

TEST_CASE("a corpus weighs tokens once and sequences once") {
  corpus_summary corpus;
  corpus.add(std::vector{scored(-1, 1.5, 1), scored(-2, 1.5, 1), scored(-3, 2, 2)});
  corpus.add(std::vector{ignored, scored(-4, 2, 4)});
  corpus.add(std::vector{ignored});
  corpus.add({});
  CHECK(corpus.sequences == 2);
  CHECK(corpus.empty == 2);
  CHECK(corpus.all_tokens.tokens == 4);
  CHECK(corpus.all_tokens.ignored == 2);
  CHECK(corpus.all_tokens.mean_phi() == Approx((0.5 - 0.5 - 1 - 2) / 4));
  CHECK(corpus.all_tokens.mean_nll() == 2.5);
  CHECK(corpus.phi.mean == Approx((0.5 - 0.5 - 1 - 2) / 4));
  CHECK(corpus.phi.count == 4);
  CHECK(corpus.phi.nan_count == 0);  // ignored tokens are not there
  CHECK(corpus.phi_bins.nan_count == 0);
  CHECK(corpus.phi.variance() == Approx(3.25 / 3));
  CHECK(corpus.mean_phi.count == 2);
  CHECK(corpus.mean_phi.mean == Approx((-1.0 / 3 - 2) / 2));
  CHECK(corpus.z.mean == Approx((-0.5 - 1) / 2));
  CHECK(corpus.mean_log_prob.mean == -3);
  CHECK(corpus.perplexity.mean == Approx((std::exp(2) + std::exp(4)) / 2));
  CHECK(corpus.phi_bins.total() == 4);
  CHECK(corpus.phi_bins.counts[66] == 1);  // [0.5, 0.75)
  CHECK(corpus.phi_bins.counts[62] == 1);  // [-0.5, -0.25)
}

TEST_CASE("an empty corpus and a masked target") {
  corpus_summary corpus;
  CHECK(std::isnan(corpus.all_tokens.mean_phi()));
  CHECK(std::isnan(corpus.all_tokens.p_value()));
  for (const moment_summary& s :
       {corpus.phi, corpus.mean_phi, corpus.z, corpus.mean_log_prob, corpus.perplexity}) {
    CHECK(std::isnan(s.mean));
    CHECK(std::isnan(s.variance()));
  }
  corpus.add(std::vector{broken, ignored});
  CHECK(corpus.empty == 1);
  CHECK(std::isnan(corpus.mean_phi.mean));
  corpus.add(
      std::vector{scored(-1, 1, 1), token_score{-infinity, 1, 1, -infinity, token_status::scored}});
  CHECK(corpus.phi.mean == -infinity);
  CHECK(corpus.phi_bins.below == 1);
  CHECK(corpus.phi_bins.total() == 2);
  CHECK(corpus.mean_phi.mean == -infinity);
}

TEST_CASE("the shards of a corpus make the whole in every cut") {
  std::vector<std::vector<token_score>> texts;
  for (std::uint64_t i = 0; i < 12; ++i) texts.push_back(random_scores(5 * (i % 7), 100 + i));
  corpus_summary whole;
  for (const auto& t : texts) whole.add(t);
  REQUIRE(whole.empty > 0);
  for (std::size_t i = 0; i <= texts.size(); ++i) {
    for (std::size_t j = i; j <= texts.size(); ++j) {
      corpus_summary shards[3];
      for (std::size_t k = 0; k < texts.size(); ++k) {
        shards[k < i ? 0 : k < j ? 1 : 2].add(texts[k]);
      }
      shards[1].merge(shards[2]);
      shards[0].merge(shards[1]);
      const auto& merged = shards[0];
      CHECK(merged.sequences == whole.sequences);
      CHECK(merged.empty == whole.empty);
      check_equal(merged.all_tokens, whole.all_tokens);
      check_equal(merged.phi, whole.phi);
      CHECK((merged.phi_bins == whole.phi_bins));
      check_equal(merged.mean_phi, whole.mean_phi);
      check_equal(merged.z, whole.z);
      check_equal(merged.mean_log_prob, whole.mean_log_prob);
      check_equal(merged.perplexity, whole.perplexity);
    }
  }
}

}  // namespace
}  // namespace idiolect
