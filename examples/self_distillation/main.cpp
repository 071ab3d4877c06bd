// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Self-distillation: the model rewords a solution that it was shown. Lambda is 0 throughout: the
// teacher, which has the solution in its context, speaks alone.
//
// usage: example_self_distillation [FOLDER with model.bin and tokenizer.bin]

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/hinted/recipes.hpp>

#include "rewriting/setup.hpp"

int main(int argc, char** argv) {
  rewriting::setup s(rewriting::model_folder(argc, argv));

  const idiolect::rewrite_recipe recipe = idiolect::self_distillation();
  const idiolect::hinted_policy policy(idiolect::cpu{}, s.tokenizer, recipe.schedule, s.decoding());
  const idiolect::template_prompter prompts(
      s.tokenizer, {.templates = s.templates(), .hint = recipe.hint, .delimiter = ">"});
  const auto report = idiolect::rewrite(s.model, policy, s.questions(), prompts,
                                        idiolect::exact_verifier{">"}, s.print(), recipe.apply());
  s.print(report);
}
