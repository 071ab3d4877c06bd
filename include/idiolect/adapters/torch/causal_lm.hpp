// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// `torch_lm`: any module with a cache as a causal_lm. A stream is a cache; a fork is a copy of it,
// which costs nothing: the tensors are shared, and a module that appends by `at::cat` makes new
// ones.
//
// One chunk after the other goes through the module. (An engine that batches its streams satisfies
// causal_lm itself.)

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/types.h>

#include <idiolect/adapters/torch/views.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/causal_lm.hpp>

namespace idiolect {

/// Requirements, for a module `m`, and a `c` of its type `M::cache`:
///  (1) `M::cache` is default-constructible, an empty text, and copyable. A copy stays as it is
///  when
///      the original is forwarded: `forward` replaces the tensors in a cache and never writes into
///      them.
///  (2) `m.forward(tokens, c)`, with tokens [1, T] of int64 on the module's device, appends them to
///  `c`
///      and gives their logits, [1, T, V] or [T, V], of any floating-point type on any device. The
///      position of the first is the number of tokens in `c` before.
///      Or `m.forward(tokens, c, first)`, which gives the logits of tokens[first ...] alone; first
///      == T: none are wanted, and what is returned is not looked at. For a prompt this saves T - 1
///      rows of the vocabulary's size.
///  (3) Optional: `m.truncate(c, n)` keeps the first n tokens and is true, or leaves `c` as it is
///  and
///      is false.
///  (4) Optional: `static constexpr bool batch_invariant`, as in model_traits.
template <class M>
concept torch_module = std::default_initializable<typename M::cache> &&
    std::copyable<typename M::cache> &&
    (requires(M& m, const torch::Tensor& tokens, typename M::cache& c) {
      { m.forward(tokens, c) } -> std::convertible_to<torch::Tensor>;
    } || requires(M& m, const torch::Tensor& tokens, typename M::cache& c, index_t first) {
      { m.forward(tokens, c, first) } -> std::convertible_to<torch::Tensor>;
    });

/// What a module does not say of itself.
struct torch_lm_options {
  index_t vocab = 0;    ///< columns of its logits
  index_t context = 0;  ///< tokens a stream can hold
  std::vector<token_id> end_tokens = {};
  index_t max_streams = 64;
  index_t max_chunk = 0;         ///< tokens in one call; 0: the context
  at::Device device = at::kCPU;  ///< where tokens go
};

/// A module as a causal_lm (and a truncatable_lm where it can truncate). Runs without autograd. The
/// logits are fp32, in host memory.
template <torch_module Module>
class torch_lm {
 public:
  static constexpr bool batch_invariant = [] {
    if constexpr (requires { { Module::batch_invariant } -> std::convertible_to<bool>; }) {
      return static_cast<bool>(Module::batch_invariant);
    } else {
      return false;
    }
  }();

  /// Raises shape_error for an empty vocabulary or context.
  torch_lm(Module module, torch_lm_options options)
      : module_(std::move(module)), options_(std::move(options)) {
    require(options_.vocab > 0, "vocab", "must be > 0");
    require(options_.context > 0, "context", "must be > 0");
  }

  [[nodiscard]] index_t vocab_size() const { return options_.vocab; }
  [[nodiscard]] index_t context_size() const { return options_.context; }
  [[nodiscard]] index_t max_streams() const { return options_.max_streams; }
  [[nodiscard]] index_t free_streams() const { return options_.max_streams - open_; }
  [[nodiscard]] index_t max_chunk() const {
    return options_.max_chunk > 0 ? options_.max_chunk : options_.context;
  }
  [[nodiscard]] bool is_end(token_id t) const {
    return std::ranges::find(options_.end_tokens, t) != options_.end_tokens.end();
  }
  [[nodiscard]] Module& module() { return module_; }

  stream_id open() { return add(stream{}); }
  stream_id fork(stream_id s) {
    const stream& from = at(s);
    return add(stream{from.cache, from.length, {}});
  }
  void drop(stream_id s) {
    (void)at(s);
    streams_[static_cast<std::size_t>(s)].reset();
    --open_;
  }
  [[nodiscard]] index_t length(stream_id s) const { return at(s).length; }

  bool truncate(stream_id s, index_t n)
    requires requires(Module& m, typename Module::cache& c) {
      { m.truncate(c, n) } -> std::convertible_to<bool>;
    }
  {
    stream& t = at(s);
    require(n >= 0 && n <= t.length, "length", "the stream is not that long");
    if (n == t.length) return true;
    if (!module_.truncate(t.cache, n)) return false;
    t.length = n;
    t.logits = torch::Tensor();
    return true;
  }

