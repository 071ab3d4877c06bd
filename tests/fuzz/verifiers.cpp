// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Verifiers: any bytes are a text, an answer is its own, whether two are the same does not depend
// on which is asked for; and the regex engine beside std::regex, where that is quick.

#include <idiolect/hinted/verifier.hpp>

#include <regex>
#include <string>

#include "fuzz/input.hpp"

namespace idiolect::fuzz {
namespace {

void answers(input in) {
  numeric_verifier v;
  v.answers.percent =
      in.one_of({percent_sign::ignored, percent_sign::hundredths, percent_sign::kept});
  v.answers.any_order = in.coin();
  if (in.coin()) v.answers.units = {"cm", "m", in.text(4)};
  if (in.coin()) v.delimiter = in.text(4);
  const std::string a = in.text();
  const std::string b = in.text();
  expect(same_answer(a, b, v.answers) == same_answer(b, a, v.answers), "not the same both ways");
  if (!simplified_answer(a).empty()) expect(same_answer(a, a, v.answers), "not its own");
  if (const auto own = v.answer(a); own && !simplified_answer(*own).empty()) {
    expect(v(a, a), "a text is not its own answer");
  }
  (void)v(b, a);
  (void)exact_verifier{v.delimiter}(b, a);
  (void)behind_marker{v.delimiter, v}(b, a);
  const std::string plain = simplified_answer(a);
  if (exact_number::parse(plain)) {
    expect(*exact_number::parse(plain) == *exact_number::parse(plain), "a number is not itself");
    expect(!(same_answer(a, "1" + plain + "1") &&
             plain.find_first_not_of("0123456789") == std::string::npos && !plain.empty()),
           "a number is another");
  }
}

/// What std::regex and this engine agree to read; with short patterns it cannot take long.
bool comparable(const std::string& pattern, const std::string& text) {
  if (pattern.size() > 10 || text.size() > 12) return false;
  for (const std::string& s : {pattern, text}) {
    for (const char c : s) {
      if (c < ' ' || c > '~') return false;
    }
  }
  for (const char* odd : {"[]", "[^]", "\\u", "\\c", "[:", "\\0", "{", "\\x", "-"}) {
    if (pattern.find(odd) != std::string::npos) return false;
  }
  return true;
}

void patterns(input in) {
  const std::string pattern = in.text(200);
  const std::string text(in.rest());
  try {
    const regex_verifier v(pattern);
    (void)v(text, text);
    if (!comparable(pattern, text)) return;
    const linear_regex engine(pattern);
    std::size_t steps = regex_verifier::steps;
    const auto found = engine.search(text, 0, steps).found;
    std::smatch expected;
    try {
      const std::regex other(pattern);
      const bool any = std::regex_search(text, expected, other);
      expect(any == found.has_value(), "std::regex decides otherwise");
      if (any) {
        expect(found->begin == static_cast<std::size_t>(expected.position(0)),
               "std::regex finds it elsewhere");
      }
    } catch (const std::regex_error&) {
    }
  } catch (const shape_error&) {
  }
}

}  // namespace
}  // namespace idiolect::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  idiolect::fuzz::input in(data, size);
  if (in.bits(1) % 4 == 0) {
    idiolect::fuzz::patterns(in);
  } else {
    idiolect::fuzz::answers(in);
  }
  return 0;
}
