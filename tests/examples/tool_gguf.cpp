// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The tool on GGUF files: the scores that the same weights have as a llama2.c checkpoint, chats in
// the model's template, a real chat model, files that cannot be used, and outputs that would be
// written over what is read.

#include <algorithm>
#include <cmath>

#include "examples/tool_support.hpp"

namespace {

using namespace tool_test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;
using idiolect::index_t;

/// A file that tests/llama_cpp/fixtures.py makes of stories260K; empty, after saying so, where the
/// tool has no llama.cpp or nobody has made it.
std::string fixture(const std::string& name) {
#if defined(IDIOLECT_TEST_GGUF_DIR)
  const std::string path = std::string(IDIOLECT_TEST_GGUF_DIR) + "/" + name;
  if (!tool_is_missing() && fs::exists(path)) return path;
  idiolect::test::skip("no " + name + ": the test `llama_cpp: GGUF files are written` makes it");
#else
  idiolect::test::skip("no " + name + ": the tool is built without llama.cpp (cmake/engines.sh)");
#endif
  return {};
}

std::string smollm2() {
#if defined(IDIOLECT_TEST_MODELS_DIR)
  const std::string path =
      std::string(IDIOLECT_TEST_MODELS_DIR) + "/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!tool_is_missing() && fs::exists(path)) return path;
#endif
  idiolect::test::skip("no SmolLM2, or a tool without llama.cpp (cmake/engines.sh has both)");
  return {};
}

json scored(const scratch& folder, const arguments& args) {
  run_well(arguments{"score", "--json", folder / "s.json"} + args);
  return folder.read_json("s.json");
}

void refuses(const arguments& args, int code, const std::string& message) {
  std::string line;
  for (const auto& word : args) line += word + " ";
  INFO(line);
  const auto o = run(args);
  CHECK(o.code == code);
  CHECK_THAT(o.err, ContainsSubstring(message));
  CHECK(std::ranges::count(o.err, '\n') == 1);  // a line, and nothing of llama.cpp's own
  CHECK(o.out.empty());
}

constexpr const char* story =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball.";

const std::string questions =
    "{\"question\":\"Who is Lily?\",\"answer\":\"Lily is a little girl.\"}\n"
    "{\"question\":\"Where did Tim go?\",\"answer\":\"He went to the park.\"}\n"
    "{\"question\":\"What did she see?\",\"answer\":\"She saw a big red ball.\"}\n";

TEST_CASE("tool: a GGUF has the scores of the checkpoint it was made of") {
  const auto gguf = fixture("stories.gguf");
  if (gguf.empty()) return;
  const auto checkpoint = real_model();
  if (checkpoint.empty()) return;
  const scratch folder;
  std::string lines;
  for (int i = 0; i < 5; ++i)
    lines += std::string(story).substr(0, std::size_t(60 + 15 * i)) + "\n\n";
  const auto in = folder.write("in.txt", lines);
  fs::create_symlink(gguf, folder / "named.bin");  // not the name says what it is
  const arguments text = {"--in", in, "--split", "blank"};
  const auto expected = scored(folder, text + checkpoint);
  for (const arguments& how : std::vector<arguments>{
           {}, {"--streams", "2", "--chunk", "5"}, {"--batch", "7"}, {"--chunk", "1"}}) {
    const auto s =
        scored(folder, text + arguments{"--model", folder / "named.bin", "--threads", "1"} + how);
    CHECK(s["tokens"] == expected["tokens"]);
    for (const char* figure : {"mean_nll", "mean_entropy", "mean_phi"}) {
      CHECK_THAT(s[figure].get<double>(), WithinAbs(expected[figure].get<double>(), 2e-3));
    }
    CHECK(s["model"]["vocab_size"] == 512);
    CHECK_FALSE(s["model"].contains("tokenizer"));
  }
  // Longer than the context: windows, each token once.
  const auto windows =
      scored(folder, text + arguments{"--model", gguf, "--threads", "1", "--context", "20"});
  CHECK(windows["tokens"] == expected["tokens"]);
  CHECK(windows["sequences_in_windows"] == 4);  // the first fits
  CHECK(windows["mean_nll"].get<double>() > expected["mean_nll"].get<double>());
}

TEST_CASE("tool: a GGUF samples, and its samples are its own") {
  const auto gguf = fixture("stories.gguf");
  if (gguf.empty()) return;
  const scratch folder;
  const arguments model = {"--model", gguf, "--threads", "1"};
  run_well(arguments{"sample", "--count", "12", "--max-tokens", "60", "--streams", "5", "--out",
                     folder / "own.jsonl"} +
           model);
  const auto texts = folder.read_lines("own.jsonl");
  REQUIRE(texts.size() == 12);
  for (const auto& t : texts) {
    CHECK(t["tokens"][0] == 1);
    CHECK(t["tokens"].size() <= 61);
    CHECK(t["tokens"].size() > 1);
  }
  const auto s = scored(folder, arguments{"--in", folder / "own.jsonl"} + model);
  CHECK(s["tokens"].get<int>() > 300);
  CHECK(std::fabs(s["mean_phi"].get<double>()) < 3 * s["standard_error"].get<double>());

  // Only a text that has ended is closed.
  index_t open_ends = 0;
  for (const auto& t : texts) open_ends += t["finish"] == "end" && t["tokens"].back() != 1;
  const auto closed = scored(folder, arguments{"--in", folder / "own.jsonl", "--with-end"} + model);
  CHECK(closed["tokens"].get<index_t>() == s["tokens"].get<index_t>() + open_ends);

  const auto said = run_well(
      arguments{"sample", "--prompt", "Tim was", "--temperature", "0", "--max-tokens", "3"} +
      model);
  CHECK_THAT(said.out, ContainsSubstring("finish: length"));
}

// llama.cpp orders the rows of a call when it is asked for one: two threads that ask at once would
// draw from each other's.
TEST_CASE("tool: a GGUF samples the same texts with any number of threads") {
  const auto gguf = fixture("stories.gguf");
  if (gguf.empty()) return;
  const scratch folder;
  std::string prompts;  // of many lengths, so that calls have rows to order
  for (std::size_t n = 0; n < 400; ++n) {
    prompts += nlohmann::json{{"prompt", std::string(story).substr(0, 3 + n * 5 % 120)}}.dump();
    prompts += '\n';
  }
  const auto in = folder.write("prompts.jsonl", prompts);
  const auto sampled = [&](const std::string& threads) {
    run_well({"sample", "--model", gguf, "--threads", threads, "--streams", "16", "--prompts", in,
              "--max-tokens", "3", "--out", folder / "own.jsonl"});
    return folder.read_lines("own.jsonl");
  };
  const auto alone = sampled("1");
  for (int repeat = 0; repeat < 3; ++repeat) CHECK(sampled("4") == alone);
}

TEST_CASE("tool: a chat is scored, sampled and rewritten in the model's template") {
  const auto gguf = fixture("chat_chatml.gguf");
  if (gguf.empty()) return;
  const scratch folder;
  const arguments model = {"--model", gguf, "--threads", "1"};
  const arguments chat = model + arguments{"--chat", "--system", "Be kind."};
  const auto in = folder.write("qa.jsonl", questions);

  // What is scored is the answer and, asked for, the end of the turn. The prompt is the template's.
  run_well(arguments{"score", "--in", in, "--with-end", "--per-token", folder / "t.jsonl"} + chat);
  std::string answer;
  std::string last;
  for (const auto& t : folder.read_lines("t.jsonl")) {
    if (t["sequence"] != 0) break;
    answer += last;
    last = t["piece"];
  }
  CHECK(answer == "Lily is a little girl.");
  CHECK(last == "<|im_end|>");
  const auto with = scored(folder, arguments{"--in", in} + chat);
  const auto without = scored(folder, arguments{"--in", in} + model);
  CHECK(with["tokens"] == without["tokens"]);
  CHECK(with["mean_nll"] != without["mean_nll"]);
  CHECK(with["model"]["chat"]["system"] == "Be kind.");

  run_well(arguments{"sample", "--prompts", in, "--count", "2", "--max-tokens", "12", "--out",
                     folder / "a.jsonl"} +
           chat);
  const auto answers = folder.read_lines("a.jsonl");
  REQUIRE(answers.size() == 6);
  CHECK(answers[2]["question"] == "Where did Tim go?");
  CHECK(answers[2]["answer"].is_string());
  CHECK(answers[2]["prompt_tokens"] == answers[3]["prompt_tokens"]);
  // The tokens that were drawn are scored, as they are.
  const auto own = scored(folder, arguments{"--in", folder / "a.jsonl"} + chat);
  CHECK(std::fabs(own["mean_phi"].get<double>()) < 4 * own["standard_error"].get<double>());

  const arguments rewrite =
      arguments{"rewrite",      "--in", in,           "--verifier", "none",
                "--tries",      "1",    "--rollouts", "0",          "--accept-cut",
                "--max-tokens", "16",   "--parallel", "2",          "--out"} +
      std::vector<std::string>{folder / "r.jsonl"} + chat;
  run_well(rewrite);
  const auto lines = folder.read_lines("r.jsonl");
  REQUIRE(lines.size() == 3);
  const auto begin = answers[0]["tokens"].begin();
  const std::vector<int> prompt(begin, begin + answers[0]["prompt_tokens"].get<int>());
  const std::vector<int> tokens = lines[0]["tokens"];
  REQUIRE(lines[0]["prompt_tokens"] == prompt.size());  // the student reads what `sample` gave it
  CHECK(std::equal(prompt.begin(), prompt.end(), tokens.begin()));
  CHECK(lines[0]["how"] == "hinted");
  // The reference is scored as `score --with-end` does it.
  run_well(arguments{"score", "--in", in, "--with-end", "--json", folder / "e.json"} + chat);
  const auto reference = folder.read_json("e.json")["by_sequence"][0];
  CHECK(lines[0]["reference_cll"]["tokens"] == reference["tokens"]);
  CHECK_THAT(lines[0]["reference_cll"]["mean_nll"].get<double>(),
             WithinAbs(reference["mean_nll"].get<double>(), 2e-3));
  run_well(arguments{"score", "--in", folder / "r.jsonl"} + chat);
}

TEST_CASE("tool: GGUF files that cannot be used") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto in = folder.write("in.txt", "abc");
  const auto score = [&](const std::string& model) {
    return arguments{"score", "--in", in, "--model", model};
  };
  const auto header = folder.write("header.gguf", "GGUF");
#if !defined(IDIOLECT_TEST_GGUF_DIR)
  refuses(score(header), 1, "bash cmake/engines.sh");
#else
  refuses(score(header), 1, "header.gguf: is a GGUF that is cut off in its header: 4 bytes");
  const std::string three("GGUF\3\0\0\0", 8);
  refuses(score(folder.write("many.gguf", three + std::string(16, '\x7f') + std::string(100, 'x'))),
          1, "many.gguf: is a damaged GGUF: its header speaks of");
  refuses(score(folder.write("order.gguf", std::string("GGUF\0\0\0\3", 8) + std::string(64, '\0'))),
          1, "other byte order");
  refuses(score(folder.write("none.gguf", three + std::string(16, '\0') + std::string(64, '\0'))),
          1, "none.gguf: is a GGUF that llama.cpp cannot use");
  if (fixture("cut.gguf").empty()) return;
  refuses(score(fixture("cut.gguf")), 1, "cut.gguf: is a GGUF that llama.cpp cannot use: ");
  refuses(score(fixture("encoder.gguf")), 1, "encoder.gguf: ");
  refuses(score(fixture("no_vocabulary.gguf")), 1, "no_vocabulary.gguf: ");
#endif
}

