// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// What hinted decoding is claimed to do, asked of the default model: the data become more the
// model's own, and fewer right answers stand on a wrong step. Both can fail.

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/hinted/recipes.hpp>
#include <idiolect/hinted/reference_score.hpp>

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/model.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "world/document.hpp"
#include "world/verify.hpp"

namespace {

using idiolect::index_t;

constexpr std::uint64_t record_seed = 20'000;  // questions that the model was not trained on
constexpr std::uint64_t record_count = 300;

struct outcome {
  idiolect::rewrite_report report;
  double wrong_steps = 0;  // share of the accepted texts

  [[nodiscard]] double mean_phi() const { return report.cll.mean_phi(); }
};

struct default_model {
  tiny_llama::weights<float> weights;
  tiny_llama::tokenizer tokenizer;

  /// Nothing if the project has no default model here.
  static std::optional<default_model> load() {
    const std::filesystem::path folder =
        std::filesystem::path(IDIOLECT_TEST_SOURCE_DIR) / "examples" / "default_model";
    if (!std::filesystem::exists(folder / "model.bin")) return std::nullopt;
    return default_model{tiny_llama::read_checkpoint<float>(folder / "model.bin"),
                         tiny_llama::read_tokenizer(folder / "tokenizer.bin")};
  }
};

/// Target questions with solutions in the teacher's voice, rewritten with the teacher in the lead
/// (beta 0) or with the student's own voice (beta 1): three tries, no rollouts.
outcome rewrite_targets(const default_model& m, double beta, std::uint64_t seed) {
  using record = world::example;
  const idiolect::thread_executor workers;
  tiny_llama::model<float, idiolect::thread_executor> model(m.weights, {}, workers);
  tiny_llama::model<float, idiolect::thread_executor> scorer(model.shared_weights(), {}, workers);

  idiolect::hinted_options decoding;  // temperature 0.3 after top-p 0.95
  decoding.delimiter = ">";
  decoding.end_tokens = {world::end_token};
  decoding.max_tokens = 128;
  decoding.seed = seed;
  const idiolect::hinted_policy policy(idiolect::cpu{}, m.tokenizer, idiolect::linear_lambda{beta},
                                       decoding);
  idiolect::rewrite_options options;
  options.rollouts = 0;
  options.tries = 3;
  options.decoder.parallel = 64;
  options.reference_score = idiolect::reference_scorer(idiolect::cpu{}, scorer);

  std::uint64_t next = 0;
  index_t wrong = 0;
  outcome result;
  result.report = idiolect::rewrite(
      model, policy,
      [&]() -> std::optional<record> {
        if (next == record_count) return std::nullopt;
        return world::make_example(world::question_set::target, world::teacher_style, record_seed,
                                   next++);
      },
      [](const record& r) {
        idiolect::rewrite_prompt p;
        p.student = world::encode(world::prompt(r.asked));
        p.teacher = world::encode(world::hint_prompt(r.answer(), r.asked));
        world::append_tokens(r.written.completion, p.reference);
        return p;
      },
      [](const record& r, std::string_view text) {
        return world::verify(r.asked, r.worked, text).answer_right;
      },
      [&](idiolect::rewritten<record>&& r) {
        if (!r.accepted()) return;
        wrong += world::verify(r.record.asked, r.record.worked, r.text).trace_right ? 0 : 1;
      },
      options, workers);
  result.wrong_steps = static_cast<double>(wrong) / static_cast<double>(result.report.accepted());
  return result;
}

}  // namespace

TEST_CASE("hinted decoding makes data more the default model's own and its steps truer") {
  const auto m = default_model::load();
  if (!m) return idiolect::test::skip("there is no model in examples/default_model");
  double ratios = 0;
  double self_wrong = 0;
  double hinted_wrong = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const outcome self = rewrite_targets(*m, 0, seed);
    const outcome hinted = rewrite_targets(*m, 1, seed);
    const double foreign = self.report.reference_cll.mean_phi();
    std::cout << "seed " << seed << ": mean CLL foreign " << foreign << ", self-distilled "
              << self.mean_phi() << ", hinted " << hinted.mean_phi() << "; yield "
              << self.report.yield() << " and " << hinted.report.yield() << "; wrong-step traces "
              << self.wrong_steps << " and " << hinted.wrong_steps << "\n";
    CHECK(foreign < self.mean_phi());
    CHECK(self.mean_phi() < hinted.mean_phi());
    CHECK(self.report.yield() > 0.5);
    CHECK(hinted.report.yield() > 0.5);
    ratios += hinted.wrong_steps / self.wrong_steps / 3;
    self_wrong += self.wrong_steps / 3;
    hinted_wrong += hinted.wrong_steps / 3;
  }
  std::cout << "wrong-step traces: " << hinted_wrong << " with the student's voice, " << self_wrong
            << " without; mean of the ratios " << ratios << "\n";
  CHECK(hinted_wrong < 0.7 * self_wrong);
  CHECK(ratios < 0.7);
}
