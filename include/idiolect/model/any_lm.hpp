// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A causal_lm and a tokenizer whose types are known at run time: for a program that learns from its
// command line which engine it works with. Each call costs a virtual call more than the model's
// own, whatever the number of streams or rows in it.
//
// Both are made of an object that they own (moved in), of one that they share (std::shared_ptr,
// which may keep alive more than the object it points to), or of one that the caller keeps
// (std::ref). What is known only at run time is asked of them as of any model: see model_traits.

#include <concepts>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/model/causal_lm.hpp>
#include <idiolect/model/tokenizer.hpp>

namespace idiolect {

namespace detail {

/// The object in an owner, behind a shared pointer or a reference.
template <class Holder>
struct held {
  using type = Holder;
  static bool empty(const Holder&) { return false; }
  static Holder& get(Holder& object) { return object; }
  static const Holder& get(const Holder& object) { return object; }
};
template <class T>
struct held<std::shared_ptr<T>> {
  using type = std::remove_const_t<T>;
  static bool empty(const std::shared_ptr<T>& p) { return p == nullptr; }
  static T& get(const std::shared_ptr<T>& p) { return *p; }
};
template <class T>
struct held<std::reference_wrapper<T>> {
  using type = std::remove_const_t<T>;
  static bool empty(const std::reference_wrapper<T>&) { return false; }
  static T& get(const std::reference_wrapper<T>& r) { return r.get(); }
};

/// A model whose logits are floats in host memory.
template <class M>
concept host_float_lm =
    causal_lm<M> && !model_traits<M>::device_logits && requires(const M& m, stream_id s) {
  { view(m.logits(s)) } -> std::convertible_to<matrix_view<const float>>;
};

}  // namespace detail

/// Any causal_lm with fp32 logits in host memory. Movable, not copyable.
class any_lm {
 public:
  /// Owns `model`, or shares it, or refers to it. Raises shape_error for a null pointer.
  template <class Holder>
  requires(
      !std::is_lvalue_reference_v<Holder> && !std::same_as<Holder, any_lm> &&
      detail::host_float_lm<typename detail::held<Holder>::type>) explicit any_lm(Holder&& model)
      : model_(std::make_unique<erased<std::remove_const_t<Holder>>>(std::move(model))) {}

  [[nodiscard]] index_t vocab_size() const { return model_->vocab_size(); }
  [[nodiscard]] index_t context_size() const { return model_->context_size(); }
  [[nodiscard]] index_t max_streams() const { return model_->max_streams(); }
  [[nodiscard]] index_t max_chunk() const { return model_->max_chunk(); }
  /// Of a model that does not say it: what is left of max_streams of those opened here.
  [[nodiscard]] index_t free_streams() const { return model_->free_streams(opened_); }
  [[nodiscard]] bool can_truncate() const { return model_->can_truncate(); }
  /// Whether the model says that it is batch_invariant. As a type any_lm promises nothing.
  [[nodiscard]] bool invariant_rows() const { return model_->invariant_rows(); }

  [[nodiscard]] stream_id open() {
    const stream_id s = model_->open();
    ++opened_;
    return s;
  }
  [[nodiscard]] stream_id fork(stream_id s) {
    const stream_id copy = model_->fork(s);
    ++opened_;
    return copy;
  }
  void drop(stream_id s) {
    model_->drop(s);
    --opened_;
  }
  /// False where the model has no `truncate`; a stream that is not open, or not that long, is then
  /// an error all the same.
  [[nodiscard]] bool truncate(stream_id s, index_t n) { return model_->truncate(s, n); }

  [[nodiscard]] index_t length(stream_id s) const { return model_->length(s); }
  [[nodiscard]] forward_status forward(std::span<const chunk> chunks) {
    return model_->forward(chunks);
  }
  [[nodiscard]] matrix_view<const float> logits(stream_id s) const { return model_->logits(s); }
  [[nodiscard]] bool is_end(token_id t) const { return model_->is_end(t); }

 private:
  struct interface {
    interface() = default;
    interface(const interface&) = delete;
    interface& operator=(const interface&) = delete;
    virtual ~interface() = default;
    virtual index_t vocab_size() const = 0;
    virtual index_t context_size() const = 0;
    virtual index_t max_streams() const = 0;
    virtual index_t max_chunk() const = 0;
    virtual index_t free_streams(index_t opened) const = 0;
    virtual bool can_truncate() const = 0;
    virtual bool invariant_rows() const = 0;
    virtual stream_id open() = 0;
    virtual stream_id fork(stream_id s) = 0;
    virtual void drop(stream_id s) = 0;
    virtual bool truncate(stream_id s, index_t n) = 0;
    virtual index_t length(stream_id s) const = 0;
    virtual forward_status forward(std::span<const chunk> chunks) = 0;
    virtual matrix_view<const float> logits(stream_id s) const = 0;
    virtual bool is_end(token_id t) const = 0;
  };

  template <class Holder>
  class erased final : public interface {
    using model_type = typename detail::held<Holder>::type;
    using traits = model_traits<model_type>;

   public:
    explicit erased(Holder model) : holder_(std::move(model)) {
      require(!detail::held<Holder>::empty(holder_), "model", "is a null pointer");
    }

