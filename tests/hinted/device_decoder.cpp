// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Decoding where the logits are in device memory, without a device: a model whose rows only its own
// policy can read, and a policy that answers requests in batches with the kernel's body. The same
// texts as on the host, whatever is in flight, deferred or cut short.

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <idiolect/backend/cuda/hinted_row.hpp>
#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/hinted/decoder.hpp>
#include <idiolect/hinted/policy.hpp>
#include <idiolect/hinted/request.hpp>
#include <idiolect/hinted/writer.hpp>

#include "hash_lm.hpp"
#include "settings.hpp"
#include "support/catch.hpp"
#include "support/rows.hpp"
#include "support/thread_group.hpp"

namespace idiolect::test {
namespace {

// Where the "device" is: nobody may read there.
constexpr std::uintptr_t device_offset = std::uintptr_t{1} << 60;

const float* on_device(const float* p) {
  return reinterpret_cast<const float*>(reinterpret_cast<std::uintptr_t>(p) + device_offset);
}
const float* on_host(const float* p) {
  if (p == nullptr) return p;
  return reinterpret_cast<const float*>(reinterpret_cast<std::uintptr_t>(p) - device_offset);
}

/// A hash_lm whose logits fault when the host reads them. `aligned`: each row at a multiple of 16
/// bytes, as devices like it; the grouping of a row's sums depends on where it begins.
class device_lm : public hash_lm {
 public:
  static constexpr bool device_logits = true;

  explicit device_lm(const hash_lm_options& o, bool aligned = true)
      : hash_lm(o), stride_(aligned ? (vocab_size() + 3) / 4 * 4 : vocab_size()) {}

  [[nodiscard]] matrix_view<const float> logits(stream_id s) const {
    const auto rows = hash_lm::logits(s);
    auto& memory = memory_[s];
    memory.resize(static_cast<std::size_t>(rows.rows() * stride_));
    for (index_t r = 0; r < rows.rows(); ++r) {
      std::copy_n(rows.row(r), rows.cols(), memory.data() + r * stride_);
    }
    return {on_device(memory.data()), rows.rows(), rows.cols(), stride_};
  }

 private:
  index_t stride_;
  mutable std::map<stream_id, std::vector<float>> memory_;
};
static_assert(causal_lm<device_lm>);

/// What a policy on a device does, by threads of the host: `Threads` a request.
template <int Threads>
class fake_device_policy : public hinted_writer<scrap_tokenizer, any_lambda> {
 public:
  static constexpr bool device_logits = true;
  static constexpr index_t places = 64;

  fake_device_policy(const scrap_tokenizer& pieces, any_lambda schedule, hinted_options options,
                     index_t vocab, bool deferred = true)
      : hinted_writer(pieces, schedule, std::move(options)),
        stride_(detail::place_stride(vocab)),
        drawn_(static_cast<std::size_t>(places * stride_)),
        kept_(deferred ? drawn_.size() : 0) {}

  void answer(std::span<const hinted_request<float>> requests,
              std::span<hinted_answer> answers) const {
    ++calls_;
    std::vector<bool> taken(places);
    for (std::size_t k = 0; k < requests.size(); ++k) {
      hinted_request<float> r = requests[k];
      r.teacher = on_host(r.teacher);
      r.student = on_host(r.student);
      if (r.task == hinted_task::next_token) {
        const auto place = static_cast<std::size_t>(r.place);
        if (taken.at(place)) FAIL("two texts at one place");
        taken[place] = true;
      }
      const detail::hinted_rows<float, float> rows{drawn_.data(),
                                                   kept_.empty() ? nullptr : kept_.data(), stride_};
      const auto with = [&](const auto& group) {
        using group_type = std::remove_cvref_t<decltype(group)>;
        const detail::hinted_row<float, float, detail::max_edges<float>, group_type> step(
            group, sums_, rows);
        const hinted_answer a = step.answer(r, rule());
        if (group.rank() == 0) answers[k] = a;
      };
      if constexpr (Threads == 1) {
        with(detail::lone_thread{});
      } else {
        run_group(Threads, with);
      }
    }
  }
  [[nodiscard]] index_t calls() const { return calls_; }

