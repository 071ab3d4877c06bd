// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The scores of a given text after a prompt: what a reference answer is to the model, before it is
// rewritten.

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include <idiolect/cll/score.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/causal_lm.hpp>

namespace idiolect {

/// Scores texts one at a time. While a rewrite is under way, give it a model object of its own (two
/// objects may share weights), or one with a stream more than the decoder takes.
template <folding_backend Backend, causal_lm Model>
class reference_scorer {
  static_assert(!model_traits<Model>::device_logits,
                "idiolect: this scorer reads logits in host memory");

 public:
  /// `model` must outlive the scorer.
  reference_scorer(Backend backend, Model& model) : backend_(std::move(backend)), model_(&model) {}

  /// A score for each token of `text`; none if prompt and text do not fit the context. One forward
  /// call for each 128 tokens. Raises backend_error if the model fails.
  [[nodiscard]] std::vector<token_score> operator()(std::span<const token_id> prompt,
                                                    std::span<const token_id> text) const {
    require(!prompt.empty(), "prompt", "is empty");
    std::vector<token_score> scores;
    if (text.empty() ||
        static_cast<index_t>(prompt.size() + text.size()) - 1 > model_->context_size()) {
      return scores;
    }
    std::vector<token_id> read(prompt.begin(), prompt.end());
    read.insert(read.end(), text.begin(), text.end() - 1);  // the last token is only predicted
    const std::size_t first_row = prompt.size() - 1;
    const auto most = static_cast<std::size_t>(
        std::min<index_t>(model_traits<Model>::max_chunk(*model_), rows_at_once));

    const open_stream stream(*model_);
    for (std::size_t at = 0; at < read.size();) {
      const bool scored = at >= first_row;
      const std::size_t end = scored ? read.size() : first_row;
      const auto tokens = std::span(read).subspan(at, std::min(most, end - at));
      const chunk c{stream.id, tokens, scored ? want_logits::all : want_logits::none};
      require<backend_error>(model_->forward({&c, 1}) == forward_status::ok, "model",
                             "could not score a reference answer");
      if (scored) {
        const auto part =
            score(backend_, model_->logits(stream.id), text.subspan(at - first_row, tokens.size()));
        scores.insert(scores.end(), part.begin(), part.end());
      }
      at += tokens.size();
    }
    return scores;
  }

 private:
  static constexpr index_t rows_at_once = 128;

  struct open_stream {
    explicit open_stream(Model& m) : model(m), id(m.open()) {}
    open_stream(const open_stream&) = delete;
    open_stream& operator=(const open_stream&) = delete;
    ~open_stream() { model.drop(id); }
    Model& model;
    stream_id id;
  };

  Backend backend_;
  Model* model_;
};

}  // namespace idiolect
