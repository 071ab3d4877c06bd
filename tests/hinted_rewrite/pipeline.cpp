// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// The pipeline against the same thing written the obvious way: one record after another, one try
// after another, every row of logits from scratch.

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/core/executor.hpp>
#include <idiolect/hinted/recipes.hpp>
#include <idiolect/hinted/reference_score.hpp>
#include <idiolect/hinted/rewrite.hpp>

#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "hinted_rewrite/history_lm.hpp"
#include "support/catch.hpp"

namespace idiolect {
namespace {

using test::history_lm;
using test::letters_tokenizer;

using policy_type = hinted_policy<cpu<>, letters_tokenizer, any_lambda>;
using prompter_type = template_prompter<letters_tokenizer>;

const letters_tokenizer letters;

hinted_options policy_options(std::uint64_t seed = 5) {
  hinted_options o;
  o.sampler = {.temperature = 0.8, .top_p = 0.95, .order = sampler_order::temperature_last};
  o.delimiter = ">";
  o.end_tokens = {0};
  o.max_tokens = 40;
  o.seed = seed;
  return o;
}

prompter_type make_prompter(bool analysis = false) {
  prompter_options o;
  o.templates.teacher = "H{hint}\n{question}\n";
  o.end_token = 0;
  if (analysis) o.templates.analysis_marker = "1";
  o.analysis_budget = 12;
  return prompter_type(letters, o);
}

std::vector<question_answer> some_records(int n) {
  std::vector<question_answer> records;
  for (int i = 0; i < n; ++i) {
    std::string question = std::to_string(i) + "+" + std::to_string(7 * i % 10);
    std::string answer = question + ">" + std::to_string(i % 7);
    // Some do not fit the context: with the hint, or not at all.
    if (i % 23 == 7) answer = std::string(60, '9') + answer;
    if (i % 23 == 15) question = std::string(70, '8') + question;
    records.push_back({std::move(question), std::move(answer)});
  }
  return records;
}

/// Accepts about a third of what there is, and looks at all of it.
struct picky {
  bool operator()(const question_answer& r, std::string_view text) const {
    std::uint64_t hash = 7;
    for (const char c : r.question + "|" + std::string(text)) {
      hash = hash * 31 + static_cast<unsigned char>(c);
    }
    return text.find('>') != std::string_view::npos && hash % 3 == 0;
  }
};

void print(std::ostream& out, double x) {
  out << std::bit_cast<std::uint64_t>(x) << ' ';
}

template <class Tokens>
std::string describe(std::uint64_t number, provenance how, stop_reason stop,
                     const std::string& text, const Tokens& tokens,
                     const std::vector<token_id>& analysis, index_t rollouts, index_t tries) {
  std::ostringstream out;
  out << number << ' ' << name(how) << ' ' << name(stop) << " '" << text << "' " << rollouts << '/'
      << tries << " analysis";
  for (const token_id t : analysis) out << ' ' << t;
  out << " tokens ";
  for (const hinted_token& t : tokens) {
    out << t.token << (t.leader() == voice::teacher ? "t " : "s ");
    print(out, t.lambda);
    print(out, t.student.phi);
    print(out, t.teacher_log_prob != t.teacher_log_prob ? 1 : t.teacher_log_prob);
  }
  return out.str();
}

std::string describe(const rewritten<question_answer>& r) {
  return describe(r.number, r.how, r.stop, r.text, r.tokens, r.analysis, r.rollouts, r.tries);
}

struct naive_text {
  hinted_state state;
  std::vector<token_id> analysis;
};

naive_text naive_decode(const policy_type& policy, const rewrite_prompt& prompt, bool rollout,
                        std::uint64_t key, const sampler_options& sampler, std::size_t context) {
  naive_text t;
  t.state = rollout ? policy.start_rollout(key, sampler) : policy.start(key);
  auto student = prompt.student;
  auto teacher = rollout ? std::vector<token_id>{} : prompt.teacher;
  if (student.size() >= context || teacher.size() >= context) {
    t.state.stop = stop_reason::context_full;
    return t;
  }
  if (!rollout && !prompt.analysis_marker.empty()) {
    for (std::string written; written.find(prompt.analysis_marker) == std::string::npos;) {
      if (teacher.size() > context) {
        t.state.stop = stop_reason::context_full;
        return t;
      }
      const auto row = history_lm::logits_after(teacher);
      t.analysis.push_back(policy.greedy(std::span<const float>(row)));
      teacher.push_back(t.analysis.back());
      policy.append_piece(t.analysis.back(), written);
      if (written.find(prompt.analysis_marker) != std::string::npos) break;
      if (policy.is_end(t.analysis.back()) ||
          static_cast<index_t>(t.analysis.size()) >= prompt.analysis_budget) {
        t.state.stop = stop_reason::marker_missing;
        return t;
      }
    }
  }
  policy_type::scratch memory;
  while (t.state.stop == stop_reason::none) {
    const bool alone = t.state.student_only();
    if (student.size() > context || (!alone && teacher.size() > context)) {
      t.state.stop = stop_reason::context_full;
      break;
    }
    const auto p = alone ? std::vector<float>{} : history_lm::logits_after(teacher);
    const auto q = history_lm::logits_after(student);
    policy.step(t.state, std::span<const float>(p), std::span<const float>(q), memory);
    if (t.state.stop != stop_reason::none) break;
    student.push_back(t.state.tokens.back().token);
    teacher.push_back(t.state.tokens.back().token);
  }
  return t;
}

std::vector<std::string> naive_rewrite(const policy_type& policy, const prompter_type& prompts,
                                       const std::vector<question_answer>& records,
                                       const rewrite_options& o, std::size_t context) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const rewrite_prompt prompt = prompts(records[i]);
    const std::uint64_t number = o.first_record + i;
    index_t rollouts = 0;
    index_t tries = 0;
    naive_text text;
    provenance how = provenance::rejected;
    const auto attempt = [&](bool rollout, index_t k) {
      text = naive_decode(policy, prompt, rollout, try_key(number, rollout, k), o.rollout_sampler,
                          context);
      ++(rollout ? rollouts : tries);
      const bool accepted =
          text.state.stop == stop_reason::end_of_sequence && picky{}(records[i], text.state.bytes);
      if (accepted) how = rollout ? provenance::rollout : provenance::hinted;
      const bool again = !text.state.tokens.empty();  // else it would end the same way
      return !accepted && again;
    };
    for (index_t k = 0; k < o.rollouts && attempt(true, k); ++k) {
    }
    if (how == provenance::rejected) {
      for (index_t k = 0; k < o.tries && attempt(false, k); ++k) {
      }
    }
    lines.push_back(describe(number, how, text.state.stop, text.state.bytes, text.state.tokens,
                             text.analysis, rollouts, tries));
  }
  return lines;
}

