// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// From records to batches: which tokens are learned, what is refused, the order, the padding.

#include "torch_trainer/examples.hpp"

#include <numeric>
#include <set>

#include <idiolect/core/targets.hpp>

#include "examples/tool_support.hpp"

namespace idiolect::test {

using Catch::Matchers::ContainsSubstring;
using torch_trainer::example;
using torch_trainer::example_set;
using torch_trainer::reading;

namespace {

/// Letters are their codes; a turn is 1 role-letter content 2, the assistant's is opened by 1 'a'.
class letters : public torch_trainer::text_encoder {
 public:
  explicit letters(bool chat, bool forgets = false) : chat_(chat), forgets_(forgets) {}

  [[nodiscard]] index_t vocab_size() const override { return 128; }
  [[nodiscard]] bool is_chat() const override { return chat_; }
  void encode_chat(std::span<const chat_turn> turns, std::vector<token_id>& out) const override {
    for (std::size_t i = 0; i < turns.size(); ++i) {
      out.push_back(1);
      out.push_back(turns[i].role.front());
      if (!(forgets_ && turns[i].role == "assistant")) encode_text(turns[i].content, out);
      out.push_back(2);
    }
    out.push_back(1);
    out.push_back('a');
  }
  void encode(std::string_view text, std::vector<token_id>& out) const override {
    out.push_back(0);
    encode_text(text, out);
  }
  void encode_text(std::string_view text, std::vector<token_id>& out) const override {
    out.insert(out.end(), text.begin(), text.end());
  }
  [[nodiscard]] token_id end() const override { return 2; }
  void append_piece(token_id t, std::string& bytes) const override {
    if (t > 2) bytes += static_cast<char>(t);
  }

 private:
  bool chat_, forgets_;
};

/// The tokens as text ("<" 0, "[" 1, "]" 2), and below each target the letter or a dot.
std::string shown(const example& e) {
  const auto letter = [](token_id t) {
    return t == 0 ? '<' : t == 1 ? '[' : t == 2 ? ']' : t == 10 ? '/' : static_cast<char>(t);
  };
  std::string tokens, targets;
  for (const token_id t : e.tokens) tokens += letter(t);
  for (const token_id t : e.targets) targets += t == ignored_target ? '.' : letter(t);
  return tokens + " " + targets;
}

example_set read(const std::string& lines, const torch_trainer::text_encoder* encoder,
                 reading how = {}) {
  const tool_test::scratch folder;
  how.vocab_size = 128;
  return torch_trainer::read_examples(folder.write("r.jsonl", lines), encoder, how);
}

}  // namespace

TEST_CASE("an answer and its end are learned and a prompt is not") {
  const letters chat(true), plain(false);
  reading with_system, without_template;
  with_system.system = "S";
  without_template.plain = true;
  CHECK(shown(read(R"({"question":"xy","answer":"no"})", &chat).examples.at(0)) ==
        "[uxy][ano ......no]");
  CHECK(shown(read(R"({"prompt":"xy","completion":"no"})", &chat, with_system).examples.at(0)) ==
        "[sS][uxy][ano ..........no]");
  CHECK(shown(read(R"({"question":"xy","answer":"no"})", &plain).examples.at(0)) ==
        "<xy/no ...no]");
  CHECK(shown(read(R"({"prompt":"xy","completion":"no"})", &plain).examples.at(0)) ==
        "<xyno ..no]");
  CHECK(
      shown(read(R"({"prompt":"xy","completion":"no"})", &chat, without_template).examples.at(0)) ==
      "<xyno ..no]");
  CHECK(shown(read(R"({"tokens":[65,66,67,68],"prompt_tokens":2})", nullptr).examples.at(0)) ==
        "ABC .CD");
  const auto both =
      read(R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"p"},)"
           R"({"role":"user","content":"y"},{"role":"assistant","content":"q"}],"weight":0.5})",
           &chat);
  CHECK(shown(both.examples.at(0)) == "[ux][ap][uy][aq .....p]......q]");
  CHECK(both.examples[0].weight == 0.5f);
  CHECK(both.trained() == 4);
}

TEST_CASE("long texts are cut and what has nothing left to learn is left out") {
  const letters chat(true);
  reading short_texts;
  short_texts.max_tokens = 8;
  const auto set = read(
      "{\"question\":\"xy\",\"answer\":\"no\"}\n\n"
      "{\"question\":\"a long one\",\"answer\":\"no\"}\n"
      "{\"question\":\"x\",\"answer\":\"yes\"}\n",
      &chat, short_texts);
  CHECK(set.cut == 3);
  CHECK(set.empty == 1);
  REQUIRE(set.examples.size() == 2);
  CHECK(shown(set.examples[0]) == "[uxy][an ......no");
  CHECK(shown(set.examples[1]) == "[ux][aye .....yes");
  CHECK(set.trained() == set.examples[0].trained + set.examples[1].trained);
}

