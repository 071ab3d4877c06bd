// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A conversation in a model's template, with a note of which bytes are the template's. llama.cpp
// formats placeholders instead of the contents, so that no content is ever read as template.

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llama.h>

#include <idiolect/core/error.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/tokenizer.hpp>

namespace idiolect::detail {

/// Bytes of template and contents, joined. Contents are the ranges [first, second), in order.
struct formatted_chat {
  std::string text;
  std::vector<std::pair<std::size_t, std::size_t>> contents;

  void add_content(std::string_view bytes) {
    contents.emplace_back(text.size(), text.size() + bytes.size());
    text += bytes;
  }
  /// Whether the template alone made the bytes [first, first + size).
  [[nodiscard]] bool is_template(std::size_t first, std::size_t size) const {
    return std::ranges::none_of(contents, [&](const auto& c) {
      return c.first < first + size && first < c.second && c.first < c.second;
    });
  }
};

/// llama.cpp's text of a conversation in the built-in template that it recognises `format` as.
inline std::string llama_format(const char* format, std::span<const llama_chat_message> messages,
                                bool open_assistant) {
  std::string text(1024, '\0');
  for (;;) {
    const std::int32_t size =
        llama_chat_apply_template(format, messages.data(), messages.size(), open_assistant,
                                  text.data(), static_cast<std::int32_t>(text.size()));
    require<backend_error>(size >= 0, "chat template",
                           "llama.cpp does not know this model's: format the prompt yourself");
    const bool whole = static_cast<std::size_t>(size) <= text.size();
    text.resize(static_cast<std::size_t>(size));
    if (whole) return text;
  }
}

/// The turns in `format`, a model's template. A template that trims a turn trims its content here.
/// Raises backend_error, naming the role, where a template leaves a turn out.
inline formatted_chat format_chat(const char* format, std::span<const chat_turn> turns,
                                  bool open_assistant) {
  // "\v\2 7 \3\v": control characters stand in no template; roles are looked at. Templates that
  // trim take the \v away.
  const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  std::vector<std::string> placeholders;
  std::vector<llama_chat_message> messages;
  for (const chat_turn& t : turns) {
    require(t.role.find_first_of(std::string_view("\0\2\3\v", 4)) == std::string::npos,
            "chat_turn::role", "has a control character");
    // An empty turn may be formatted in a way of its own; nothing in it could be taken for
    // template.
    std::string& placeholder = placeholders.emplace_back(t.content);
    if (std::ranges::all_of(t.content, blank)) continue;
    placeholder = "\v\2";
    placeholder += std::to_string(placeholders.size() - 1);
    placeholder += "\3\v";
  }
  for (std::size_t i = 0; i < turns.size(); ++i) {
    messages.push_back({turns[i].role.c_str(), placeholders[i].c_str()});
  }
  const std::string formatted = llama_format(format, messages, open_assistant);

  formatted_chat chat;
  std::vector<bool> seen(turns.size(), false);
  const std::string_view all = formatted;
  std::size_t at = 0;
  for (;;) {
    const std::size_t mark = all.find('\2', at);
    if (mark == all.npos) break;
    std::size_t end = mark + 1, which = 0;
    while (all[end] != '\3') which = 10 * which + static_cast<std::size_t>(all[end++] - '0');
    std::string_view content = turns[which].content;
    const bool left = mark > at && all[mark - 1] == '\v';
    const bool right = end + 1 < all.size() && all[end + 1] == '\v';
    while (!left && !content.empty() && blank(content.front())) content.remove_prefix(1);
    while (!right && !content.empty() && blank(content.back())) content.remove_suffix(1);
    chat.text += all.substr(at, mark - at - (left ? 1 : 0));
    chat.add_content(content);
    seen[which] = true;
    at = end + (right ? 2 : 1);
  }
  chat.text += all.substr(at);
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const bool needed = !std::ranges::all_of(turns[i].content, blank);
    require<backend_error>(
        !needed || seen[i], "chat template",
        [&] { return "the model's leaves out the turn of role `" + turns[i].role + "`"; },
        static_cast<index_t>(i));
  }
  return chat;
}

}  // namespace idiolect::detail
