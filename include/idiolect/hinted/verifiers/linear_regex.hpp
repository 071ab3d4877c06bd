// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Regular expressions without backtracking. All ways to match are followed at once, byte by byte
// (Thompson's construction, with Pike's captures), so that a search takes time in proportion to
// pattern times text and no stack, whatever the two are. Syntax: regex_syntax.hpp.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/hinted/verifiers/characters.hpp>
#include <idiolect/hinted/verifiers/regex_program.hpp>

namespace idiolect {

/// A compiled pattern. Immutable: one object serves any number of threads.
class linear_regex {
 public:
  /// Begin and end of the match and of the first group, in bytes; `none` where the group took no
  /// part.
  struct match {
    static constexpr std::size_t none = static_cast<std::size_t>(-1);
    std::size_t begin = none, end = none, group_begin = none, group_end = none;
  };

  /// How a search ended that found nothing: there is nothing, or `steps` were used up.
  struct result {
    std::optional<match> found;
    bool exhausted = false;
  };

  /// Raises shape_error, naming `pattern`, for what is no regular expression or asks for more than
  /// this engine has: see regex_syntax.hpp.
  explicit linear_regex(std::string_view pattern) : program_(compile_regex(pattern)) {}

  [[nodiscard]] std::size_t groups() const { return program_.groups; }

  /// The first match that begins at `from` or later: of those that begin first, the one that a
  /// backtracking engine would find. Takes at most `steps` off `steps`. Memory: the pattern's.
  [[nodiscard]] result search(std::string_view text, std::size_t from, std::size_t& steps) const {
    steps -= (std::min)(steps, program_.code.size());  // to begin with
    return run(program_, text, steps).search(from);
  }

 private:
  using captures = std::array<std::size_t, 4>;

  struct thread {
    std::size_t at;  // an instruction
    captures taken;
  };

  /// Threads in order of preference, no two at one instruction.
  struct thread_list {
    explicit thread_list(std::size_t size) : seen(size, 0) {}
    std::vector<thread> threads;
    std::vector<std::size_t> seen;  // the round in which an instruction was last entered
  };

  /// One search.
  class run {
   public:
    run(const regex_program& program, std::string_view text, std::size_t& steps)
        : program_(program),
          text_(text),
          steps_(steps),
          now_(program.code.size()),
          next_(program.code.size()) {}

    result search(std::size_t from) {
      std::optional<captures> best;
      for (std::size_t i = from; i <= text_.size(); ++i) {
        if (!best) enter(now_, {0, {match::none, match::none, match::none, match::none}}, i);
        next_.threads.clear();
        ++round_;
        for (const thread& t : now_.threads) {
          if (steps_ == 0) return {std::nullopt, true};
          --steps_;
          const regex_step& s = program_.code[t.at];
          if (s.what == regex_step::kind::accept) {
            best = t.taken;
            break;  // what comes later is preferred less
          }
          if (i < text_.size() && program_.sets[s.set].test(static_cast<unsigned char>(text_[i]))) {
            enter(next_, {t.at + 1, t.taken}, i + 1);
          }
        }
        std::swap(now_, next_);
        if (best && now_.threads.empty()) break;
      }
      if (steps_ == 0) return {std::nullopt, true};
      if (!best) return {};
      return {match{(*best)[0], (*best)[1], (*best)[2], (*best)[3]}, false};
    }

   private:
    /// Adds a thread, and what it can become without taking a byte.
    void enter(thread_list& list, const thread& first, std::size_t i) {
      waiting_.assign(1, first);
      while (!waiting_.empty() && steps_ > 0) {
        --steps_;
        thread t = waiting_.back();
        waiting_.pop_back();
        if (list.seen[t.at] == round_) continue;
        list.seen[t.at] = round_;
        const regex_step& s = program_.code[t.at];
        switch (s.what) {
          case regex_step::kind::split:
            waiting_.push_back({s.second, t.taken});
            waiting_.push_back({s.first, t.taken});
            break;
          case regex_step::kind::jump:
            waiting_.push_back({s.first, t.taken});
            break;
          case regex_step::kind::save:
            t.taken[s.first] = i;
            waiting_.push_back({t.at + 1, t.taken});
            break;
          case regex_step::kind::assertion:
            if (holds(s.asserted, i)) waiting_.push_back({t.at + 1, t.taken});
            break;
          case regex_step::kind::byte:
          case regex_step::kind::accept:
            list.threads.push_back(t);
            break;
        }
      }
    }

    [[nodiscard]] bool holds(regex_assertion a, std::size_t i) const {
      switch (a) {
        case regex_assertion::begin:
          return i == 0;
        case regex_assertion::end:
          return i == text_.size();
        case regex_assertion::word_border:
        case regex_assertion::no_word_border:
          break;
      }
      const bool border =
          (i > 0 && is_word(text_[i - 1])) != (i < text_.size() && is_word(text_[i]));
      return border == (a == regex_assertion::word_border);
    }
    static bool is_word(char c) { return detail::is_letter(c) || detail::is_digit(c) || c == '_'; }

    const regex_program& program_;
    std::string_view text_;
    std::size_t& steps_;
    thread_list now_, next_;
    std::vector<thread> waiting_;
    std::size_t round_ = 1;
  };

  regex_program program_;
};

}  // namespace idiolect
