// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/examples.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include <idiolect/core/philox.hpp>
#include <idiolect/core/targets.hpp>

#include "tool/errors.hpp"
#include "tool/files.hpp"
#include "tool/input.hpp"
#include "tool/json_lines.hpp"
#include "tool/text.hpp"

namespace torch_trainer {

namespace {

using idiolect::chat_turn;
using idiolect::ignored_target;
using nlohmann::json;

/// A text that grows, and which of its tokens are learned.
struct marked_text {
  std::vector<token_id> tokens;
  std::vector<bool> learned;

  void mark(bool learn) { learned.resize(tokens.size(), learn); }
};

std::string text_of(const json& object, const char* name, const std::string& where) {
  const std::string& text = tool::text_field(object, name, where);
  if (!tool::is_utf8(text)) tool::fail(where, std::string("\"") + name + "\" is no UTF-8");
  return text;
}

/// The one of two names that the record has; null if neither.
const char* either(const json& object, const char* a, const char* b, const std::string& where) {
  if (object.contains(a) && object.contains(b)) {
    tool::fail(where, std::string("expected \"") + a + "\" or \"" + b + "\", found both");
  }
  return object.contains(a) ? a : object.contains(b) ? b : nullptr;
}

void answer(marked_text& text, const std::string& content, const text_encoder& encoder) {
  encoder.encode_text(content, text.tokens);
  text.tokens.push_back(encoder.end());
  text.mark(true);
}

marked_text encode_conversation(const std::vector<chat_turn>& turns, const text_encoder& encoder,
                                const std::string& where) {
  marked_text text;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].role != "assistant") continue;
    std::vector<token_id> so_far;
    encoder.encode_chat(std::span(turns).first(i), so_far);
    if (so_far.size() < text.tokens.size() ||
        !std::equal(text.tokens.begin(), text.tokens.end(), so_far.begin())) {
      tool::fail(where,
                 "the model's template writes an earlier answer in another way when the "
                 "conversation goes on; give one answer a record");
    }
    text.tokens = std::move(so_far);
    text.mark(false);
    answer(text, turns[i].content, encoder);
  }
  if (text.tokens.empty()) {
    tool::fail(where, "\"messages\": expected a turn whose role is \"assistant\", found none");
  }
  return text;
}

marked_text encode_messages(const json& object, const text_encoder& encoder, const reading& how,
                            const std::string& where) {
  if (!encoder.is_chat() || how.plain) {
    tool::fail(where, "\"messages\" need a model with a chat template");
  }
  const json& messages = object.at("messages");
  if (!messages.is_array()) tool::fail(where, "\"messages\": expected an array of turns");
  std::vector<chat_turn> turns;
  for (const json& m : messages) {
    if (!m.is_object() || !m.contains("role") || !m.contains("content")) {
      tool::fail(where, "\"messages\": expected objects with \"role\" and \"content\"");
    }
    turns.push_back({text_of(m, "role", where), text_of(m, "content", where)});
  }
  if (how.system && (turns.empty() || turns.front().role != "system")) {
    turns.insert(turns.begin(), {"system", *how.system});
  }
  return encode_conversation(turns, encoder, where);
}

marked_text encode_pair(const json& object, const char* prompt, const char* completion,
                        const text_encoder& encoder, const reading& how, const std::string& where) {
  const std::string asked = text_of(object, prompt, where);
  const std::string said = text_of(object, completion, where);
  if (encoder.is_chat() && !how.plain) {
    std::vector<chat_turn> turns;
    if (how.system) turns.push_back({"system", *how.system});
    turns.push_back({"user", asked});
    turns.push_back({"assistant", said});
    return encode_conversation(turns, encoder, where);
  }
  marked_text text;
  encoder.encode(asked + (std::string_view(prompt) == "question" ? "\n" : ""), text.tokens);
  text.mark(false);
  answer(text, said, encoder);
  return text;
}

marked_text take_tokens(const json& object, const reading& how, const std::string& where) {
  const json& ids = object.at("tokens");
  if (!ids.is_array()) tool::fail(where, "\"tokens\": expected an array of ids");
  marked_text text;
  for (const json& id : ids) {
    if (!id.is_number_integer() || id < 0 || id >= how.vocab_size) {
      tool::fail(where, "\"tokens\": expected ids from 0 to " + std::to_string(how.vocab_size - 1) +
                            ", found " + id.dump());
    }
    text.tokens.push_back(id.get<token_id>());
  }
  const json given = object.value("prompt_tokens", json(0));
  if (!given.is_number_integer() || given < 0 || given > text.tokens.size()) {
    tool::fail(where, "\"prompt_tokens\": expected a number from 0 to that of the tokens");
  }
  text.learned.assign(text.tokens.size(), true);
  std::fill_n(text.learned.begin(), given.get<index_t>(), false);
  return text;
}