auto source_of(const std::vector<question_answer>& records, std::size_t first = 0) {
  return [&records, at = first]() mutable -> std::optional<question_answer> {
    if (at == records.size()) return std::nullopt;
    return records[at++];
  };
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& l : lines) text += l + "\n";
  return text;
}

TEST_CASE("rewrite equals the obvious way for any number of records in flight") {
  const auto records = some_records(120);
  const index_t context = 64;
  for (const bool analysis : {false, true}) {
    const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
    const auto prompts = make_prompter(analysis);
    rewrite_options o;
    o.rollouts = 2;
    o.tries = 3;
    o.first_record = 1000;
    const auto expected = naive_rewrite(policy, prompts, records, o, context);
    const std::string all = joined(expected);
    for (const std::string kind :
         {" rollout ", " hinted ", " rejected ", " end_of_sequence ", " context_full "}) {
      CHECK(all.find(kind) != std::string::npos);
    }
    CHECK((all.find("marker_missing") != std::string::npos) == analysis);

    for (const index_t parallel : {1, 7, 64}) {
      for (const index_t window : {0, 1, 5}) {
        for (const index_t streams : {1000, 9}) {
          history_lm model(context, streams);
          o.decoder.parallel = parallel;
          o.window = window;
          o.verified_at_once = streams == 9 ? 3 : window;  // 0, 1, 3 or 5
          std::vector<std::string> lines;
          const auto report = rewrite(
              model, policy, source_of(records), prompts, picky{},
              [&](rewritten<question_answer>&& r) { lines.push_back(describe(r)); }, o,
              thread_executor(2));
          INFO("parallel " << parallel << ", window " << window << ", streams " << streams);
          REQUIRE(lines.size() == expected.size());
          for (std::size_t i = 0; i < lines.size(); ++i) CHECK(lines[i] == expected[i]);
          CHECK(model.open_streams() == 0);
          CHECK(report.stop == stop_reason::none);
          CHECK(report.records == 120);
          CHECK(report.rollout + report.hinted + report.rejected == 120);
          CHECK(report.work.calls == model.calls);
        }
      }
    }
  }
}

