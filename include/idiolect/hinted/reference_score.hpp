// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The scores of given texts after their prompts: what a reference answer is to the model, before it
// is rewritten, and whose voice a file of texts is in.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <idiolect/cll/score.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/causal_lm.hpp>

namespace idiolect {

/// Options of the scoring of texts.
struct text_score_options {
  /// Tokens of a text in one forward call, at most. An engine may compute long chunks by other
  /// means than the single tokens of a decoding: llama.cpp on a CPU does from 64 on, and the scores
  /// of a text then differ from those made while it was written by more than rounding.
  index_t chunk = 128;
  index_t parallel = 8;      ///< texts in one call, fewer where the model has fewer streams
  score_options score = {};  ///< temperature and sampler
  /// Columns of logits that count: the tokenizer's vocab_size() where an engine pads its rows;
  /// 0: all.
  index_t columns = 0;
};

/// A text to score, and what stands before it. Tokens; the prompt has one at least.
struct scored_text {
  std::vector<token_id> prompt;
  std::vector<token_id> text;
};

namespace detail {

/// The scoring of texts over a model: each has a stream while it is read.
template <folding_backend Backend, causal_lm Model>
class text_scoring {
  static_assert(!model_traits<Model>::device_logits,
                "idiolect: texts are scored from logits in host memory");

 public:
  text_scoring(const Backend& backend, Model& model, const text_score_options& options)
      : backend_(backend), model_(model), options_(options) {
    require(options.chunk > 0, "text_score_options::chunk", "must be > 0");
    require(options.parallel > 0, "text_score_options::parallel", "must be > 0");
    check_temperature(options.score.temperature);
    if (options.score.sampler) validate(*options.score.sampler);
    require(options.columns >= 0 && options.columns <= model.vocab_size(),
            "text_score_options::columns", "the model has fewer columns of logits");
    require(model_traits<Model>::max_chunk(model) > 0, "model", "takes no tokens");
  }
  text_scoring(const text_scoring&) = delete;
  text_scoring& operator=(const text_scoring&) = delete;
  ~text_scoring() {
    for (reading& r : readings_) quietly([&] { model_.drop(r.stream); });
  }

  template <class Next, class Done>
  void run(Next&& next, Done&& done) {
    bool more = true;
    for (std::size_t number = 0;;) {
      while (room() && (more || !waiting_.empty())) {
        if (!waiting_.empty()) {
          reopen();
          continue;
        }
        std::optional<scored_text> t = next();
        more = t.has_value();
        if (more) admit(std::move(*t), number++, done);
      }
      if (readings_.empty()) return;
      forward();
      retire(done);
    }
  }

 private:
  struct reading {
    std::size_t number;
    stream_id stream;
    std::vector<token_id> tokens;  // all but the last, which is only predicted
    std::vector<token_id> text;
    std::size_t first_row;  // the token whose row predicts the text's first
    std::size_t taken = 0;
    std::size_t asked = 0;  // in the call under way
    std::vector<token_score> scores = {};
  };

  [[nodiscard]] bool room() const {
    const auto own = static_cast<index_t>(readings_.size());
    if (own >= most_) return false;
    return own == 0 || model_traits<Model>::free_streams(model_, own) > 0;
  }

  template <class Done>
  void admit(scored_text t, std::size_t number, Done& done) {
    require(!t.prompt.empty(), "prompt", "is empty");
    const auto length = static_cast<index_t>(t.prompt.size() + t.text.size());
    if (t.text.empty() || length - 1 > model_.context_size()) {
      return done(number, std::vector<token_score>{});
    }
    reading r{.number = number,
              .stream = 0,
              .tokens = std::move(t.prompt),
              .text = std::move(t.text),
              .first_row = 0};
    r.first_row = r.tokens.size() - 1;
    r.tokens.insert(r.tokens.end(), r.text.begin(), r.text.end() - 1);
    waiting_.push_back(std::move(r));
    reopen();
  }

  // The last of those that wait.
  void reopen() {
    reading& r = waiting_.back();
    r.stream = model_.open();
    readings_.push_back(std::move(r));
    waiting_.pop_back();
  }

  // The cache is full: the youngest is read again later, beside fewer. One alone gets no scores.
  void make_room() {
    reading& youngest = readings_.back();
    youngest.scores.clear();
    if (readings_.size() == 1) {
      youngest.taken = youngest.tokens.size();
      return;
    }
    youngest.taken = 0;
    model_.drop(youngest.stream);
    waiting_.push_back(std::move(youngest));
    readings_.pop_back();
    most_ = static_cast<index_t>(readings_.size());
  }

