// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A model's own continuations of many prompts: as many streams at once as the model takes, a new
// prompt admitted whenever one is done. Draws are keyed by (seed, record, position), so that with a
// batch_invariant model a record's text does not depend on what else is being generated.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/philox.hpp>
#include <idiolect/model/causal_lm.hpp>
#include <idiolect/stats/sampling.hpp>
#include <idiolect/stats/selection.hpp>

#include "tiny_llama/config.hpp"

namespace tiny_llama {

struct generation_options {
  idiolect::sampler_options sampler{};
  index_t max_tokens = 256;  ///< of a continuation
  std::uint64_t seed = 0;
  std::uint64_t first_record = 0;  ///< prompt i is record first_record + i
  index_t streams = 64;              ///< at most so many at once, and the model's max_streams
};

enum class generation_stop : std::uint8_t {
  end,  ///< the last token is one of the model's end tokens
  max_tokens,
  context_full,
  not_finite  ///< the model's logits left nothing to sample from
};

struct generation {
  std::vector<token_id> tokens;  ///< without the prompt
  generation_stop stop = generation_stop::max_tokens;
};

namespace detail {

/// One prompt being read or continued. Its stream is dropped with it.
template <class Model>
class continuation {
 public:
  continuation(Model& model, std::span<const token_id> prompt, std::uint64_t record,
               generation& result)
      : model_(&model), stream_(model.open()), unread_(prompt), record_(record), result_(&result) {}
  continuation(continuation&& other) noexcept
      : model_(std::exchange(other.model_, nullptr)),
        stream_(other.stream_),
        unread_(other.unread_),
        record_(other.record_),
        result_(other.result_) {}
  continuation& operator=(continuation&& other) noexcept {
    std::swap(model_, other.model_);
    std::swap(stream_, other.stream_);
    std::swap(unread_, other.unread_);
    std::swap(record_, other.record_);
    std::swap(result_, other.result_);
    return *this;
  }
  ~continuation() {
    if (model_ != nullptr) model_->drop(stream_);
  }

  /// The next tokens to read, at most `most`; logits if nothing is left to read then.
  [[nodiscard]] idiolect::chunk next(index_t most) {
    const auto n = std::min(unread_.size(), static_cast<std::size_t>(most));
    const auto now = unread_.first(n);
    unread_ = unread_.subspan(n);
    return {stream_, now,
            unread_.empty() ? idiolect::want_logits::last : idiolect::want_logits::none};
  }

  /// Draws a token, unless there is still something to read. Whether the text is done.
  [[nodiscard]] bool advance(const generation_options& options,
                             idiolect::selection_scratch& scratch,
                             idiolect::sampler_distribution& distribution) {
    if (!unread_.empty()) return false;
    const auto z = idiolect::view(model_->logits(stream_));
    double top = -std::numeric_limits<double>::infinity();
    bool numbers = true;
    for (index_t j = 0; j < z.cols(); ++j) {
      numbers = numbers && !std::isnan(z(0, j));
      top = std::max(top, static_cast<double>(z(0, j)));
    }
    if (!numbers || !std::isfinite(top)) return done(generation_stop::not_finite);
    idiolect::select_distribution(z.row(0), z.cols(), top, options.sampler, scratch, distribution);

    auto& tokens = result_->tokens;
    const idiolect::philox draws{options.seed, record_};
    tokens.push_back(distribution.draw(draws.uniform(tokens.size())));
    if (model_->is_end(tokens.back())) return done(generation_stop::end);
    if (static_cast<index_t>(tokens.size()) >= options.max_tokens) {
      return done(generation_stop::max_tokens);
    }
    if (model_->length(stream_) >= model_->context_size()) {
      return done(generation_stop::context_full);
    }
    unread_ = std::span(tokens).last(1);  // read before the next token is pushed
    return false;
  }

 private:
  bool done(generation_stop why) {
    result_->stop = why;
    return true;
  }

  Model* model_;
  idiolect::stream_id stream_;
  std::span<const token_id> unread_;
  std::uint64_t record_;
  generation* result_;
};

}  // namespace detail

/// Continues every prompt (tokens, with the begin token if the model wants one). Raises shape_error
/// for an empty prompt or one longer than the context, backend_error if the model has no room for
/// the streams or fails.
template <idiolect::causal_lm Model>
[[nodiscard]] std::vector<generation> generate(Model& model,
                                               std::span<const std::vector<token_id>> prompts,
                                               const generation_options& options = {}) {
  validate(options.sampler);
  idiolect::require(options.max_tokens > 0, "max_tokens", "must be positive");
  idiolect::require(options.streams > 0, "streams", "must be positive");
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto length = static_cast<index_t>(prompts[i].size());
    idiolect::require(length > 0 && length <= model.context_size(), "prompts", [&] {
      return "prompt " + std::to_string(i) + " has " + std::to_string(length) +
             " tokens, expected 1 to " + std::to_string(model.context_size());
    });
  }
  using traits = idiolect::model_traits<Model>;
  const index_t chunk_limit = traits::max_chunk(model);
  const auto most = static_cast<std::size_t>(
      std::min({options.streams, static_cast<index_t>(traits::max_streams(model)), chunk_limit}));

  std::vector<generation> results(prompts.size());
  std::vector<detail::continuation<Model>> active;
  std::vector<idiolect::chunk> chunks;
  idiolect::selection_scratch scratch;
  idiolect::sampler_distribution distribution;
  std::size_t admitted = 0;
  for (;;) {
    while (active.size() < most && admitted < prompts.size()) {
      active.emplace_back(model, prompts[admitted], options.first_record + admitted,
                          results[admitted]);
      ++admitted;
    }
    if (active.empty()) break;
    chunks.clear();
    index_t left = chunk_limit;  // of this call: each stream behind wants one token at least
    for (std::size_t i = 0; i < active.size(); ++i) {
      const auto behind = static_cast<index_t>(active.size() - i - 1);
      chunks.push_back(active[i].next(left - behind));
      left -= static_cast<index_t>(chunks.back().tokens.size());
    }
    const auto status = model.forward(chunks);
    idiolect::require<idiolect::backend_error>(
        status == idiolect::forward_status::ok, "generate",
        status == idiolect::forward_status::no_room
            ? "the model has no room for so many streams: ask for fewer at once"
            : "the model could not go on");
    std::erase_if(active, [&](auto& c) { return c.advance(options, scratch, distribution); });
  }
  return results;
}

}  // namespace tiny_llama