TEST_CASE("a record that cannot be used is named by its line") {
  const letters chat(true), plain(false), forgetful(true, true);
  const auto error = [](const std::string& line, const torch_trainer::text_encoder* encoder) {
    try {
      static_cast<void>(read("{\"tokens\":[1,2]}\n" + line, encoder));
      return std::string("no error");
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
  };
  CHECK_THAT(error("{", &chat), ContainsSubstring("r.jsonl:2: expected a JSON object"));
  CHECK_THAT(error("{}", &chat), ContainsSubstring(":2: expected \"question\""));
  CHECK_THAT(error(R"({"question":"x"})", &chat), ContainsSubstring(":2: expected \"question\""));
  CHECK_THAT(error(R"({"question":"x","prompt":"y","answer":"z"})", &chat),
             ContainsSubstring("found both"));
  CHECK_THAT(error(R"({"question":1,"answer":"z"})", &chat), ContainsSubstring("to be a string"));
  CHECK_THAT(error(R"({"messages":3})", &chat), ContainsSubstring("an array of turns"));
  CHECK_THAT(error(R"({"messages":[{"role":"user","content":"x"}]})", &chat),
             ContainsSubstring("role is \"assistant\""));
  CHECK_THAT(error(R"({"messages":[]})", &plain), ContainsSubstring("chat template"));
  CHECK_THAT(
      error(
          R"({"messages":[{"role":"assistant","content":"x"},{"role":"assistant","content":"y"}]})",
          &forgetful),
      ContainsSubstring("one answer a record"));
  CHECK_THAT(error(R"({"tokens":[1,128]})", &chat), ContainsSubstring("from 0 to 127, found 128"));
  CHECK_THAT(error(R"({"tokens":[1],"prompt_tokens":2})", &chat),
             ContainsSubstring("\"prompt_tokens\""));
  CHECK_THAT(error(R"({"tokens":[1,2],"weight":"high"})", &chat), ContainsSubstring("\"weight\""));
  CHECK_THAT(error(R"({"question":"x","answer":"y"})", nullptr),
             ContainsSubstring("there is no tokenizer"));
}

TEST_CASE("every pass gives every example once in an order of its own") {
  torch_trainer::example_order order(10, 3);
  std::vector<std::size_t> numbers;
  for (std::uint64_t i = 0; i < 30; ++i) numbers.push_back(order[i]);
  for (std::size_t pass = 0; pass < 3; ++pass) {
    const std::span one = std::span(numbers).subspan(10 * pass, 10);
    CHECK(std::set(one.begin(), one.end()).size() == 10);
  }
  CHECK_FALSE(std::equal(numbers.begin(), numbers.begin() + 10, numbers.begin() + 10));
  // Whoever asks later, or backwards, gets the same.
  torch_trainer::example_order other(10, 3);
  for (std::uint64_t i = 30; i-- > 0;) CHECK(other[i] == numbers[i]);
}

TEST_CASE("batches hold each target once and pad little") {
  std::vector<example> examples(5);
  index_t trained = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const std::size_t length = (i * 3) % 5 + 2;
    for (std::size_t k = 0; k < length; ++k) {
      examples[i].tokens.push_back(static_cast<token_id>(10 * i + k + 1));
      examples[i].targets.push_back(k == 0 ? ignored_target
                                           : static_cast<token_id>(10 * i + k + 2));
    }
    trained += static_cast<index_t>(length) - 1;
  }
  examples[2].weight = 3;
  std::vector<const example*> chosen;
  for (const auto& e : examples) chosen.push_back(&e);
  const auto batches = torch_trainer::split(chosen, 2);
  REQUIRE(batches.size() == 3);
  index_t targets = 0, cells = 0;
  for (const auto& b : batches) {
    REQUIRE(b.tokens.size() == static_cast<std::size_t>(b.rows * b.columns));
    cells += b.rows * b.columns;
    targets += static_cast<index_t>(b.targets.size());
    for (std::size_t i = 0; i < b.targets.size(); ++i) {
      CHECK(b.targets[i] == b.tokens[static_cast<std::size_t>(b.positions[i])] + 1);
      const bool third = b.targets[i] / 10 == 2;
      CHECK((b.weights.empty() ? 1.f : b.weights[i]) == (third ? 3.f : 1.f));
    }
  }
  CHECK(targets == trained);
  CHECK(cells == 2 * 3 + 2 * 5 + 6);  // lengths 2 3 | 4 5 | 6
}

}  // namespace idiolect::test
