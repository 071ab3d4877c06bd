// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The tool's readers of JSON Lines and plain text, and its spelling of bytes: any file is either
// read, each record at its place and with something in it, or refused with file and line.

#include <string>
#include <string_view>

#include "fuzz/input.hpp"
#include "tool/errors.hpp"
#include "tool/fingerprint.hpp"
#include "tool/records.hpp"
#include "tool/rewrite_records.hpp"
#include "tool/text.hpp"

namespace idiolect::fuzz {
namespace {

const tool::loaded_model& model() {
  static const tool::loaded_model m = tool::load({});
  return m;
}

void records(input& in, const memory_file& file) {
  tool::reading how;
  how.kind = in.one_of(
      {tool::reading::format::text, tool::reading::format::jsonl, tool::reading::format::jsonl});
  if (in.coin()) how.split = in.coin() ? "blank" : in.text(3);
  if (how.split && how.split->empty()) how.split.reset();  // refused by the options
  how.strip = in.coin();
  how.whole = in.coin();
  if (in.coin()) how.join = in.text(3);
  const bool prompts = in.coin();
  file.write(in.rest());
  const auto found =
      prompts ? tool::read_prompts(file.path(), how) : tool::read_records(file.path(), how);
  expect(!found.empty(), "no records, and no error");
  for (const tool::record& r : found) {
    expect(r.where.starts_with(file.path() + ":"), "a record without a place");
    if (prompts) continue;
    expect(!r.text.empty() || r.tokens.size() > 1, "a record with nothing in it");
    expect(r.prompt_tokens >= 1 &&
               (r.tokens.empty() || r.prompt_tokens < static_cast<index_t>(r.tokens.size())),
           "a border outside the tokens");
  }
}

void source(input& in, const memory_file& file) {
  tool::prompting how;
  how.templates = {"{question}\n", "H{hint}\n{question}\n", {}};
  how.delimiter = in.coin() ? ">" : "";
  how.hint = in.coin() ? hint_content::answer : hint_content::solution;
  const std::string bytes(in.rest());
  file.write(bytes);
  const auto found = tool::read_source(file.path(), model(), how);
  for (const tool::source_record& r : found.records) {
    expect(!r.question.empty() && !r.prompt.student.empty(), "a record without a question");
    expect(r.line >= 1, "a record without a line");
  }
  for (const std::string& b : found.bad) {
    expect(b.starts_with(file.path() + ":"), "a bad line without a place");
    expect(tool::is_utf8(b), "a message that is no UTF-8");
  }
}

void spelling(input& in) {
  const std::string bytes(in.rest());
  const std::string shown = tool::printable(bytes);
  expect(tool::is_utf8(shown), "what is shown is no UTF-8");
  expect(tool::printable(shown) == shown, "what is shown changes when it is shown");
  for (const char c : shown) {
    expect(static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t' || c == '\r',
           "a control byte is shown");
  }
  expect(tool::unescape(bytes).size() <= bytes.size(), "an escape that grows");
  (void)tool::fingerprint(bytes);
}

}  // namespace
}  // namespace idiolect::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace idiolect::fuzz;
  static const memory_file file;
  input in(data, size);
  try {
    switch (in.bits(1) % 8) {
      case 0:
        spelling(in);
        break;
      case 1:
      case 2:
      case 3:
        source(in, file);
        break;
      default:
        records(in, file);
        break;
    }
  } catch (const tool::input_error& e) {
    expect(std::string_view(e.what()).starts_with(file.path()), "an error without a place");
  }
  return 0;
}
