// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// llama2.c checkpoints and vocabularies: any bytes are either read, and then mean the same again
// once written, or refused by name.

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "fuzz/input.hpp"
#include "tiny_llama/checkpoint.hpp"
#include "tiny_llama/tokenizer.hpp"

namespace idiolect::fuzz {
namespace {

/// A file beside the others that goes away: writers rename, so that it cannot be one in memory.
std::string scratch_file() {
  static const std::string name = "/tmp/idiolect_fuzz_" + std::to_string(getpid());
  return name;
}

void checkpoint(input in) {
  static const memory_file file;
  std::string bytes;
  if (in.coin()) {  // a header that may describe a model, and as many bytes as it asks for
    tiny_llama::config c;
    c.heads = 1 + in.below(3);
    c.kv_heads = 1 + in.below(3);
    c.dim = 1 + in.below(16);
    c.hidden_dim = 1 + in.below(8);
    c.layers = 1 + in.below(2);
    c.vocab_size = 1 + in.below(9);
    c.context_size = 1 + in.below(5);
    c.tied = in.coin();
    for (const index_t size : {c.dim, c.hidden_dim, c.layers, c.heads, c.kv_heads,
                               c.tied ? c.vocab_size : -c.vocab_size, c.context_size}) {
      const auto word = static_cast<std::int32_t>(size);
      bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    if (c.dim % c.heads == 0) {
      bytes.resize(static_cast<std::size_t>(tiny_llama::detail::checkpoint_bytes(c)) +
                   static_cast<std::size_t>(in.one_of({0, 0, 0, 1})));
    }
    const auto rest = in.rest();
    for (std::size_t k = 28; k < bytes.size() && !rest.empty(); ++k) {
      bytes[k] = rest[k % rest.size()];
    }
  } else {
    bytes = in.rest();
  }
  file.write(bytes);
  try {
    const auto w = tiny_llama::read_checkpoint<float>(file.path());
    // Weights that are no finite numbers are read, and never written.
    for (const float x : w.flat()) {
      if (!std::isfinite(x)) return;
    }
    tiny_llama::write_checkpoint(w, scratch_file());
    const auto again = tiny_llama::read_checkpoint<float>(scratch_file());
    expect(w.flat().size() == again.flat().size() &&
               std::memcmp(w.flat().data(), again.flat().data(), w.flat().size_bytes()) == 0,
           "weights that change when they are written");
  } catch (const tiny_llama::file_error&) {
  }
}

void vocabulary(input in) {
  static const memory_file file;
  const index_t size = in.coin() ? -1 : in.below(300);
  std::string text = in.text(40);
  file.write(in.rest());
  try {
    const auto t = tiny_llama::read_tokenizer(file.path(), size);
    std::vector<token_id> tokens;
    t.encode(text, tokens);
    const std::string back = t.decode(tokens);
    if (t.has_byte_pieces()) expect(back == text, "a text that does not come back");
    tiny_llama::write_tokenizer(t, scratch_file());
    const auto again = tiny_llama::read_tokenizer(scratch_file());
    expect(again.vocab_size() == t.vocab_size(), "a vocabulary that changes when it is written");
  } catch (const tiny_llama::file_error&) {
  }
}

}  // namespace
}  // namespace idiolect::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  idiolect::fuzz::input in(data, size);
  if (in.coin()) {
    idiolect::fuzz::checkpoint(in);
  } else {
    idiolect::fuzz::vocabulary(in);
  }
  return 0;
}