 private:
  index_t stride_;
  mutable std::vector<float> drawn_;
  mutable std::vector<float> kept_;
  mutable detail::sum_memory sums_;
  mutable index_t calls_ = 0;
};
static_assert(batch_policy<fake_device_policy<1>, float>);

template <int Threads = 1>
outcome decode_on_device(const setting& s, decoder_options options, bool aligned = true) {
  device_lm model(s.model, aligned);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const fake_device_policy<Threads> policy(pieces, s.schedule, s.options, s.model.vocab);
  const auto found = decode_with(model, policy, s, std::move(options));
  if (policy.calls() > found.counts.calls) FAIL("more calls of the policy than of the model");
  return found;
}

constexpr index_t settings = 50;
constexpr index_t jobs_each = 20;

}  // namespace

TEST_CASE("texts are decoded on a device as the plain decoder does") {
  // Statistics in single precision: a schedule near its threshold may go the other way.
  index_t texts = 0;
  index_t tokens = 0;
  index_t different = 0;
  std::map<stop_reason, index_t> stops;
  for (std::uint64_t seed = 0; seed < 2 * settings; ++seed) {
    const setting s = random_setting(seed, jobs_each);
    const auto found = decode_on_device(s, {.parallel = 64}, seed % 2 == 0);
    REQUIRE(found.results.size() == s.jobs.size());
    for (const auto& [record, expected] : decode_plainly(s, 1e-4)) {
      const decode_result& result = found.results.at(record);
      ++texts;
      tokens += static_cast<index_t>(result.text.ids.size());
      ++stops[result.text.stop];
      const std::string wrong = difference(result, expected, 1e-5);
      if (wrong.empty()) continue;
      INFO("setting " << seed << ", record " << record << " differs in " << wrong);
      CHECK(expected.near_tie);
      ++different;
    }
  }
  std::cout << "decoding on a device: " << different << " of " << texts << " texts (" << tokens
            << " tokens) differ from the plain decoder's, each with a draw or a cut within 1e-4 of "
               "another\n";
  CHECK(different <= 20);
  CHECK(tokens > 16'000);
  for (const auto reason :
       {stop_reason::end_of_sequence, stop_reason::max_tokens, stop_reason::repetition,
        stop_reason::context_full, stop_reason::non_finite, stop_reason::no_support,
        stop_reason::marker_missing}) {
    INFO(name(reason));
    CHECK(stops[reason] >= 5);
  }
}

TEST_CASE("a text on a device does not depend on what else is in flight") {
  index_t evicted = 0;
  for (std::uint64_t seed = 0; seed < settings; ++seed) {
    setting s = random_setting(seed, jobs_each);
    INFO("setting " << seed);
    const auto expected = decode_on_device(s, {.parallel = 7});
    CHECK(difference(decode_on_device(s, {.parallel = 1}), expected) == "");
    CHECK(difference(decode_on_device(s, {.parallel = 64}), expected) == "");
    for (const index_t lag : {1, 4, 32}) {
      INFO("lag " << lag);
      CHECK(difference(decode_on_device(s, {.parallel = 7, .defer_student = true, .max_lag = lag}),
                       expected) == "");
    }
    for (const index_t most : {2, 5}) {
      s.model.chunk = most;
      INFO("chunk " << most);
      CHECK(difference(decode_on_device(s, {.parallel = 7}), expected) == "");
      CHECK(difference(decode_on_device(s, {.parallel = 3, .defer_student = true, .max_lag = 6}),
                       expected) == "");
    }
    // A cache that holds any text alone, but few of them at once: places are taken again.
    s.model.streams = 7;
    s.model.chunk = 4096;
    s.model.cache = 2 * s.model.context;
    for (const bool deferred : {false, true}) {
      const auto found = decode_on_device(s, {.parallel = 64, .defer_student = deferred});
      CHECK(difference(found, expected) == "");
      evicted += found.evictions;
    }
  }
  CHECK(evicted > 100);
}

TEST_CASE("the group that works on a request changes nothing but the rounding of sums") {
  index_t different = 0;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    setting s = random_setting(seed, 4);
    s.options.max_tokens = 12;
    const auto found = decode_on_device<3>(s, {.parallel = 4, .defer_student = seed % 2 == 0});
    for (const auto& [record, expected] : decode_plainly(s, 1e-4)) {
      const std::string wrong = difference(found.results.at(record), expected, 1e-5);
      if (wrong.empty()) continue;
      INFO("setting " << seed << ", record " << record << " differs in " << wrong);
      CHECK(expected.near_tie);
      ++different;
    }
  }
  CHECK(different <= 1);
}

TEST_CASE("a schedule that is none is named though a device cannot raise") {
  const setting s = random_setting(8, 1);
  const scrap_tokenizer pieces(s.model.vocab, s.tokenizer_seed);
  const fake_device_policy<1> policy(pieces, s.schedule, s.options, s.model.vocab);
  auto state = policy.start(1);
  CHECK_THROWS_AS(policy.accept(state, {.status = hinted_status::bad_lambda}), shape_error);
}

}  // namespace idiolect::test