marked_text encode_record(const json& object, const text_encoder* encoder, const reading& how,
                          const std::string& where) {
  if (object.contains("tokens")) return take_tokens(object, how, where);
  if (encoder == nullptr) {
    tool::fail(where, "there is no tokenizer: name one (--tokenizer), or give \"tokens\"");
  }
  if (object.contains("messages")) return encode_messages(object, *encoder, how, where);
  const char* const prompt = either(object, "question", "prompt", where);
  const char* const completion = either(object, "answer", "completion", where);
  if (prompt == nullptr || completion == nullptr) {
    tool::fail(where, R"(expected "question" and "answer", "prompt" and "completion", "messages" )"
                      R"(or "tokens")");
  }
  return encode_pair(object, prompt, completion, *encoder, how, where);
}

float weight_of(const json& object, const std::string& where) {
  if (!object.contains("weight")) return 1;
  const json& value = object.at("weight");
  if (!value.is_number() || !std::isfinite(value.get<float>())) {
    tool::fail(where, "\"weight\": expected a finite number, found " + value.dump());
  }
  return value.get<float>();
}

}  // namespace

index_t example_set::trained() const {
  index_t n = 0;
  for (const example& e : examples) n += e.trained;
  return n;
}

example_set read_examples(const std::string& path, const text_encoder* encoder,
                          const reading& how) {
  example_set all;
  tool::line_source lines(path, "JSON Lines");
  for (tool::input_line line; lines.next(line);) {
    const std::string_view stripped = tool::stripped(line.text);
    if (stripped.empty()) continue;
    const std::string where = tool::place(path, line.number);
    line.check_length(where);
    const json object =
        tool::parse_object(stripped, where, R"({"question": "...", "answer": "..."})");
    marked_text text = encode_record(object, encoder, how, where);
    const auto most = static_cast<std::size_t>(how.max_tokens) + 1;  // the last is only a target
    if (text.tokens.size() > most) {
      ++all.cut;
      text.tokens.resize(most);
    }
    example e;
    e.weight = weight_of(object, where);
    for (std::size_t i = 0; i + 1 < text.tokens.size(); ++i) {
      e.tokens.push_back(text.tokens[i]);
      e.targets.push_back(text.learned[i + 1] ? text.tokens[i + 1] : ignored_target);
      e.trained += text.learned[i + 1] ? 1 : 0;
    }
    if (e.trained == 0) {
      ++all.empty;
    } else {
      all.examples.push_back(std::move(e));
    }
  }
  if (all.examples.empty()) tool::fail(path, "there is no token to train on or to score");
  return all;
}

std::size_t example_order::operator[](std::uint64_t i) {
  const std::uint64_t pass = i / size_;
  if (order_.empty() || pass != pass_) {
    order_.resize(size_);
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    const idiolect::philox numbers{seed_, pass};
    for (std::size_t k = size_; k > 1; --k) std::swap(order_[k - 1], order_[numbers.below(k, k)]);
    pass_ = pass;
  }
  return order_[i % size_];
}

padded_batch pad(std::span<const example* const> examples) {
  padded_batch batch;
  batch.rows = static_cast<index_t>(examples.size());
  bool weighted = false;
  for (const example* e : examples) {
    batch.columns = std::max(batch.columns, static_cast<index_t>(e->tokens.size()));
    weighted = weighted || e->weight != 1;
  }
  batch.tokens.assign(static_cast<std::size_t>(batch.rows * batch.columns), 0);
  for (index_t row = 0; row < batch.rows; ++row) {
    const example& e = *examples[static_cast<std::size_t>(row)];
    const index_t first = row * batch.columns;
    std::ranges::copy(e.tokens, batch.tokens.begin() + first);
    batch.real_tokens += static_cast<index_t>(e.tokens.size());
    for (std::size_t i = 0; i < e.targets.size(); ++i) {
      if (e.targets[i] == ignored_target) continue;
      batch.positions.push_back(first + static_cast<index_t>(i));
      batch.targets.push_back(e.targets[i]);
      if (weighted) batch.weights.push_back(e.weight);
    }
  }
  return batch;
}

std::vector<padded_batch> split(std::vector<const example*> examples, index_t rows) {
  std::ranges::stable_sort(examples, {}, [](const example* e) { return e->tokens.size(); });
  std::vector<padded_batch> batches;
  const std::span<const example* const> all(examples);
  for (std::size_t i = 0; i < all.size(); i += static_cast<std::size_t>(rows)) {
    batches.push_back(
        pad(all.subspan(i, std::min(static_cast<std::size_t>(rows), all.size() - i))));
  }
  return batches;
}

}  // namespace torch_trainer
