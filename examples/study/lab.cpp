// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "study/lab.hpp"

#include "pretrain/recipe.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "world/vocabulary.hpp"

namespace study {

namespace {

std::filesystem::path base_file(const store& results, std::uint64_t seed) {
  return results.file(lab::stage(seed, "base.bin"));
}

}  // namespace

json make_base(const settings& how, const store& results, std::uint64_t seed,
               const std::filesystem::path& default_model) {
  pretrain::recipe recipe;
  const bool committed = seed == recipe.seed && how.pretraining_steps == recipe.steps &&
                         std::filesystem::exists(default_model);
  recipe.seed = seed;
  recipe.steps = how.pretraining_steps;
  const auto w = committed ? tiny_llama::read_checkpoint(default_model)
                           : pretrain::train(recipe, idiolect::serial_executor{},
                                             [](index_t, const idiolect::loss_report&, double) {});
  tiny_llama::write_checkpoint(w, base_file(results, seed));
  return {{"parameters", w.size()}, {"committed", committed}};
}

lab open_lab(const settings& how, const store& results, std::uint64_t seed) {
  return {how, results, seed, tiny_llama::read_checkpoint(base_file(results, seed)),
          tiny_llama::character_tokenizer(world::characters)};
}

}  // namespace study
