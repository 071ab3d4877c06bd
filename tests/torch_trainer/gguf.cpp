// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// GGUF files of a real tiny model: read, trained, written back, all with llama.cpp's logits.

#include "llama_cpp.hpp"
#include "torch_trainer/gguf_file.hpp"
#include "torch_trainer/text_encoder.hpp"
#include "torch_trainer/weights.hpp"

namespace idiolect::test {

using Catch::Matchers::ContainsSubstring;

namespace {
std::string gguf_file_named(const std::string& name) {
  return std::string(IDIOLECT_TEST_GGUF_DIR) + "/" + name + ".gguf";
}
}  // namespace

TEST_CASE("a GGUF model has llama.cpp's logits and goes back to llama.cpp") {
  if (!fixture("stories", true)) return;
  const std::string original = gguf_file_named("stories");
  const tokens text = some_text(60);
  const auto model = torch_trainer::load_model(original);
  const at::Tensor expected = llama_logits(original, text);
  CHECK(relative_difference(torch_logits(model, text), expected) < 1e-5);

  const tool_test::scratch folder;
  torch_trainer::save_model(model, folder / ".", torch_trainer::dtype::f32);
  REQUIRE(to_gguf(folder / ".", original, folder / "back.gguf", "f32") == 0);
  CHECK(largest_difference(llama_logits(folder / "back.gguf", text), expected) == 0);
  REQUIRE(to_gguf(folder / ".", original, folder / "half.gguf", "f16") == 0);
  // 11 bits of each weight.
  CHECK(relative_difference(llama_logits(folder / "half.gguf", text), expected) < 3e-3);
  const auto half = torch_trainer::load_model(folder / "half.gguf");
  CHECK(relative_difference(torch_logits(half, text), expected) < 3e-3);
}

TEST_CASE("a GGUF file that is no llama or not whole is refused") {
  if (!fixture("stories", true)) return;
  const auto error = [](const std::string& path) {
    try {
      const torch_trainer::gguf_file file(path);
      return std::string("no error");
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
  };
  CHECK(error(gguf_file_named("stories")) == "no error");
  CHECK_THAT(error(gguf_file_named("recurrent")), ContainsSubstring("found mamba"));
  CHECK_THAT(error(gguf_file_named("cut")), ContainsSubstring("the file is cut off"));
  const tool_test::scratch folder;
  CHECK_THAT(error(folder.write("x.gguf", "GGUF")), ContainsSubstring("its header cannot be read"));
  CHECK_THAT(error(folder / "none.gguf"), ContainsSubstring("cannot be read"));
}

TEST_CASE("answers are learned in the model's own chat template") {
  if (!fixture("chat_chatml", true)) return;
  const auto encoder = torch_trainer::open_text_encoder(gguf_file_named("chat_chatml"));
  const auto model = fixture("chat_chatml", true);
  const llama_vocab* const vocab = llama_model_get_vocab(model.get());
  const auto token = [&](const std::string& text) {
    token_id t = -1;
    REQUIRE(llama_tokenize(vocab, text.data(), static_cast<int>(text.size()), &t, 1, false, true) ==
            1);
    return t;
  };
  REQUIRE(encoder->is_chat());
  CHECK(encoder->end() == token("<|im_end|>"));

  const tool_test::scratch folder;
  torch_trainer::reading how;
  how.vocab_size = encoder->vocab_size();
  const auto set = torch_trainer::read_examples(
      folder.write("r.jsonl", R"({"question":"Who is it?","answer":"A dog <|im_end|>"})"),
      encoder.get(), how);
  const auto& e = set.examples.at(0);
  CHECK(std::ranges::count(e.tokens, token("<|im_end|>")) == 1);  // the question's
  CHECK(e.targets.back() == token("<|im_end|>"));
  // What the answer spells is text: the end is learned once, where it ends.
  CHECK(std::ranges::count(e.targets, token("<|im_end|>")) == 1);
  std::string learned;
  for (const token_id t : e.targets) {
    if (t != ignored_target && t != encoder->end()) encoder->append_piece(t, learned);
  }
  CHECK(learned == "A dog <|im_end|>");
}

}  // namespace idiolect::test
