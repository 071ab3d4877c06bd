// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Rejection sampling: the model's own answers without any hint, kept where the verifier accepts
// them.
//
// usage: example_rejection_sampling [FOLDER with model.bin and tokenizer.bin]

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/hinted/recipes.hpp>

#include "rewriting/setup.hpp"

int main(int argc, char** argv) {
  rewriting::setup s(rewriting::model_folder(argc, argv));

  const idiolect::rewrite_recipe recipe = idiolect::rejection_sampling(/*samples=*/4);
  const idiolect::hinted_policy policy(idiolect::cpu{}, s.tokenizer, recipe.schedule, s.decoding());
  const idiolect::template_prompter prompts(
      s.tokenizer, {.templates = s.templates(), .hint = recipe.hint, .delimiter = ">"});
  const auto report = idiolect::rewrite(s.model, policy, s.questions(), prompts,
                                        idiolect::exact_verifier{">"}, s.print(), recipe.apply());
  s.print(report);
}