    index_t vocab_size() const override { return model().vocab_size(); }
    index_t context_size() const override { return model().context_size(); }
    index_t max_streams() const override { return traits::max_streams(model()); }
    index_t max_chunk() const override { return traits::max_chunk(model()); }
    index_t free_streams(index_t opened) const override {
      return traits::free_streams(model(), opened);
    }
    bool can_truncate() const override { return traits::can_truncate(model()); }
    bool invariant_rows() const override { return traits::batch_invariant; }
    stream_id open() override { return model().open(); }
    stream_id fork(stream_id s) override { return model().fork(s); }
    void drop(stream_id s) override { model().drop(s); }
    bool truncate(stream_id s, index_t n) override {
      if constexpr (truncatable_lm<model_type>) {
        return model().truncate(s, n);
      } else {
        require(n >= 0 && n <= model().length(s), "length", "the stream is not that long");
        return false;
      }
    }
    index_t length(stream_id s) const override { return model().length(s); }
    forward_status forward(std::span<const chunk> chunks) override {
      return model().forward(chunks);
    }
    matrix_view<const float> logits(stream_id s) const override { return view(model().logits(s)); }
    bool is_end(token_id t) const override { return model().is_end(t); }

   private:
    model_type& model() { return detail::held<Holder>::get(holder_); }
    const model_type& model() const { return detail::held<Holder>::get(holder_); }
    Holder holder_;
  };

  std::unique_ptr<interface> model_;
  index_t opened_ = 0;
};

/// Any tokenizer. What it can do beside the least is asked at run time. Cheap to copy: copies share
/// the object, which is immutable.
class any_tokenizer {
 public:
  /// Owns `t`, or shares it, or refers to it. Raises shape_error for a null pointer.
  template <class Holder>
  requires(!std::is_lvalue_reference_v<Holder> &&
           !std::same_as<std::remove_const_t<Holder>, any_tokenizer> &&
           tokenizer<typename detail::held<Holder>::type>) explicit any_tokenizer(Holder&& t)
      : tokenizer_(std::make_shared<const erased<std::remove_const_t<Holder>>>(std::move(t))) {}

  [[nodiscard]] index_t vocab_size() const { return tokenizer_->vocab_size(); }
  void encode(std::string_view text, std::vector<token_id>& out) const {
    tokenizer_->encode(text, out);
  }
  void append_piece(token_id t, std::string& bytes) const { tokenizer_->append_piece(t, bytes); }

  /// Whether `encode_text` works.
  [[nodiscard]] bool can_continue() const { return tokenizer_->can_continue(); }
  /// Raises backend_error where the tokenizer cannot.
  void encode_text(std::string_view text, std::vector<token_id>& out) const {
    tokenizer_->encode_text(text, out);
  }

  /// Whether `encode_chat` works: the tokenizer has it, and says yes where it has `can_chat()` too.
  [[nodiscard]] bool can_chat() const { return tokenizer_->can_chat(); }
  /// Raises backend_error where the tokenizer cannot.
  void encode_chat(std::span<const chat_turn> turns, std::vector<token_id>& out) const {
    tokenizer_->encode_chat(turns, out);
  }

 private:
  struct interface {
    interface() = default;
    interface(const interface&) = delete;
    interface& operator=(const interface&) = delete;
    virtual ~interface() = default;
    virtual index_t vocab_size() const = 0;
    virtual void encode(std::string_view text, std::vector<token_id>& out) const = 0;
    virtual void append_piece(token_id t, std::string& bytes) const = 0;
    virtual bool can_continue() const = 0;
    virtual void encode_text(std::string_view text, std::vector<token_id>& out) const = 0;
    virtual bool can_chat() const = 0;
    virtual void encode_chat(std::span<const chat_turn> turns,
                             std::vector<token_id>& out) const = 0;
  };

  template <class Holder>
  class erased final : public interface {
    using tokenizer_type = typename detail::held<Holder>::type;

   public:
    explicit erased(Holder t) : holder_(std::move(t)) {
      require(!detail::held<Holder>::empty(holder_), "tokenizer", "is a null pointer");
    }

    index_t vocab_size() const override { return of().vocab_size(); }
    void encode(std::string_view text, std::vector<token_id>& out) const override {
      of().encode(text, out);
    }
    void append_piece(token_id t, std::string& bytes) const override {
      of().append_piece(t, bytes);
    }
    bool can_continue() const override { return continuing_tokenizer<tokenizer_type>; }
    void encode_text(std::string_view text, std::vector<token_id>& out) const override {
      if constexpr (continuing_tokenizer<tokenizer_type>) {
        of().encode_text(text, out);
      } else {
        raise(backend_error("tokenizer", "cannot go on within a text: it has no encode_text"));
      }
    }
    bool can_chat() const override {
      if constexpr (requires(const tokenizer_type& t) {
                      { t.can_chat() } -> std::convertible_to<bool>;
                    }) {
        return chat_tokenizer<tokenizer_type> && of().can_chat();
      } else {
        return chat_tokenizer<tokenizer_type>;
      }
    }
    void encode_chat(std::span<const chat_turn> turns, std::vector<token_id>& out) const override {
      if constexpr (chat_tokenizer<tokenizer_type>) {
        of().encode_chat(turns, out);
      } else {
        raise(backend_error("tokenizer", "has no template for a conversation"));
      }
    }

   private:
    const tokenizer_type& of() const { return detail::held<Holder>::get(holder_); }
    Holder holder_;
  };

  std::shared_ptr<const interface> tokenizer_;
};

static_assert(truncatable_lm<any_lm> && !model_traits<any_lm>::batch_invariant);
static_assert(continuing_tokenizer<any_tokenizer> && chat_tokenizer<any_tokenizer>);

}  // namespace idiolect
