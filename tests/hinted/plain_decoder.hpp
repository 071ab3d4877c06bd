// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Hinted decoding written the obvious way: for every token both contexts are computed anew, from
// the first token, in streams of their own; probabilities are normalised; the nucleus is sorted;
// text is searched from its beginning. What the decoder is compared with.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <idiolect/core/philox.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/hinted/stop.hpp>
#include <idiolect/hinted/text.hpp>
#include <idiolect/stats/sampling.hpp>

#include "support/rows.hpp"

namespace idiolect::test {

struct plain_token {
  token_id token = 0;
  double lambda = 0;
  double teacher_log_prob = not_a_number;
  double student_log_prob = not_a_number;
  double student_entropy = not_a_number;
  double student_varentropy = not_a_number;
};

struct plain_text {
  std::vector<plain_token> tokens;
  std::vector<token_id> ids;
  std::vector<token_id> analysis;
  std::string bytes;
  stop_reason stop = stop_reason::none;
  bool near_tie = false;  // some draw or cut was within `hair` of another
};

template <class Model, class Tokenizer>
class plain_decoder {
 public:
  plain_decoder(Model& model, const Tokenizer& pieces, std::function<double(double)> schedule,
                hinted_options options, double hair)
      : model_(model),
        pieces_(pieces),
        schedule_(std::move(schedule)),
        options_(std::move(options)),
        hair_(hair) {}

  plain_text decode(const decode_job& job) const {
    plain_text text;
    const index_t context = model_.context_size();
    std::vector<token_id> teacher = job.teacher_prompt;
    std::vector<token_id> student = job.student_prompt;
    const auto fits = [&](const std::vector<token_id>& t) {
      return static_cast<index_t>(t.size()) <= context;
    };
    const auto stopped = [&](stop_reason reason) {
      text.stop = reason;
      return text;
    };
    if (!fits(student) || (!job.rollout && !fits(teacher)))
      return stopped(stop_reason::context_full);

    if (!job.rollout && !job.analysis_marker.empty()) {
      for (;;) {
        if (!fits(teacher)) return stopped(stop_reason::context_full);
        const auto z = row_after(teacher);
        if (!finite(z)) return stopped(stop_reason::non_finite);
        const auto t = static_cast<token_id>(std::ranges::max_element(z) - z.begin());
        text.analysis.push_back(t);
        teacher.push_back(t);
        if (bytes_of(text.analysis).find(job.analysis_marker) != std::string::npos) break;
        if (is_end(t) || static_cast<index_t>(text.analysis.size()) >= job.analysis_budget) {
          return stopped(stop_reason::marker_missing);
        }
      }
    }

    for (;;) {
      const bool student_only =
          job.rollout || (!options_.delimiter.empty() &&
                          bytes_of(text.ids).find(options_.delimiter) != std::string::npos);
      if (!fits(student) || (!student_only && !fits(teacher))) {
        return stopped(stop_reason::context_full);
      }
      auto q = row_after(student);
      const bool scorable = finite(q);
      if (scorable) normalise(q);
      std::vector<double> p;
      plain_token t;
      t.lambda = 1;
      if (!student_only) {
        p = row_after(teacher);
        if (!finite(p)) return stopped(stop_reason::non_finite);
        normalise(p);
        const double norm = options_.entropy_norm > 0 ? options_.entropy_norm
                                                      : std::log(static_cast<double>(p.size()));
        t.lambda = text.ids.empty() && options_.teacher_first_token
                       ? 0
                       : schedule_(std::min(1.0, entropy(p) / norm));
      }
      if (t.lambda > 0 && !scorable) return stopped(stop_reason::non_finite);

      std::vector<double> m(q.size());
      for (std::size_t i = 0; i < m.size(); ++i) {
        m[i] = t.lambda == 0   ? p[i]
               : t.lambda == 1 ? q[i]
                               : (1 - t.lambda) * p[i] + t.lambda * q[i];
      }
      const sampler_options& sampler = job.rollout ? job.rollout_sampler : options_.sampler;
      const auto r = sampled_distribution(m.data(), static_cast<index_t>(m.size()), sampler);
      if (r.empty()) return stopped(stop_reason::no_support);
      const double u = philox{options_.seed, job.record}.uniform(text.ids.size());
      text.near_tie = text.near_tie || near_tie(m, sampler, r, u);
      t.token = r.tokens.back();
      double cumulative = 0;
      for (std::size_t i = 0; i < r.tokens.size(); ++i) {
        cumulative += r.probs[i];
        if (u < cumulative) {
          t.token = r.tokens[i];
          break;
        }
      }
      const auto chosen = static_cast<std::size_t>(t.token);
      if (!student_only) t.teacher_log_prob = p[chosen];
      if (scorable) {
        t.student_log_prob = q[chosen];
        t.student_entropy = entropy(q);
        t.student_varentropy = 0;
        for (const double l : q) {
          if (l == -infinity) continue;
          t.student_varentropy += std::exp(l) * std::pow(l + t.student_entropy, 2);
        }
      }
      text.tokens.push_back(t);
      text.ids.push_back(t.token);
      teacher.push_back(t.token);
      student.push_back(t.token);
      if (is_end(t.token)) return stopped(stop_reason::end_of_sequence);
      text.bytes = bytes_of(text.ids);
      if (repeats(text.ids)) return stopped(stop_reason::repetition);
      if (static_cast<index_t>(text.ids.size()) >= options_.max_tokens) {
        return stopped(stop_reason::max_tokens);
      }
    }
  }

