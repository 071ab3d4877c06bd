// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The committed default model and its texts: what examples/default_model/README.md says of them.

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/model.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "world/vocabulary.hpp"

#if __has_include(<nlohmann/json.hpp>)
#include "pretrain/evaluate.hpp"
#include "pretrain/recipe.hpp"
#include "pretrain/texts.hpp"
#include "world/verify.hpp"

namespace {

const std::filesystem::path folder =
    std::filesystem::path(IDIOLECT_TEST_SOURCE_DIR) / "examples" / "default_model";

tiny_llama::model<> load() {
  return tiny_llama::model<>(tiny_llama::read_checkpoint(folder / "model.bin"));
}

}  // namespace

TEST_CASE("default model: checkpoint and vocabulary have the shape of the recipe", "[world]") {
  const auto w = tiny_llama::read_checkpoint(folder / "model.bin");
  CHECK(w.shape() == pretrain::recipe{}.shape);
  CHECK(std::filesystem::file_size(folder / "model.bin") < 1'000'000);
  const auto tokenizer = tiny_llama::read_tokenizer(folder / "tokenizer.bin", w.shape().vocab_size);
  std::vector<world::token_id> tokens;
  tokenizer.encode("c2+6#3\nok 2+6=1;1#3=5>5$", tokens);
  CHECK(tokens == world::encode("c2+6#3\nok 2+6=1;1#3=5>5$"));
}

TEST_CASE("default model: it solves the base tasks and half of the target task", "[world]") {
  auto model = load();
  const auto solve = [&](world::question_set set) {
    const auto t = pretrain::make_test(set, world::own_style, 77, 200);
    return pretrain::judge(t.trials, pretrain::answer_all(model, t.trials, 0.0, 77));
  };
  const auto base = solve(world::question_set::base);
  CHECK(base.right > 0.93);
  CHECK(base.closed > 0.98);
  const auto target = solve(world::question_set::target);
  CHECK(target.right > 0.28);
  CHECK(target.right < 0.72);
  CHECK(target.closed > 0.98);
}

TEST_CASE("default model: its own samples have mean CLL 0 and the teacher's text does not",
          "[world]") {
  auto model = load();
  const auto t = pretrain::make_test(world::question_set::target, world::teacher_style, 78, 200);
  const auto sampled = pretrain::answer_all(model, t.trials, 1.0, 78);
  const auto own = pretrain::score_all(model, t.trials, sampled);
  CHECK(own.tokens > 4000);
  CHECK(std::abs(own.z) < 3.5);
  CHECK(std::abs(own.phi) < 0.03);
  const auto foreign = pretrain::score_all(model, t.trials, t.written);
  CHECK(foreign.phi < -0.3);
  CHECK(foreign.z < -20);
}

TEST_CASE("default model: it reads results from a hint that nothing else could tell", "[world]") {
  auto model = load();
  const auto trials = pretrain::make_ruleless_hints(79, 200);
  const auto a = pretrain::judge(trials, pretrain::answer_all(model, trials, 0.0, 79));
  CHECK(a.right > 0.7);  // one in seven by chance
}

TEST_CASE("default model: the committed texts are what the world writes", "[world]") {
  for (const auto& f : pretrain::text_files) {
    INFO(f.name);
    std::ifstream file(folder / "texts" / f.name, std::ios::binary);
    REQUIRE(file.good());
    std::ostringstream committed;
    committed << file.rdbuf();
    CHECK(committed.str() == pretrain::text_lines(f, pretrain::text_seed));
  }
}
#endif