TEST_CASE("rewrite: verifying beside the decoding") {
  const auto records = some_records(30);
  const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
  const auto prompts = make_prompter();
  rewrite_options o;
  o.decoder.parallel = 8;
  std::atomic<int> calls = 0;  // of the model
  o.decoder.cancelled = [&] {
    ++calls;
    std::this_thread::sleep_for(
        std::chrono::microseconds(300));  // no model is as quick as this one
    return false;
  };
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  std::atomic<int> overtaken = 0;  // verdicts that the model did not wait for
  const auto slow = [&](const question_answer& r, std::string_view text) {
    const int now = ++running;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    const int before = calls;
    for (int i = 0; i < 5 && calls == before; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    overtaken += calls != before;
    --running;
    return picky{}(r, text);
  };
  const auto lines_of = [&](index_t at_once) {
    o.verified_at_once = at_once;
    most = overtaken = 0;
    history_lm model;
    std::vector<std::string> lines;
    (void)rewrite(
        model, policy, source_of(records), prompts, slow,
        [&](rewritten<question_answer>&& r) { lines.push_back(describe(r)); }, o);
    CHECK(model.open_streams() == 0);
    return lines;
  };
  const auto waiting = lines_of(0);
  CHECK(overtaken == 0);
  CHECK(most == 1);
  CHECK(lines_of(1) == waiting);
  CHECK(overtaken > 0);
  CHECK(most == 1);
  CHECK(lines_of(4) == waiting);
  CHECK(overtaken > 0);
  CHECK(most <= 4);

  // What a verifier raises on its thread reaches the caller, and nobody is left behind.
  const auto broken = [&](const question_answer& r, std::string_view text) {
    if (r.question.starts_with("5")) throw std::runtime_error("no verdict");
    return slow(r, text);
  };
  history_lm model;
  CHECK_THROWS_WITH(rewrite(
                        model, policy, source_of(records), prompts, broken,
                        [](rewritten<question_answer>&&) {}, o),
                    "no verdict");
  CHECK(running == 0);
  CHECK(model.open_streams() == 0);

  o.verified_at_once = -1;
  CHECK_THROWS_AS(rewrite(
                      model, policy, source_of(records), prompts, picky{},
                      [](rewritten<question_answer>&&) {}, o),
                  shape_error);
}

TEST_CASE("rewrite goes on where another run stopped") {
  const auto records = some_records(60);
  const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
  const auto prompts = make_prompter();
  const auto run = [&](std::size_t from) {
    rewrite_options o;
    o.first_record = from;
    o.decoder.parallel = 8;
    history_lm model;
    std::vector<std::string> lines;
    (void)rewrite(
        model, policy, source_of(records, from), prompts, picky{},
        [&](rewritten<question_answer>&& r) { lines.push_back(describe(r)); }, o);
    return lines;
  };
  const auto whole = run(0);
  for (const std::size_t from : {1U, 13U, 59U, 60U}) {
    const auto rest = run(from);
    CHECK(rest ==
          std::vector<std::string>(whole.begin() + static_cast<std::ptrdiff_t>(from), whole.end()));
  }
}

TEST_CASE("rewrite delivers in order within its window") {
  const auto records = some_records(100);
  const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
  rewrite_options o;
  o.decoder.parallel = 16;
  o.window = 20;
  std::size_t taken = 0;
  std::size_t given = 0;
  index_t tries = 0;
  o.progress = [&](const rewrite_report& r) {
    ++tries;
    CHECK(static_cast<std::size_t>(r.records) == given);
  };
  history_lm model;
  const auto report = rewrite(
      model, policy,
      [&]() -> std::optional<question_answer> {
        if (taken == records.size()) return std::nullopt;
        CHECK(taken - given < 20);
        return records[taken++];
      },
      make_prompter(), picky{},
      [&](rewritten<question_answer>&& r) {
        CHECK(r.number == given);
        CHECK(r.record.question == records[given].question);
        ++given;
      },
      o);
  CHECK(given == 100);
  CHECK(tries == report.rollout_tries + report.hinted_tries);
}

TEST_CASE("rewrite: scores before and after") {
  const auto records = some_records(40);
  const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
  const auto prompts = make_prompter();
  for (const index_t chunk : {1000, 7}) {
    history_lm model;
    history_lm other(64, 1000, chunk);
    rewrite_options o;
    o.reference_score = reference_scorer(cpu{}, other);
    double sum = 0;
    index_t tokens = 0;
    const auto report = rewrite(
        model, policy, source_of(records), prompts, picky{},
        [&](rewritten<question_answer>&& r) {
          sequence_score expected;
          for (const auto& t : r.tokens) expected.add(t.student);
          CHECK(r.cll.sum_phi == expected.sum_phi);
          CHECK(r.cll.tokens == static_cast<index_t>(r.tokens.size()));
          const auto fits = r.prompt.student.size() + r.prompt.reference.size() - 1 <= 64;
          REQUIRE(r.reference_cll.has_value() == fits);
          if (!fits) return;
          // Question and answer, token by token, the end token included.
          auto text = r.prompt.student;
          sequence_score naive;
          for (const char c : r.record.answer + "$") {
            const auto row = history_lm::logits_after(text);
            std::vector<token_id> next;
            letters.encode(std::string_view(&c, 1), next);
            const token_id target = c == '$' ? 0 : next.back();
            matrix_view<const float> view(row.data(), 1, static_cast<index_t>(row.size()));
            naive.add(score(cpu{}, view, std::vector<token_id>{target})[0]);
            text.push_back(target);
          }
          CHECK(r.reference_cll->sum_phi == naive.sum_phi);
          CHECK(r.reference_cll->tokens == naive.tokens);
          sum += naive.sum_phi;
          tokens += naive.tokens;
        },
        o);
    CHECK(report.reference_cll.sum_phi == Approx(sum));
    CHECK(report.reference_cll.tokens == tokens);
    CHECK(other.open_streams() == 0);
  }
}

TEST_CASE("rewrite: cancelled between two calls") {
  const auto records = some_records(60);
  const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
  std::vector<std::string> whole;
  {
    history_lm model;
    (void)rewrite(model, policy, source_of(records), make_prompter(), picky{},
                  [&](rewritten<question_answer>&& r) { whole.push_back(describe(r)); });
  }
  for (const index_t after : {0, 1, 20, 60, 100}) {
    history_lm model;
    std::vector<std::string> lines;
    rewrite_options o;
    o.decoder.cancelled = [&] { return model.calls >= after; };
    const auto report = rewrite(
        model, policy, source_of(records), make_prompter(), picky{},
        [&](rewritten<question_answer>&& r) { lines.push_back(describe(r)); }, o);
    CHECK(report.stop == stop_reason::cancelled);
    CHECK(model.open_streams() == 0);
    CHECK(model.calls == after);
    REQUIRE(lines.size() < whole.size());
    CHECK(static_cast<index_t>(lines.size()) == report.records);
    CHECK(std::equal(lines.begin(), lines.end(), whole.begin()));  // a prefix, and nothing else
  }
}

TEST_CASE("rewrite: a model that fails or is aborted") {
  const auto records = some_records(60);
  const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
  for (const auto status : {forward_status::fatal, forward_status::aborted}) {
    history_lm model;
    model.fails_at = 30;
    model.failure = status;
    index_t given = 0;
    const auto report = rewrite(model, policy, source_of(records), make_prompter(), picky{},
                                [&](rewritten<question_answer>&&) { ++given; });
    CHECK(report.stop ==
          (status == forward_status::fatal ? stop_reason::model_failed : stop_reason::cancelled));
    CHECK(report.records == given);
    CHECK(given < 60);
    CHECK(model.calls == 30);
  }
}

TEST_CASE("rewrite: errors of the caller's functions reach the caller") {
  const auto records = some_records(30);
  const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
  const auto nothing = [](rewritten<question_answer>&&) {};
  const auto broken = [](const question_answer& r, std::string_view) -> bool {
    if (r.question.starts_with("5")) throw std::runtime_error("no verdict");
    return true;
  };
  history_lm model;
  CHECK_THROWS_WITH(rewrite(model, policy, source_of(records), make_prompter(), broken, nothing),
                    "no verdict");
  const auto full = [](rewritten<question_answer>&&) { throw std::runtime_error("disk full"); };
  history_lm again;
  CHECK_THROWS_WITH(rewrite(again, policy, source_of(records), make_prompter(), picky{}, full),
                    "disk full");

  rewrite_options o;
  o.tries = -1;
  CHECK_THROWS_AS(rewrite(model, policy, source_of(records), make_prompter(), picky{}, nothing, o),
                  shape_error);
  o.tries = 1;
  o.rollout_sampler.top_p = 0;
  CHECK_THROWS_AS(rewrite(model, policy, source_of(records), make_prompter(), picky{}, nothing, o),
                  shape_error);
}

TEST_CASE("rewrite: no record at all and no try at all") {
  const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
  const std::vector<question_answer> none;
  history_lm model;
  index_t given = 0;
  auto report = rewrite(model, policy, source_of(none), make_prompter(), picky{},
                        [&](rewritten<question_answer>&&) { ++given; });
  CHECK(report.records == 0);
  CHECK(report.yield() == 0);

  const auto records = some_records(10);
  rewrite_options o;
  o.rollouts = 0;
  o.tries = 0;
  report = rewrite(
      model, policy, source_of(records), make_prompter(), picky{},
      [&](rewritten<question_answer>&& r) {
        ++given;
        CHECK(r.stop == stop_reason::none);
      },
      o);
  CHECK(report.rejected == 10);
  CHECK(given == 10);
  CHECK(model.calls == 0);
}

TEST_CASE("rewrite: a record that cannot be started is that record's affair") {
  const policy_type policy(cpu{}, letters, linear_lambda{1.2}, policy_options());
  const auto records = some_records(20);
  const auto ends_with = [&](bool with_gaps) {
    const auto usual = make_prompter();
    const auto prompts = [&](const question_answer& r) {
      rewrite_prompt p = usual(r);
      if (with_gaps && r.question == records[7].question) p.student.clear();
      return p;
    };
    std::vector<rewritten<question_answer>> out;
    history_lm model;
    rewrite_options o;
    o.reference_score = [](std::span<const token_id> prompt, std::span<const token_id>) {
      CHECK_FALSE(prompt.empty());
      return std::vector<token_score>();
    };
    const auto report = rewrite(
        model, policy, source_of(records), prompts, picky{},
        [&](rewritten<question_answer>&& r) { out.push_back(std::move(r)); }, o);
    CHECK(report.records == 20);
    CHECK(report.stop == stop_reason::none);
    return out;
  };
  const auto whole = ends_with(false);
  const auto gaps = ends_with(true);
  REQUIRE(gaps.size() == 20);
  for (std::size_t i = 0; i < 20; ++i) {
    CAPTURE(i);
    if (gaps[i].prompt.student.empty()) {
      CHECK(gaps[i].how == provenance::rejected);
      CHECK(gaps[i].stop == stop_reason::no_prompt);
      CHECK(gaps[i].rollouts + gaps[i].tries == 0);
    } else {
      CHECK(gaps[i].text == whole[i].text);
      CHECK(gaps[i].how == whole[i].how);
    }
  }
  CHECK(gaps[7].stop == stop_reason::no_prompt);
}

TEST_CASE("recipes are settings of the one pipeline") {
  const auto records = some_records(80);
  const auto leaders = [&](const rewrite_recipe& recipe, bool& teacher, bool& student,
                           rewrite_report& report) {
    const policy_type policy(cpu{}, letters, recipe.schedule, policy_options());
    history_lm model;
    teacher = student = false;
    report = rewrite(
        model, policy, source_of(records), make_prompter(), picky{},
        [&](rewritten<question_answer>&& r) {
          if (r.how == provenance::rollout) return;
          bool after = false;
          for (const auto& t : r.tokens) {
            std::string piece;
            letters.append_piece(t.token, piece);
            if (!after) (t.leader() == voice::teacher ? teacher : student) = true;
            after = after || piece == ">";
          }
        },
        recipe.apply());
  };
  bool teacher = false;
  bool student = false;
  rewrite_report report;
  leaders(self_distillation(), teacher, student, report);
  CHECK(teacher);
  CHECK_FALSE(student);
  CHECK(report.rollout_tries == 0);
  CHECK(report.rollout == 0);
  CHECK(report.hinted > 0);

  leaders(rejection_sampling(5), teacher, student, report);
  CHECK_FALSE(teacher);
  CHECK(report.hinted_tries == 0);
  CHECK(report.rollout > 0);
  CHECK(report.work.teacher_tokens == 0);

  leaders(hinted_decoding(1.2), teacher, student, report);
  CHECK(teacher);
  CHECK(report.hinted > 0);

  prompter_options o;
  o.templates.teacher = "H{hint}\n{question}\n";
  o.delimiter = ">";
  o.hint = cot_completion().hint;
  std::vector<token_id> bare;
  letters.encode("H3\n1+1\n", bare);
  CHECK(prompter_type(letters, o)(question_answer{"1+1", "1+1>3"}).teacher == bare);
  CHECK(prompter_type(letters, o)(question_answer{"1+1", "3"}).teacher == bare);
}

}  // namespace
}  // namespace idiolect
