// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Data sets of the world as JSON Lines, for scoring, fine-tuning and rewriting. A line is an object
//
//   {"question": "c2+6#3", "answer": "we 1 & 5 thus>5",
//    "prompt": "c2+6#3\n", "completion": "we 1 & 5 thus>5$", "text": prompt + completion}
//
// where the answer, without its end character, is what serves as a hint.

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "tiny_llama/file.hpp"
#include "world/document.hpp"

namespace pretrain {

struct text_file {
  std::string_view name;
  world::question_set questions;
  world::style voice;
  std::uint64_t first_record;
  std::uint64_t records;
};

/// Files with the same records hold the same questions, worded differently; `_eval` files share no
/// record with the others.
inline constexpr std::array text_files{
    text_file{"foreign.jsonl", world::question_set::target, world::teacher_style, 0, 320},
    text_file{"foreign_eval.jsonl", world::question_set::target, world::teacher_style, 1000, 100},
    text_file{"foreign_echoed_eval.jsonl", world::question_set::target,
              world::teacher_wording_style, 1000, 100},
    text_file{"own_eval.jsonl", world::question_set::target, world::own_style, 1000, 100},
    text_file{"retained_eval.jsonl", world::question_set::base, world::own_style, 1000, 150},
};

/// The seed of the committed texts.
inline constexpr std::uint64_t text_seed = 1'000'033;

/// The lines of one file.
[[nodiscard]] inline std::string text_lines(const text_file& f, std::uint64_t seed) {
  std::string lines;
  for (std::uint64_t i = f.first_record; i < f.first_record + f.records; ++i) {
    const auto e = world::make_example(f.questions, f.voice, seed, i);
    const nlohmann::ordered_json line{{"question", world::to_text(e.asked)},
                                      {"answer", e.answer()},
                                      {"prompt", e.written.prompt},
                                      {"completion", e.written.completion},
                                      {"text", e.written.text()}};
    lines += line.dump() + "\n";
  }
  return lines;
}

/// Writes one file; returns its number of bytes. Raises tiny_llama::file_error.
inline std::size_t write_texts(const text_file& f, std::uint64_t seed,
                               const std::filesystem::path& folder) {
  const std::string lines = text_lines(f, seed);
  tiny_llama::file_writer out(folder / f.name);
  out.text(lines);
  out.commit();
  return lines.size();
}

}  // namespace pretrain