TEST_CASE("tool: options that make no sense with a GGUF, or without one") {
  const auto gguf = fixture("stories.gguf");
  if (gguf.empty()) return;
  const scratch folder;
  const auto tiny = tiny_model(folder);
  const auto in = folder.write("in.txt", "abc");
  const arguments score = {"score", "--in", in, "--model", gguf};
  const arguments sample = {"sample", "--prompt", "a", "--model", gguf};
  refuses(score + arguments{"--tokenizer", folder / "tokenizer.bin"}, 2, "brings its own");
  refuses(score + arguments{"--context", "100000"}, 2, "--context: expected at most the 512");
  refuses(score + arguments{"--context", "-1"}, 2, "--context: expected a number from 8");
  refuses(score + arguments{"--overlap", "512"}, 2, "from 0 to 511");
  refuses(score + arguments{"--chunk", "0"}, 2, "--chunk");
  refuses(score + arguments{"--gpu-layers", "-3"}, 2, "--gpu-layers");
  refuses(score + arguments{"--end-token", "512"}, 2, "--end-token");
  refuses(score + arguments{"--system", "x"}, 2, "--system belongs to --chat");
  refuses(score + arguments{"--chat"}, 2, "no chat template");
  refuses(sample + arguments{"--count", "300", "--streams", "300"}, 2, "at most 256 streams");
  refuses(arguments{"score", "--in", in, "--chat"} + tiny, 2, "no template for conversations");
  refuses(arguments{"score", "--in", in, "--context", "9"} + tiny, 2, "belongs to a GGUF");
  refuses({"finetune", "--in", in, "--out", folder / "x.bin", "--model", gguf}, 2,
          "examples/torch_trainer");
  refuses({"tour", "--own", in, "--foreign", in, "--model", gguf}, 2, "examples/torch_trainer");

  const auto chat = fixture("chat_chatml.gguf");
  if (chat.empty()) return;
  refuses({"score", "--in", in, "--model", chat, "--chat"}, 1, "--chat needs a question");
  const auto qa = folder.write("qa.jsonl", questions);
  refuses({"score", "--in", qa, "--model", chat, "--chat", "--whole"}, 2, "exclude each other");
  CHECK(folder.files() == 4);  // nothing was written
}

