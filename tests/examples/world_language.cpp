// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The synthetic world's language: alphabet, questions, styles and documents.

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "tiny_llama/config.hpp"
#include "tiny_llama/tokenizer.hpp"
#include "world/document.hpp"
#include "world/verify.hpp"
#include "world/vocabulary.hpp"

namespace {

using world::question_set;
using world::task;

// Whether `count` of `n` trials is what probability p gives, within 4.5 standard deviations.
bool plausible(long count, long n, double p) {
  const double mean = static_cast<double>(n) * p;
  const double deviation = std::sqrt(mean * (1 - p)) + 1e-9;
  return std::abs(static_cast<double>(count) - mean) < 4.5 * deviation;
}

// How often each wording of each kind was chosen, read back from worded chains of two steps.
struct wording_counts {
  std::map<std::string, long> openers, separators, closings;
  long bare = 0, steps = 0, texts = 0;
};

wording_counts count_wordings(const world::style& voice, int texts) {
  const auto q = world::parse_question("c2+6#3").value();
  wording_counts counts;
  for (int i = 0; i < texts; ++i) {
    world::draws random(5, world::purpose::surface, static_cast<std::uint64_t>(i));
    const auto text = world::render(world::solve(q, random), voice, random);
    ++counts.texts;
    ++counts.openers[text.substr(0, 3)];
    const auto body = text.substr(3, text.find('>') - 3);
    const auto after = body.find_first_not_of("0123456789+#=");
    const auto second = body.find_first_of("0123456789", after);
    ++counts.separators[body.substr(after, second - after)];
    const auto rest = body.substr(second);
    const auto end = std::min(rest.find(' '), rest.size());
    ++counts.closings[rest.substr(end)];
    counts.steps += 2;
    counts.bare += body.substr(0, after).find('=') == std::string::npos;
    counts.bare += rest.substr(0, end).find('=') == std::string::npos;
  }
  return counts;
}

}  // namespace

TEST_CASE("world vocabulary: every token is one character and comes back", "[world]") {
  STATIC_REQUIRE(world::vocab_size == 38);
  std::set<char> seen;
  for (const char c : world::characters) {
    REQUIRE(seen.insert(c).second);
    const auto tokens = world::encode(std::string(1, c));
    REQUIRE(tokens.size() == 2);
    REQUIRE(tokens[0] == world::begin_token);
    REQUIRE(tokens[1] >= world::first_character);
    REQUIRE(world::decode(tokens) == std::string(1, c));
  }
  REQUIRE(world::encode("$").back() == world::end_token);
  REQUIRE(world::token_of('Q') == world::unknown_token);
}

TEST_CASE("world vocabulary: the tokenizer built from it encodes documents the same way",
          "[world]") {
  const auto tokenizer = tiny_llama::character_tokenizer(world::characters);
  REQUIRE(tokenizer.vocab_size() == world::vocab_size);
  const world::curriculum now;
  for (std::uint64_t slot = 0; slot < 300; ++slot) {
    const auto text = world::pretraining_document(now, 3, 0, slot).text();
    std::vector<world::token_id> tokens;
    tokenizer.encode(text, tokens);
    REQUIRE(tokens == world::encode(text));
    REQUIRE(world::decode(tokens) == text);
    REQUIRE(tokenizer.decode(tokens) == text);
  }
}

TEST_CASE("world questions: text and parse are inverse", "[world]") {
  for (std::uint64_t i = 0; i < 500; ++i) {
    const auto e = world::make_example(i % 2 ? question_set::base : question_set::target,
                                       world::own_style, 9, i);
    const auto back = world::parse_question(world::to_text(e.asked));
    REQUIRE(back.has_value());
    REQUIRE(*back == e.asked);
    REQUIRE(e.written.prompt == world::to_text(e.asked) + "\n");
  }
  for (const std::string_view bad : {"", "x12", "c", "c2", "c2+", "c2+7", "c2-3", "c+2", "m3#4",
                                     "m3", "r", "r12a", "p1 2", "c22"}) {
    INFO(bad);
    REQUIRE_FALSE(world::parse_question(bad).has_value());
  }
}

TEST_CASE("world questions: the operations mean what they say", "[world]") {
  REQUIRE(world::apply('+', 2, 6) == 1);
  REQUIRE(world::apply('#', 1, 3) == 5);
  REQUIRE(world::apply('#', 6, 6) == (18 + 30 + 1) % 7);
  REQUIRE(world::apply('^', 3, 9) == 9);
  REQUIRE_FALSE(world::apply('g', 1, 1).has_value());
}

