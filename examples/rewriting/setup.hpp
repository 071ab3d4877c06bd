// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the examples of rewriting share: the default model, a few questions with foreign solutions,
// and a sink that prints.

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>

#include <idiolect/hinted/rewrite.hpp>

#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/model.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "world/document.hpp"

namespace rewriting {

/// A folder with model.bin and tokenizer.bin: the first argument, or the project's default model.
inline std::filesystem::path model_folder(int argc, char** argv) {
  if (argc > 1) return argv[1];
  return IDIOLECT_DEFAULT_MODEL_DIR;
}

struct setup {
  explicit setup(const std::filesystem::path& folder)
      : tokenizer(tiny_llama::read_tokenizer(folder / "tokenizer.bin")),
        model(tiny_llama::read_checkpoint<float>(folder / "model.bin")) {}

  tiny_llama::tokenizer tokenizer;
  tiny_llama::model<float> model;

  /// The model reads a hint in front of the question; its answers stand behind `>`.
  static idiolect::prompt_templates templates() {
    return {.student = "{question}\n", .teacher = "H{hint}\n{question}\n"};
  }

  static idiolect::hinted_options decoding() {
    idiolect::hinted_options o;
    o.delimiter = ">";
    o.end_tokens = {tiny_llama::end_token};
    o.max_tokens = 128;
    return o;
  }

  /// Question number 0, 1, ..., up to 100 of them.
  static auto questions() {
    return [next = std::uint64_t{0}]() mutable -> std::optional<idiolect::question_answer> {
      if (next == 100) return std::nullopt;
      const auto e =
          world::make_example(world::question_set::target, world::teacher_style, 42, next++);
      return idiolect::question_answer{world::to_text(e.asked), e.answer()};
    };
  }

  /// Prints the first few texts.
  static auto print() {
    return [](idiolect::rewritten<idiolect::question_answer>&& r) {
      if (r.number >= 5) return;
      std::cout << name(r.how) << ", " << r.rollouts << " + " << r.tries << " tries, mean phi "
                << r.cll.mean_phi() << "\n  " << r.record.question << "\n  " << r.record.answer
                << "\n  " << r.text << "\n";
    };
  }

  static void print(const idiolect::rewrite_report& r) {
    std::cout << r.records << " records, " << r.accepted() << " accepted: " << r.rollout
              << " by the student alone, " << r.hinted << " with the hint; mean phi of their texts "
              << r.cll.mean_phi() << "\n";
  }
};

}  // namespace rewriting