TEST_CASE("tool: no output is written over what is read") {
  if (tool_is_missing()) return;
  const scratch folder;
  const auto model = tiny_model(folder);
  const auto text = folder.write("in.jsonl", questions);
  fs::create_hard_link(folder / "model.bin", folder / "hard");
  fs::create_symlink(folder / "tokenizer.bin", folder / "soft");
  const std::string weights = read_all(folder / "model.bin");
  const std::string pieces = read_all(folder / "tokenizer.bin");
  const arguments unknown = model + arguments{"--unknown", "keep"};
  const std::vector<arguments> all = {
      {"score", "--in", text, "--json", folder / "hard"},
      {"score", "--in", text, "--per-token", folder / "soft"},
      {"score", "--in", text, "--per-token", folder / "x", "--json", folder / "./x"},
      {"sample", "--out", folder / "model.bin"},
      {"sample", "--prompts", text, "--out",
       folder / "../" + fs::path(text).parent_path().filename().string() + "/in.jsonl"},
      {"finetune", "--in", text, "--out", folder / "soft", "--steps", "1"},
      {"finetune", "--in", text, "--out", folder / "z.bin", "--steps", "1", "--json",
       folder / "hard"},
      {"finetune", "--in", text, "--out", folder / "z.bin", "--eval", text, "--json", text},
      {"tour", "--own", text, "--foreign", text, "--json", folder / "hard"},
      {"rewrite", "--in", text, "--out", folder / "hard"},
      {"rewrite", "--in", text, "--out", folder / "r", "--rejected", folder / "soft"}};
  for (const auto& args : all) refuses(args + unknown, 2, "would replace the file of");
  // Also what is only written for a while, and a model that no option names.
  const auto busy = folder.write("r.unfinished", questions);
  refuses(arguments{"rewrite", "--in", busy, "--out", folder / "r"} + unknown, 2,
          "would replace the file of --in");
  // A name that the tool would use for a while is somebody's file: it stays.
  const auto notes = folder.write("s.json.partial", "my notes");
  run_well(arguments{"score", "--in", text, "--json", folder / "s.json"} + unknown);
  CHECK(read_all(notes) == "my notes");
  CHECK(read_all(folder / "model.bin") == weights);
  CHECK(read_all(folder / "tokenizer.bin") == pieces);
  CHECK(read_all(text) == questions);
  CHECK(read_all(busy) == questions);
  CHECK(folder.files() == 8);
}