TEST_CASE("world questions: the target task is a chain of 4 to 6 with two # and uniform operands",
          "[world]") {
  std::map<std::size_t, long> lengths;
  std::array<long, 7> operands{};
  std::map<std::size_t, long> sharp_places;  // among chains of length 5
  constexpr long records = 6000;
  long all_operands = 0;
  for (std::uint64_t i = 0; i < records; ++i) {
    const auto q = world::make_example(question_set::target, world::own_style, 11, i).asked;
    REQUIRE(q.kind == task::chain);
    REQUIRE(q.operations.size() >= 4);
    REQUIRE(q.operations.size() <= 6);
    REQUIRE(std::count(q.operations.begin(), q.operations.end(), '#') == 2);
    REQUIRE(q.operations.find_first_not_of("+#") == std::string::npos);
    ++lengths[q.operations.size()];
    for (const int d : q.operands) ++operands.at(static_cast<std::size_t>(d)), ++all_operands;
    if (q.operations.size() != 5) continue;
    for (std::size_t k = 0; k < 5; ++k) sharp_places[k] += q.operations[k] == '#';
  }
  for (const auto& [length, count] : lengths) REQUIRE(plausible(count, records, 1.0 / 3));
  for (const long count : operands) REQUIRE(plausible(count, all_operands, 1.0 / 7));
  for (const auto& [place, count] : sharp_places) REQUIRE(plausible(count, lengths[5], 0.4));
}

TEST_CASE("world questions: large operands are rare under # in the base distribution", "[world]") {
  const world::base_distribution base;
  long rare = 0;
  long sharp = 0;
  std::map<char, long> tasks;
  constexpr long records = 8000;
  for (std::uint64_t i = 0; i < records; ++i) {
    const auto e = world::make_example(question_set::base, world::own_style, 13, i);
    ++tasks[static_cast<char>(e.asked.kind)];
    if (e.asked.kind != task::chain) continue;
    for (std::size_t k = 0; k < e.asked.operations.size(); ++k) {
      if (e.asked.operations[k] != '#') continue;
      ++sharp;
      const int a = k == 0 ? e.asked.operands[0] : e.worked.steps[k - 1].result[0] - '0';
      rare += world::is_rare('#', a, e.asked.operands[k + 1]);
    }
  }
  REQUIRE(sharp > records / 2);
  REQUIRE(rare > 0);
  REQUIRE(static_cast<double>(rare) < 0.1 * static_cast<double>(sharp));
  for (std::size_t k = 0; k < base.tasks.size(); ++k) {
    REQUIRE(plausible(tasks[world::task_letters[k]], records, base.tasks[k]));
  }
}

TEST_CASE("world styles: both voices are probabilities over the same words", "[world]") {
  for (const auto& table : {world::openers, world::separators, world::closings}) {
    double own = 0;
    double teacher = 0;
    for (const auto& w : table) {
      REQUIRE(w.own > 0);
      REQUIRE(w.teacher > 0);
      own += w.own;
      teacher += w.teacher;
    }
    REQUIRE(own == Approx(1));
    REQUIRE(teacher == Approx(1));
  }
}

TEST_CASE("world styles: wordings occur as often as the tables say", "[world]") {
  for (const auto& voice : {world::own_style, world::teacher_style, world::teacher_wording_style,
                            world::mixed_style(0.25), world::style{0.5, 0.0, 1.0, 0.75}}) {
    const auto counts = count_wordings(voice, 4000);
    for (const auto& w : world::openers) {
      REQUIRE(plausible(counts.openers.at(std::string(w.text)), counts.texts,
                        world::probability(w, voice.opener)));
    }
    for (const auto& w : world::separators) {
      REQUIRE(plausible(counts.separators.at(std::string(w.text)), counts.texts,
                        world::probability(w, voice.separator)));
    }
    for (const auto& w : world::closings) {
      REQUIRE(plausible(counts.closings.at(std::string(w.text)), counts.texts,
                        world::probability(w, voice.closing)));
    }
    REQUIRE(plausible(counts.bare, counts.steps, world::probability(world::bare_step, voice.echo)));
  }
}

