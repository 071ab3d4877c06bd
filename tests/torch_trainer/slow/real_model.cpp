// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// SmolLM2-135M: the same logits as llama.cpp's, and a short training that helps on questions of the
// same kind that it did not see, whose result runs in llama.cpp.

#include "../llama_cpp.hpp"
#include "torch_trainer/text_encoder.hpp"
#include "torch_trainer/trainer.hpp"
#include "torch_trainer/weights.hpp"

namespace idiolect::test {

TEST_CASE("a real model is trained in LibTorch and runs in llama.cpp") {
  const std::string original =
      std::string(IDIOLECT_TEST_MODELS_DIR) + "/SmolLM2-135M-Instruct.Q4_1.gguf";
  const std::string records = tool_test::real_data("gsm8k/train.jsonl");
  if (records.empty()) return;
  if (!std::filesystem::exists(original)) return skip("no " + original);
  if (std::string(IDIOLECT_TEST_PYTHON).empty()) return skip("no Python with gguf");

  const tool_test::scratch folder;
  const auto encoder = torch_trainer::open_text_encoder(original);
  auto model = torch_trainer::load_model(original);
  tokens text;
  encoder->encode_text(
      "A duck walked into a bar. The barman said: we have no grapes, and we never "
      "had. The duck said that 17 + 25 = 42.",
      text);
  // llama.cpp multiplies weights of 4 bits in another arithmetic, so it gets the same numbers in
  // fp32.
  torch_trainer::save_model(model, folder / ".", torch_trainer::dtype::f32);
  REQUIRE(to_gguf(folder / ".", original, folder / "fp32.gguf", "f32") == 0);
  CHECK(relative_difference(torch_logits(model, text), llama_logits(folder / "fp32.gguf", text)) <
        1e-3);

  torch_trainer::reading how_to_read;
  how_to_read.vocab_size = model.config().vocab_size;
  how_to_read.max_tokens = 200;
  const auto all = torch_trainer::read_examples(records, encoder.get(), how_to_read);
  const auto some = [&](std::size_t first, std::size_t n) {
    torch_trainer::example_set set;
    set.examples.assign(all.examples.begin() + static_cast<std::ptrdiff_t>(first),
                        all.examples.begin() + static_cast<std::ptrdiff_t>(first + n));
    return set;
  };
  const auto texts = some(0, 40), held_out = some(1000, 6);
  torch_trainer::training how;
  how.steps = 8;
  how.batch = 4;
  how.micro_batch = 2;
  how.optimiser.learning_rate = 1e-4;
  const auto before = torch_trainer::evaluate(model, held_out, encoder->end(), how);
  torch_trainer::trainer t(model, texts, encoder->end(), how);
  for (index_t k = 0; k < how.steps; ++k) {
    const auto progress = (static_cast<double>(k) + 0.5) / static_cast<double>(how.steps);
    t.step(progress, [&](double) { return progress; });
  }
  const auto after = torch_trainer::evaluate(model, held_out, encoder->end(), how);
  WARN("held-out NLL " << before.mean_nll << " before, " << after.mean_nll << " after");
  CHECK(after.mean_nll < before.mean_nll - 0.05);

  torch_trainer::save_model(model, folder / ".", torch_trainer::dtype::f32);
  REQUIRE(to_gguf(folder / ".", original, folder / "tuned.gguf", "f32") == 0);
  const at::Tensor tuned = llama_logits(folder / "tuned.gguf", text);
  CHECK(relative_difference(torch_logits(model, text), tuned) < 1e-3);
  CHECK(relative_difference(tuned, llama_logits(folder / "fp32.gguf", text)) > 1e-3);  // it moved
}

}  // namespace idiolect::test
