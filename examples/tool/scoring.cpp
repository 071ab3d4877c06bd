// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "tool/scoring.hpp"

#include <algorithm>
#include <deque>

#include <idiolect/backend/cpu/cpu.hpp>

#include "tool/errors.hpp"
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
  return jobs;
}

}  // namespace

std::vector<scored_sequence> score_all(language_model& model, const executor& workers,
                                       std::span<const sequence> sequences, const scoring& how,
                                       const std::string& label) {
  const index_t context = model.context_size();
  const index_t overlap = how.overlap.value_or(context / 2);
  require_usage(overlap >= 0 && overlap < context,
                "--overlap: expected a number of tokens from 0 to " + std::to_string(context - 1) +
                    " (the model's context is " + std::to_string(context) + "), found " +
                    std::to_string(overlap));
  require_usage(how.streams > 0 && how.chunk > 0, "--streams and --chunk: expected numbers from 1");

  std::vector<scored_sequence> results(sequences.size());
  auto waiting = plan(sequences, results, context, overlap);
  index_t rows = 0;
  for (const job& j : waiting) rows += j.rows.rows;
  progress line(label, rows, "tokens");

  // No more than 64 MiB of logits at a time, and what the model takes in one call.
  const index_t most_rows =
      std::min(model.max_chunk(), std::max<index_t>(1, (index_t{1} << 24) / model.vocab_size()));
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
    if (model.forward(chunks) != idiolect::forward_status::ok) {
      throw input_error("the model could not go on: no room for " + std::to_string(active.size()) +
                        " streams; try --streams 1");
    }
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