  void forward() {
    chunks_.clear();
    auto budget = static_cast<std::size_t>(model_traits<Model>::max_chunk(model_));
    for (reading& r : readings_) {
      // Up to the first row no logits are wanted, and from it on all of them are.
      const bool scored = r.taken >= r.first_row;
      const std::size_t end = scored ? r.tokens.size() : r.first_row;
      r.asked = (std::min)({budget, static_cast<std::size_t>(options_.chunk), end - r.taken});
      if (r.asked == 0) continue;
      budget -= r.asked;
      chunks_.push_back({r.stream, std::span(r.tokens).subspan(r.taken, r.asked),
                         scored ? want_logits::all : want_logits::none});
    }
    std::ranges::sort(chunks_, {}, &chunk::stream);  // engines compute neighbours together
    const forward_status status = model_.forward(chunks_);
    if (status == forward_status::no_room) return make_room();
    require<backend_error>(status == forward_status::ok, "model",
                           status == forward_status::aborted
                               ? "was aborted while it read a text that is to be scored"
                               : "could not read a text that is to be scored");
    for (reading& r : readings_) {
      if (r.asked > 0 && r.taken >= r.first_row) score_rows(r);
      r.taken += r.asked;
    }
  }

  void score_rows(reading& r) {
    const auto rows = view(model_.logits(r.stream));
    require<backend_error>(rows.rows() == static_cast<index_t>(r.asked) &&
                               rows.cols() == static_cast<index_t>(model_.vocab_size()),
                           "model", "gave other rows of logits than were asked for");
    const index_t columns = options_.columns > 0 ? options_.columns : rows.cols();
    const matrix_view real(rows.data(), rows.rows(), columns, rows.stride());
    const auto part = score(
        backend_, real, std::span<const token_id>(r.text).subspan(r.taken - r.first_row, r.asked),
        options_.score);
    r.scores.insert(r.scores.end(), part.begin(), part.end());
  }

  template <class Done>
  void retire(Done& done) {
    for (std::size_t k = 0; k < readings_.size();) {
      if (readings_[k].taken < readings_[k].tokens.size()) {
        ++k;
        continue;
      }
      reading r = std::move(readings_[k]);
      readings_.erase(readings_.begin() + static_cast<std::ptrdiff_t>(k));
      model_.drop(r.stream);
      done(r.number, std::move(r.scores));
    }
  }

  const Backend& backend_;
  Model& model_;
  const text_score_options& options_;
  index_t most_ = options_.parallel;  // fewer once the cache was full
  std::vector<reading> readings_;
  std::vector<reading> waiting_;  // without a stream
  std::vector<chunk> chunks_;
};

}  // namespace detail

/// Scores what `next`, a callable () -> std::optional<scored_text>, gives, until it gives nothing:
/// many texts in each forward call. `done(number, scores)` gets them as they are ready; `number`
/// counts the texts from 0, `scores` has one for each token of the text, or none if prompt and text
/// do not fit the context or the model's cache. Raises backend_error if the model fails.
template <folding_backend Backend, causal_lm Model, class Next, class Done>
void score_texts(const Backend& backend, Model& model, Next&& next, Done&& done,
                 const text_score_options& options = {}) {
  detail::text_scoring<Backend, Model>(backend, model, options).run(next, done);
}

/// Scores texts one at a time. While a rewrite is under way, give it a model object of its own (two
/// objects may share weights), or one with a stream more than the decoder takes.
template <folding_backend Backend, causal_lm Model>
class reference_scorer {
 public:
  /// `model` must outlive the scorer.
  reference_scorer(Backend backend, Model& model, text_score_options options = {})
      : backend_(std::move(backend)), model_(&model), options_(std::move(options)) {}

  /// A score for each token of `text`; none if prompt and text do not fit the context. Raises
  /// backend_error if the model fails.
  [[nodiscard]] std::vector<token_score> operator()(std::span<const token_id> prompt,
                                                    std::span<const token_id> text) const {
    std::optional<scored_text> one({{prompt.begin(), prompt.end()}, {text.begin(), text.end()}});
    std::vector<token_score> scores;
    score_texts(
        backend_, *model_, [&] { return std::exchange(one, std::nullopt); },
        [&](std::size_t, std::vector<token_score> s) { scores = std::move(s); }, options_);
    return scores;
  }

 private:
  Backend backend_;
  Model* model_;
  text_score_options options_;
};

}  // namespace idiolect