TEST_CASE("world documents: a record is the same question in every style and on every call",
          "[world]") {
  for (std::uint64_t i = 0; i < 100; ++i) {
    const auto a = world::make_example(question_set::target, world::own_style, 4, i);
    const auto b = world::make_example(question_set::target, world::teacher_style, 4, i);
    const auto again = world::make_example(question_set::target, world::teacher_style, 4, i);
    REQUIRE(a.asked == b.asked);
    REQUIRE(a.worked == b.worked);
    REQUIRE(again.written.text() == b.written.text());
  }
  const world::curriculum now;
  std::set<std::string> texts;
  for (std::uint64_t slot = 0; slot < 200; ++slot) {
    const auto text = world::pretraining_document(now, 1, 7, slot).text();
    REQUIRE(text == world::pretraining_document(now, 1, 7, slot).text());
    texts.insert(text);
    texts.insert(world::pretraining_document(now, 2, 7, slot).text());
    texts.insert(world::pretraining_document(now, 1, 8, slot).text());
  }
  REQUIRE(texts.size() > 590);
}

TEST_CASE("world documents: these are the texts of seed 1", "[world]") {
  // Pinned: a checkpoint that was trained on the world is only reproducible while these hold.
  const auto a = world::make_example(question_set::target, world::own_style, 1, 0);
  const auto b = world::make_example(question_set::target, world::teacher_style, 1, 0);
  const auto bs = world::make_example(question_set::target, world::teacher_wording_style, 1, 0);
  CHECK(a.written.text() ==
        "c6#2+2+4+5+0#1\n"
        "ok 6#2=1;1+2=3;3+4=0;0+5=5;5+0=5;5#1=0>0$");
  CHECK(b.written.text() ==
        "c6#2+2+4+5+0#1\n"
        "we 1 & 3 & 0 & 5, 5 & 0 thus>0$");
  CHECK(bs.written.text() ==
        "c6#2+2+4+5+0#1\n"
        "we 6#2=1 & 1+2=3 & 3+4=0 & 0+5=5, 5+0=5 & 5#1=0 thus>0$");
  const world::curriculum now;
  CHECK(world::pretraining_document(now, 1, 0, 0).text() ==
        "c3+4+5+5#1\nok 3+4=0;0+5=5, 5+5=3, 3#1=1>1$");
  CHECK(world::pretraining_document(now, 1, 0, 1).text() == "p495637\nok 7;3, 6;3;3 then>3$");
  CHECK(world::pretraining_document(now, 1, 0, 2).text() == "Hwe 3 thus>3\nc6+4\nok 6+4=3>3$");
}

TEST_CASE("world documents: base and hinted ones are told apart and fit the context", "[world]") {
  const world::curriculum now;
  const auto context = static_cast<std::size_t>(tiny_llama::config{}.context_size);
  long hinted = 0;
  constexpr long count = 6000;
  for (std::uint64_t slot = 0; slot < count; ++slot) {
    const auto d = world::pretraining_document(now, 21, 0, slot);
    const bool hint = d.prompt.front() == 'H';
    hinted += hint;
    REQUIRE(std::count(d.prompt.begin(), d.prompt.end(), '\n') == (hint ? 2 : 1));
    REQUIRE(d.prompt.ends_with('\n'));
    REQUIRE(d.prompt.find(world::end_character) == std::string::npos);
    REQUIRE(d.completion.find(world::end_character) == d.completion.size() - 1);
    REQUIRE(d.completion.find('\n') == std::string::npos);
    REQUIRE(d.text().size() + 1 <= context);

    const auto question_at = hint ? d.prompt.find('\n') + 1 : 0;
    const auto text = d.prompt.substr(question_at, d.prompt.size() - question_at - 1);
    const auto q = world::parse_question(text);
    REQUIRE(q.has_value());
    if (!hint) {
      REQUIRE(world::verify(*q, d.completion).flawless());
    }
  }
  REQUIRE(plausible(hinted, count, now.hinted_share));
}

TEST_CASE("world documents: a hint and its answer give the same results", "[world]") {
  const world::hint_distribution h;
  long ruleless = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    world::draws random(8, world::purpose::pretraining, i);
    const auto pair = world::hinted_chain(h, random);
    world::draws wording(8, world::purpose::surface, i);
    const auto hint = world::render(pair.worked, world::teacher_style, wording);
    const auto answer = world::render(pair.worked, world::mixed_style(0.5), wording);
    REQUIRE(world::final_answer(hint) == world::final_answer(answer));
    REQUIRE(world::verify(pair.asked, pair.worked, hint + "$").flawless());
    REQUIRE(world::verify(pair.asked, pair.worked, answer + "$").flawless());
    ruleless += pair.asked.operations.find('g') != std::string::npos;
    REQUIRE(world::hint_prompt(hint, pair.asked) ==
            "H" + hint + "\n" + world::to_text(pair.asked) + "\n");
  }
  REQUIRE(ruleless > 300);
}
