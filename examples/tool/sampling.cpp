// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/sampling.hpp"

#include <algorithm>

#include <idiolect/core/philox.hpp>

#include "tool/errors.hpp"
#include "tool/interrupt.hpp"
#include "tool/progress.hpp"

namespace tool {

namespace {

/// A text that is being written.
struct running {
  std::size_t number;  // of the text: the record of its random numbers
  idiolect::stream_id stream;
  index_t fed = 0;      // tokens that are in the stream
  index_t feeding = 0;  // tokens of the current call
  // Of that call. One thread at a time asks a model.
  idiolect::matrix_view<const float> logits = {};
  bool failed = false;
};

}  // namespace

demand demand_of(std::span<const std::vector<token_id>> prompts, const sampling& how) {
  std::size_t longest = 0;
  for (const auto& p : prompts) longest = std::max(longest, p.size());
  const auto texts = static_cast<index_t>(prompts.size()) * how.count;
  return {.streams = std::min(how.streams, texts),
          .tokens = how.max_tokens > 0 ? static_cast<index_t>(longest) + how.max_tokens : 0};
}

std::vector<sampled_text> sample_all(language_model& model, const executor& workers,
                                     std::span<const std::vector<token_id>> prompts,
                                     const sampling& how) {
  const auto total = prompts.size() * static_cast<std::size_t>(how.count);
  std::vector<sampled_text> texts(total);
  const index_t streams = std::min({how.streams, model.max_streams(), model.max_chunk()});
  const index_t context = how.context > 0 ? how.context : model.context_size();
  progress line("sampling", static_cast<std::int64_t>(total), "texts");

  const auto drawn = [&](const sampled_text& t) {
    return static_cast<index_t>(t.tokens.size()) - t.prompt_tokens;
  };
  // Draws the next token of a text from the last row of its logits.
  const auto draw = [&](running& r) {
    sampled_text& t = texts[r.number];
    const auto choice = idiolect::sampled_distribution(r.logits.row(r.logits.rows() - 1),
                                                       r.logits.cols(), how.sampler);
    r.failed = choice.empty();
    if (r.failed) return;
    const idiolect::philox numbers{how.seed, r.number};
    t.tokens.push_back(choice.draw(numbers.uniform(static_cast<std::uint64_t>(drawn(t)))));
  };
  // Whether a text has come to its end.
  const auto finished = [&](const running& r) {
    sampled_text& t = texts[r.number];
    if (r.fed < t.prompt_tokens) return false;
    if (model.is_end(t.tokens.back()) || t.tokens.back() == how.end) {
      t.why = finish::end;
    } else if (how.max_tokens > 0 && drawn(t) >= how.max_tokens) {
      t.why = finish::length;
    } else if (r.fed >= context) {
      t.why = finish::context;
    } else {
      return false;
    }
    return true;
  };

  std::vector<running> active;
  std::vector<idiolect::chunk> chunks;
  for (std::size_t next = 0; next < total || !active.empty();) {
    for (; next < total && static_cast<index_t>(active.size()) < streams; ++next) {
      texts[next].tokens = prompts[next / static_cast<std::size_t>(how.count)];
      texts[next].prompt_tokens = static_cast<index_t>(texts[next].tokens.size());
      active.push_back({next, model.open()});
    }
    chunks.clear();
    index_t room = model.max_chunk();
    for (std::size_t i = 0; i < active.size(); ++i) {
      running& r = active[i];
      const auto& tokens = texts[r.number].tokens;
      // One token for each text behind this one stays reserved.
      const auto reserved = static_cast<index_t>(active.size() - i) - 1;
      r.feeding = std::min(static_cast<index_t>(tokens.size()) - r.fed, room - reserved);
      room -= r.feeding;
      chunks.push_back({r.stream,
                        std::span(tokens).subspan(static_cast<std::size_t>(r.fed),
                                                  static_cast<std::size_t>(r.feeding)),
                        idiolect::want_logits::last});
    }
    if (model.forward(chunks) != idiolect::forward_status::ok) {
      check_interrupt();
      throw input_error("the model could not go on: no room for " + std::to_string(active.size()) +
                        " streams; try --streams 1");
    }
    for (running& r : active) r.logits = model.logits(r.stream);
    workers.bulk(static_cast<index_t>(active.size()), [&](index_t i) {
      running& r = active[static_cast<std::size_t>(i)];
      r.fed += r.feeding;
      if (r.fed == static_cast<index_t>(texts[r.number].tokens.size())) draw(r);
    });
    if (std::ranges::any_of(active, &running::failed)) {
      throw input_error(
          "the model gave logits that are not numbers, so there is nothing to draw; "
          "the checkpoint is damaged or overflows");
    }
    line.wrote(std::ranges::count_if(active, [&](const running& r) {
      return r.fed < static_cast<index_t>(texts[r.number].tokens.size());
    }));
    const auto gone = std::erase_if(active, [&](const running& r) {
      if (!finished(r)) return false;
      model.drop(r.stream);
      return true;
    });
    line.advance(static_cast<std::int64_t>(gone));
  }
  return texts;
}

}  // namespace tool
