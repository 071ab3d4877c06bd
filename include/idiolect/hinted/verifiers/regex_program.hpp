// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Regular expressions as programs for linear_regex.hpp.

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/hinted/verifiers/regex_syntax.hpp>

namespace idiolect {

/// An instruction. What `first` and `second` are depends on it: where a split or a jump goes (the
/// first is preferred), or the slot that a position is saved in.
struct regex_step {
  enum class kind : std::uint8_t { byte, split, jump, save, assertion, accept };
  kind what = kind::accept;
  regex_assertion asserted = regex_assertion::begin;
  std::size_t set = 0;
  std::size_t first = 0;
  std::size_t second = 0;
};

/// Saves where the match begins and ends in slots 0 and 1, the first group in 2 and 3.
struct regex_program {
  std::vector<regex_step> code;
  std::vector<std::bitset<256>> sets;  ///< of bytes
  std::size_t groups = 0;
};

namespace detail {

/// Writes the program of a pattern.
class regex_writer {
 public:
  static constexpr std::size_t longest = 4000;  // instructions

  explicit regex_writer(const regex_parser& source) : source_(source) {}

  std::vector<regex_step> write(const regex_node& all) {
    save(0);
    node(all);
    save(1);
    add({.what = regex_step::kind::accept});
    return std::move(code_);
  }

 private:
  std::size_t add(const regex_step& s) {
    source_.check(code_.size() < longest, "its repetitions make it longer than 4000 steps");
    code_.push_back(s);
    return code_.size() - 1;
  }
  void save(std::size_t slot) { add({.what = regex_step::kind::save, .first = slot}); }
  std::size_t split() { return add({.what = regex_step::kind::split}); }
  /// Fills a split in: `inside` is what a greedy one prefers.
  void aim(std::size_t split, std::size_t inside, std::size_t outside, bool greedy) {
    code_[split].first = greedy ? inside : outside;
    code_[split].second = greedy ? outside : inside;
  }

  void node(const regex_node& n) {
    switch (n.what) {
      case regex_node::kind::set:
        add({.what = regex_step::kind::byte, .set = n.set});
        return;
      case regex_node::kind::assertion:
        add({.what = regex_step::kind::assertion, .asserted = n.asserted});
        return;
      case regex_node::kind::sequence:
        for (const regex_node& part : n.parts) node(part);
        return;
      case regex_node::kind::group:
        if (n.number == 1) save(2);
        node(n.parts[0]);
        if (n.number == 1) save(3);
        return;
      case regex_node::kind::alternatives:
        return alternatives(n);
      case regex_node::kind::repeat:
        return repeat(n);
    }
  }

  void alternatives(const regex_node& n) {
    std::vector<std::size_t> jumps;
    for (std::size_t k = 0; k + 1 < n.parts.size(); ++k) {
      const auto either = split();
      node(n.parts[k]);
      jumps.push_back(add({.what = regex_step::kind::jump}));
      aim(either, either + 1, code_.size(), true);
    }
    node(n.parts.back());
    for (const std::size_t j : jumps) code_[j].first = code_.size();
  }

  void repeat(const regex_node& n) {
    std::size_t begin = code_.size();  // of the last copy
    for (std::size_t k = 0; k < n.least; ++k) {
      begin = code_.size();
      node(n.parts[0]);
      if (code_.size() == begin) return;  // nothing, however often
    }
    if (n.most == 0 && n.least > 0) {
      const auto again = split();
      aim(again, begin, code_.size(), n.greedy);
    } else if (n.most == 0) {
      const auto enter = split();
      node(n.parts[0]);
      add({.what = regex_step::kind::jump, .first = enter});
      aim(enter, enter + 1, code_.size(), n.greedy);
    } else {
      std::vector<std::size_t> enters;
      for (std::size_t k = n.least; k < n.most; ++k) {
        enters.push_back(split());
        node(n.parts[0]);
      }
      for (const std::size_t e : enters) aim(e, e + 1, code_.size(), n.greedy);
    }
  }

  const regex_parser& source_;
  std::vector<regex_step> code_;
};

}  // namespace detail

/// Raises shape_error, naming `pattern`, for what is no regular expression, for what no automaton
/// does, and for patterns of more than 4096 bytes or 4000 steps. Time and memory: the program's.
[[nodiscard]] inline regex_program compile_regex(std::string_view pattern) {
  detail::regex_parser parser(pattern);
  const detail::regex_node all = parser.read();
  regex_program p;
  p.code = detail::regex_writer(parser).write(all);
  p.sets = std::move(parser.sets);
  p.groups = parser.groups;
  return p;
}

}  // namespace idiolect
