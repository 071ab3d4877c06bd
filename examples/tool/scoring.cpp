// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/scoring.hpp"

#include <algorithm>
#include <deque>
#include <functional>

#include <idiolect/backend/cpu/cpu.hpp>

#include "tool/errors.hpp"
#include "tool/interrupt.hpp"
#include "tool/progress.hpp"
#include "tool/windows.hpp"

namespace tool {

namespace {

using idiolect::token_score;

/// A window on its way through the model.
struct job {
  const sequence* text;
  std::vector<token_score>* scores;
  window rows;
  idiolect::stream_id stream = -1;
  index_t done = 0;  // rows of the window

  [[nodiscard]] index_t next_row() const { return rows.first + done; }

  /// The first row of the window whose prediction is scored.
  [[nodiscard]] index_t first_wanted() const {
    return std::max(rows.first + rows.repeated, text->first_scored - 1);
  }
};

/// Scores the tokens that the last `count` rows predict, as far as they are wanted here.
void take_scores(const job& j, index_t count, const language_model& model, const executor& workers,
                 const idiolect::score_options& options) {
  const index_t begin = j.next_row();
  const index_t end = begin + count;
  const index_t first = std::clamp(j.first_wanted(), begin, end);
  if (first == end) return;
  const auto logits = model.logits(j.stream).block(first - begin, end - first);
  const auto targets =
      std::span(j.text->tokens)
          .subspan(static_cast<std::size_t>(first) + 1, static_cast<std::size_t>(end - first));
  const auto scores = idiolect::score(idiolect::cpu{workers}, logits, targets, options);
  std::ranges::copy(scores, j.scores->begin() + (first + 1 - j.text->first_scored));
}

std::deque<job> plan(std::span<const sequence> sequences, std::vector<scored_sequence>& results,
                     index_t context, index_t overlap) {
  std::deque<job> jobs;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const sequence& s = sequences[i];
    results[i].tokens.resize(static_cast<std::size_t>(s.scored()));
    const auto windows = cut_windows(static_cast<index_t>(s.tokens.size()), context, overlap);
    results[i].windows = static_cast<index_t>(windows.size());
    for (const window& w : windows) {
      const job j{&s, &results[i].tokens, w};
      if (w.first + w.rows > j.first_wanted()) jobs.push_back(j);
    }
  }
  // The longest first: at the end of the work there are then still several side by side.
  std::ranges::stable_sort(jobs, std::ranges::greater{}, [](const job& j) { return j.rows.rows; });
  return jobs;
}

/// What a call of `forward` may come back with other than ok. Raises.
[[noreturn]] void could_not_go_on(std::size_t streams) {
  check_interrupt();
  throw input_error("the model could not go on: no room for " + std::to_string(streams) +
                    " streams; try --streams 1");
}

}  // namespace

void check_overlap(const scoring& how, index_t context) {
  const index_t overlap = how.overlap.value_or(context / 2);
  require_usage(overlap >= 0 && overlap < context,
                "--overlap: expected a number of tokens from 0 to " + std::to_string(context - 1) +
                    " (the model's context is " + std::to_string(context) + "), found " +
                    std::to_string(overlap));
}

demand demand_of(std::span<const std::vector<sequence>> texts, const scoring& how) {
  index_t count = 0;
  index_t longest = 1;
  for (const auto& sequences : texts) {
    for (const sequence& s : sequences) {
      const auto rows = static_cast<index_t>(s.tokens.size()) - 1;
      count += 1 + rows / std::max<index_t>(1, how.context);
      longest = std::max(longest, rows);
    }
  }
  const index_t streams = std::min(how.streams, count);
  return {.streams = streams,
          .tokens = how.context > 0 ? std::min(longest, how.context) : longest,
          .rows = streams * how.chunk};
}

std::vector<scored_sequence> score_all(language_model& model, const executor& workers,
                                       std::span<const sequence> sequences, const scoring& how,
                                       const std::string& label) {
  const index_t context = how.context > 0 ? how.context : model.context_size();
  const index_t overlap = how.overlap.value_or(context / 2);
  check_overlap(how, context);
  require_usage(how.streams > 0 && how.chunk > 0, "--streams and --chunk: expected numbers from 1");

  std::vector<scored_sequence> results(sequences.size());
  auto waiting = plan(sequences, results, context, overlap);
  index_t rows = 0;
  for (const job& j : waiting) rows += j.rows.rows;
  progress line(label, rows, "tokens");

  // No more than 128 MiB of logits at a time, and what the model takes in one call.
  const index_t most_rows =
      std::min(model.max_chunk(), std::max<index_t>(1, (index_t{1} << 25) / model.vocab_size()));
  const index_t streams = std::min({how.streams, model.max_streams(), most_rows});
  const index_t chunk_rows = std::min(how.chunk, most_rows / streams);

  std::vector<job> active;
  std::vector<idiolect::chunk> chunks;
  while (!waiting.empty() || !active.empty()) {
    while (!waiting.empty() && static_cast<index_t>(active.size()) < streams) {
      active.push_back(waiting.front());
      active.back().stream = model.open();
      waiting.pop_front();
    }
    chunks.clear();
    for (const job& j : active) {
      const index_t count = std::min(chunk_rows, j.rows.rows - j.done);
      const bool scored = j.next_row() + count > j.first_wanted();
      chunks.push_back(
          {j.stream,
           std::span(j.text->tokens)
               .subspan(static_cast<std::size_t>(j.next_row()), static_cast<std::size_t>(count)),
           scored ? idiolect::want_logits::all : idiolect::want_logits::none});
    }
    if (model.forward(chunks) != idiolect::forward_status::ok) could_not_go_on(active.size());
    index_t advanced = 0;
    for (std::size_t i = 0; i < active.size(); ++i) {
      const auto count = static_cast<index_t>(chunks[i].tokens.size());
      take_scores(active[i], count, model, workers, how.tokens);
      active[i].done += count;
      advanced += count;
    }
    std::erase_if(active, [&](const job& j) {
      if (j.done < j.rows.rows) return false;
      model.drop(j.stream);
      return true;
    });
    line.advance(advanced);
  }
  return results;
}

std::vector<idiolect::sequence_score> by_sequence(std::span<const scored_sequence> scores) {
  std::vector<idiolect::sequence_score> result;
  result.reserve(scores.size());
  for (const auto& s : scores) result.push_back(idiolect::score_sequence(s.tokens));
  return result;
}

}  // namespace tool