  /// Streams change when every chunk has gone through the module: what it throws leaves all of them
  /// as they were.
  forward_status forward(std::span<const chunk> chunks) {
    for (const chunk& c : chunks) {
      for (const token_id t : c.tokens) {
        require<target_error>(t >= 0 && t < options_.vocab, "tokens", "outside the vocabulary");
      }
      if (length(c.stream) + static_cast<index_t>(c.tokens.size()) > options_.context) {
        return forward_status::no_room;
      }
    }
    const at::NoGradGuard no_grad;
    std::vector<stream> results;
    results.reserve(chunks.size());
    for (const chunk& c : chunks) results.push_back(appended(at(c.stream), c));
    for (auto& s : streams_) {
      if (s) s->logits = torch::Tensor();
    }
    for (std::size_t k = 0; k < chunks.size(); ++k) at(chunks[k].stream) = std::move(results[k]);
    return forward_status::ok;
  }

  [[nodiscard]] matrix_view<const float> logits(stream_id s) const {
    const torch::Tensor& rows = at(s).logits;
    if (!rows.defined()) return {nullptr, 0, options_.vocab};
    return {static_cast<const float*>(detail::memory_of(rows)), rows.size(0), options_.vocab};
  }

 private:
  struct stream {
    typename Module::cache cache{};
    index_t length = 0;
    torch::Tensor logits = {};  // of the last forward
  };

  static constexpr bool takes_first =
      requires(Module& m, const torch::Tensor& tokens, typename Module::cache& c, index_t first) {
        m.forward(tokens, c, first);
      };

  [[nodiscard]] stream appended(const stream& before, const chunk& c) {
    stream s{before.cache, before.length + static_cast<index_t>(c.tokens.size()), {}};
    const auto count = static_cast<index_t>(c.tokens.size());
    if (count == 0) return s;
    torch::Tensor tokens = at::empty({1, count}, at::TensorOptions().dtype(at::kLong));
    std::ranges::copy(c.tokens, static_cast<std::int64_t*>(tokens.data_ptr()));
    tokens = tokens.to(options_.device);
    const index_t wanted = c.logits == want_logits::none   ? 0
                           : c.logits == want_logits::last ? 1
                                                           : count;
    torch::Tensor found;
    if constexpr (takes_first) {
      found = module_.forward(tokens, s.cache, count - wanted);
    } else {
      found = module_.forward(tokens, s.cache);
    }
    if (wanted == 0) return s;
    s.logits = rows(found, takes_first ? wanted : count, wanted);
    return s;
  }

  // The last `wanted` of `given` rows, in memory of their own if there are others.
  [[nodiscard]] torch::Tensor rows(const torch::Tensor& found, index_t given,
                                   index_t wanted) const {
    const bool batched = found.defined() && found.dim() == 3 && found.size(0) == 1;
    require(found.defined() && (batched || found.dim() == 2) && found.size(-2) == given &&
                found.size(-1) == options_.vocab,
            "module", [&] {
              return "gives logits of shape " +
                     (found.defined() ? detail::printed(found.sizes()) : "(undefined)") +
                     ", but [1, " + std::to_string(given) + ", " + std::to_string(options_.vocab) +
                     "] are needed";
            });
    const auto all = batched ? found.select(0, 0) : found;
    auto some = all.narrow(0, given - wanted, wanted).to(at::kCPU, at::kFloat).contiguous();
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(some.numel());
    return some.storage().nbytes() > bytes ? some.clone() : some;
  }

  stream_id add(stream s) {
    require<backend_error>(open_ < options_.max_streams, "torch_lm", [&] {
      return "no stream is free: all " + std::to_string(options_.max_streams) + " are open";
    });
    const auto free = std::ranges::find_if(streams_, [](const auto& t) { return !t.has_value(); });
    const auto id = static_cast<stream_id>(free - streams_.begin());
    if (free == streams_.end()) streams_.emplace_back();
    streams_[static_cast<std::size_t>(id)] = std::move(s);
    ++open_;
    return id;
  }

  [[nodiscard]] const stream& at(stream_id s) const {
    require<backend_error>(s >= 0 && static_cast<std::size_t>(s) < streams_.size() &&
                               streams_[static_cast<std::size_t>(s)].has_value(),
                           "stream", "not open");
    return *streams_[static_cast<std::size_t>(s)];
  }
  [[nodiscard]] stream& at(stream_id s) { return const_cast<stream&>(std::as_const(*this).at(s)); }

  Module module_;
  torch_lm_options options_;
  std::vector<std::optional<stream>> streams_;
  index_t open_ = 0;
};

}  // namespace idiolect