 private:
  // The row after these tokens, from a stream that takes all of them at once.
  std::vector<double> row_after(const std::vector<token_id>& tokens) const {
    const stream_id s = model_.open();
    const chunk all{s, tokens, want_logits::last};
    require(model_.forward({&all, 1}) == forward_status::ok, "plain_decoder", "forward failed");
    const auto rows = model_.logits(s);
    // What no token exists for does not count.
    std::vector<double> z(rows.row(0), rows.row(0) + pieces_.vocab_size());
    model_.drop(s);
    return z;
  }
  static bool finite(const std::vector<double>& z) {
    double most = -infinity;
    for (const double x : z) {
      if (std::isnan(x)) return false;
      most = std::max(most, x);
    }
    return std::isfinite(most);
  }
  // Logits to log-probabilities.
  static void normalise(std::vector<double>& z) {
    const double most = *std::ranges::max_element(z);
    double sum = 0;
    for (const double x : z) sum += std::exp(x - most);
    for (double& x : z) x -= most + std::log(sum);
  }
  static double entropy(const std::vector<double>& log_probs) {
    double h = 0;
    for (const double l : log_probs) {
      if (l > -infinity) h -= std::exp(l) * l;
    }
    return h;
  }
  [[nodiscard]] bool is_end(token_id t) const {
    return model_.is_end(t) || std::ranges::count(options_.end_tokens, t) > 0;
  }
  std::string bytes_of(const std::vector<token_id>& ids) const {
    std::string bytes;
    for (const token_id t : ids) pieces_.append_piece(t, bytes);
    return bytes;
  }
  // Has any n-gram been seen too often? Asked after every token, so the last one decides.
  [[nodiscard]] bool repeats(const std::vector<token_id>& ids) const {
    const auto [length, times] = options_.repetition;
    if (times == 0 || static_cast<index_t>(ids.size()) < length) return false;
    index_t count = 0;
    for (auto at = ids.begin(); ids.end() - at >= length; ++at) {
      count += std::equal(at, at + length, ids.end() - length) ? 1 : 0;
    }
    return count >= times;
  }
  // Would a hair more or less of a limit, or of the draw, give another token?
  bool near_tie(const std::vector<double>& m, const sampler_options& o,
                const sampler_distribution& r, double u) const {
    double cumulative = 0;
    for (std::size_t i = 0; i + 1 < r.tokens.size(); ++i) {
      cumulative += r.probs[i];
      if (std::abs(cumulative - u) < hair_) return true;
    }
    for (const double hair : {-hair_, hair_}) {
      sampler_options moved = o;
      if (o.top_p < 1) moved.top_p = std::clamp(o.top_p + hair, 1e-300, 1.0);
      if (o.min_p > 0) moved.min_p = std::clamp(o.min_p * (1 + hair), 0.0, 1.0);
      const auto other = sampled_distribution(m.data(), static_cast<index_t>(m.size()), moved);
      if (other.tokens != r.tokens) return true;
    }
    // Ranks: two tokens that nearly tie where the rank decides.
    if (o.top_k > 0 || o.temperature == 0) {
      auto sorted = m;
      std::ranges::sort(sorted, std::greater{});
      const auto k = static_cast<std::size_t>(o.temperature == 0 ? 1 : o.top_k);
      if (k < sorted.size() && sorted[k - 1] - sorted[k] < hair_) return true;
    }
    return false;
  }

  Model& model_;
  const Tokenizer& pieces_;
  std::function<double(double)> schedule_;
  hinted_options options_;
  double hair_;
};

}  // namespace idiolect::test