TEST_CASE("tool: SmolLM2 answers and is scored as a chat") {
  const auto gguf = smollm2();
  if (gguf.empty()) return;
  const scratch folder;
  const arguments model = {"--model", gguf, "--threads", "1", "--chat"};
  const auto in =
      folder.write("qa.jsonl",
                   "{\"question\":\"What is the capital of France?\",\"answer\":\"The capital of "
                   "France is Paris.\"}\n");
  const auto said = run_well(arguments{"sample", "--prompts", in, "--temperature", "0",
                                       "--max-tokens", "12", "--out", folder / "a.jsonl"} +
                             model);
  const auto answer = folder.read_lines("a.jsonl").at(0);
  CHECK_THAT(answer["answer"].get<std::string>(), ContainsSubstring("Paris"));
  const auto s = scored(folder, arguments{"--in", in, "--with-end"} + model);
  CHECK(s["tokens"] == 8);
  CHECK(s["mean_nll"].get<double>() < 1);
  // A question is text, whatever it looks like.
  const auto odd = folder.write("odd.jsonl", "{\"question\":\"<|im_end|>\",\"answer\":\"?\"}\n");
  run_well(arguments{"sample", "--prompts", odd, "--max-tokens", "1", "--out", folder / "o.jsonl"} +
           model);
  const auto ends = [](const json& text) {
    const std::vector<int> all = text["tokens"];
    return std::count(all.begin(), all.begin() + text["prompt_tokens"].get<int>(), 2);
  };
  CHECK(ends(folder.read_lines("o.jsonl").at(0)) == ends(answer));
}

}  // namespace
