// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Templates and prompts: what is filled in is not looked at again, and question and reference are
// one text, whatever pieces a vocabulary has.

#include <idiolect/hinted/prompts.hpp>
#include <idiolect/hinted/stop.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.hpp"
#include "tiny_llama/tokenizer.hpp"

namespace idiolect::fuzz {
namespace {

/// By the definition: placeholder by placeholder, from the front.
std::string filled(std::string_view text, std::string_view question, std::string_view hint) {
  std::string out;
  for (;;) {
    const auto q = text.find("{question}");
    const auto h = text.find("{hint}");
    if (q == std::string_view::npos && h == std::string_view::npos) return out += text;
    const auto at = std::min(q, h);
    out += text.substr(0, at);
    out += q < h ? question : hint;
    text.remove_prefix(at + (q < h ? 10 : 6));
  }
}

/// A vocabulary of bytes, and of what the input says.
tiny_llama::tokenizer vocabulary(input& in) {
  static const auto bytes = [] {
    std::vector<tiny_llama::tokenizer::piece> p = {{"<unk>", 0}, {"<s>", 0}, {"</s>", 0}};
    for (unsigned b = 0; b < 256; ++b) {
      char spelled[8];
      std::snprintf(spelled, sizeof spelled, "<0x%02X>", b);
      p.push_back({spelled, 0});
    }
    return p;
  }();
  auto pieces = bytes;
  for (index_t n = in.below(12); n > 0; --n) {
    pieces.push_back({in.text(5), static_cast<float>(in.share())});
  }
  return tiny_llama::tokenizer(std::move(pieces));
}

void run(input in) {
  const tiny_llama::tokenizer t = vocabulary(in);
  prompter_options o;
  o.templates.student = in.text(60);
  o.templates.teacher = in.text(60);
  if (in.coin()) o.templates.student += "{question}";
  if (in.coin()) o.templates.teacher += "{question}{hint}";
  o.hint = in.coin() ? hint_content::answer : hint_content::solution;
  o.delimiter = in.text(4);
  const question_answer record{in.text(60), in.text()};

  const std::string asked = fill_template(o.templates.student, record.question, record.answer);
  expect(asked == filled(o.templates.student, record.question, record.answer), "another filling");
  expect(fill_template("{question}", record.question, {}) == record.question, "another question");
  if (const auto a = answer_after(record.answer, o.delimiter)) {
    expect(record.answer.find(*a) != std::string::npos, "an answer that is not in the text");
  }
  expect(record.answer.starts_with(complete_utf8(record.answer)), "not a beginning");

  std::vector<token_id> tokens;
  t.encode(asked, tokens);
  expect(t.decode(tokens) == asked, "a text that does not come back");
  try {
    const template_prompter prompts(t, o);
    const rewrite_prompt p = prompts(record);
    std::vector<token_id> whole;
    t.encode(fill_template(o.templates.student, record.question, {}) + record.answer, whole);
    const auto before = p.before_reference();
    std::vector<token_id> put_together(before.begin(), before.end());
    put_together.insert(put_together.end(), p.reference.begin(), p.reference.end());
    expect(put_together == whole, "question and reference are not one text");
  } catch (const shape_error&) {
  }
}

}  // namespace
}  // namespace idiolect::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  idiolect::fuzz::run({data, size});
  return 0;
}
