// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Models and contexts of llama.cpp for tests, and what a model says of a text.

#include <llama-cpp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <idiolect/adapters/llama_cpp/llama_cpp.hpp>

#include "support/catch.hpp"

namespace idiolect::test {

using tokens = std::vector<token_id>;
using row = std::vector<float>;

/// Null where the file is not there or cannot be read. llama.cpp's log is kept quiet.
inline llama_model_ptr load(const std::filesystem::path& path, bool vocabulary_only = false) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model_params p = llama_model_default_params();
  p.vocab_only = vocabulary_only;
  if (!std::filesystem::exists(path)) return nullptr;
  return llama_model_ptr(llama_model_load_from_file(path.c_str(), p));
}

/// A file that fixtures.py makes; says that the test is skipped where there is none.
inline llama_model_ptr fixture(const std::string& name, bool vocabulary_only = false) {
  const auto path = std::filesystem::path(IDIOLECT_TEST_GGUF_DIR) / (name + ".gguf");
  if (!std::filesystem::exists(path)) {
    skip("no " + path.string() + ": IDIOLECT_DATA_DIR, or a Python with gguf, is missing");
    return nullptr;
  }
  auto model = load(path, vocabulary_only);
  REQUIRE((model != nullptr) == (name != "cut"));
  return model;
}

struct sizes {
  unsigned context = 1024;  ///< of all streams together
  unsigned streams = 4;
  bool unified = true;
  unsigned batch = 512;
  unsigned micro_batch = 512;
  /// All in fp32. (llama.cpp's default keeps keys and values in fp16, and so does its flash
  /// attention whatever it is told.)
  bool exact = true;
};

inline llama_context_params parameters(sizes s) {
  llama_context_params p = llama_context_default_params();
  p.n_ctx = s.context;
  p.n_seq_max = s.streams;
  p.kv_unified = s.unified;
  p.n_batch = s.batch;
  p.n_ubatch = s.micro_batch;
  p.n_threads = p.n_threads_batch = 1;
  if (s.exact) {
    p.type_k = p.type_v = GGML_TYPE_F32;
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  }
  return p;
}
inline llama_context_ptr context(const llama_model_ptr& model, sizes s = {}) {
  return llama_context_ptr(llama_init_from_model(model.get(), parameters(s)));
}

/// A text of the right kind: 1 (begin), then what looks like words.
inline tokens some_text(std::size_t n, unsigned seed = 0) {
  tokens t{1};
  while (t.size() < n) t.push_back(static_cast<token_id>(259 + (t.size() * 37 + seed * 101) % 250));
  t.resize(n);
  return t;
}

inline std::vector<row> copy(matrix_view<const float> m) {
  std::vector<row> rows;
  for (index_t i = 0; i < m.rows(); ++i) rows.emplace_back(m.row(i), m.row(i) + m.cols());
  return rows;
}

inline forward_status give(llama_lm& m, stream_id s, const tokens& t,
                           want_logits w = want_logits::last) {
  return m.forward(std::array{chunk{s, t, w}});
}

/// All rows of a text, by a stream of its own that takes it token by token.
inline std::vector<row> rows_alone(llama_lm& m, const tokens& text) {
  const stream_id s = m.open();
  std::vector<row> rows;
  for (const token_id t : text) {
    REQUIRE(give(m, s, {t}) == forward_status::ok);
    rows.push_back(copy(m.logits(s)).front());
  }
  m.drop(s);
  return rows;
}

/// The largest difference of two rows.
inline double distance(const row& a, const row& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return most;
}
/// Allowed between rows of one text that were computed with others beside them, or in other chunks:
/// sums of fp32 in another order, for logits of the size of 10.
inline constexpr double rounding = 2e-4;

inline tokens joined(tokens a, const tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace idiolect::test
