// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The policy for models whose logits are in device memory: hinted_decoder asks it once for all
// texts in flight, and no row is copied to the host.

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include <cuda_runtime_api.h>

#include <idiolect/backend/cuda/hinted_step.cuh>
#include <idiolect/backend/cuda/policy.cuh>
#include <idiolect/core/error.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/request.hpp>
#include <idiolect/hinted/writer.hpp>
#include <idiolect/model/tokenizer.hpp>

namespace idiolect {

/// What a cuda_hinted_policy has memory for.
struct hinted_capacity {
  index_t parallel = 16;  ///< texts in flight: decoder_options::parallel, or more
  index_t vocab = 0;      ///< the model's columns of logits
  bool deferred = false;  ///< decoder_options::defer_student
  /// Requests of one launch; more take several. A text makes one for its next token, and with
  /// `deferred` one for each late score.
  index_t requests = 64;
};

/// hinted_policy's twin for logits of type T on a device. `where.stream` is the one that the
/// model's forward ends on. An answer takes a copy to the device, a launch and a copy back, of 100
/// to 200 bytes a request, and waits for them: the texts that the tokens belong to are on the host.
///
/// One thread at a time. Texts are the host policy's but where a draw or a cut lies within the
/// rounding of a sum of another token; to the bit they depend on the rows alone, if each of them
/// begins at a multiple of 16 bytes.
template <logit_scalar T, tokenizer Tokenizer, lambda_schedule Schedule = linear_lambda>
class cuda_hinted_policy : public hinted_writer<Tokenizer, Schedule> {
  using writer = hinted_writer<Tokenizer, Schedule>;

 public:
  static constexpr bool device_logits = true;

  /// Bytes of workspace that a policy of this capacity needs.
  [[nodiscard]] static std::size_t workspace_bytes(const hinted_capacity& c) {
    detail::workspace_layout layout;
    (void)pieces(layout, c);
    return layout.used();
  }

  /// `tokens` and the workspace must outlive the policy, and the workspace is its alone. Raises
  /// shape_error for options that make no sense and for a workspace that is too small.
  cuda_hinted_policy(const cuda& where, const Tokenizer& tokens, Schedule schedule,
                     hinted_options options, const hinted_capacity& capacity)
      : writer(tokens, std::move(schedule), std::move(options)),
        where_(where),
        capacity_(capacity) {
    require(capacity.parallel > 0 && capacity.vocab > 0 && capacity.requests > 0, "hinted_capacity",
            "texts, logits and requests must be > 0");
    detail::workspace_layout layout(where.workspace);
    const auto p = pieces(layout, capacity);
    layout.check("cuda_hinted_policy::workspace_bytes");
    requests_ = p.requests;
    answers_ = p.answers;
    where_.workspace = {p.rows, p.row_bytes};
  }

  /// The policy keeps a pointer to the tokenizer: a temporary would be gone.
  cuda_hinted_policy(const cuda&, const Tokenizer&&, Schedule, hinted_options,
                     const hinted_capacity&) = delete;

  /// Answers requests whose rows are in device memory; both arrays are the host's. Waits.
  void answer(std::span<const hinted_request<T>> requests, std::span<hinted_answer> answers) const {
    for (const auto& r : requests) {
      require(r.size > 0 && r.size <= capacity_.vocab, "hinted_capacity::vocab",
              "a row is empty or longer");
      require(r.place < capacity_.parallel, "hinted_capacity::parallel", "more texts in flight");
    }
    const auto most = static_cast<std::size_t>(capacity_.requests);
    for (std::size_t first = 0; first < requests.size(); first += most) {
      const std::size_t count = (std::min)(most, requests.size() - first);
      check(cudaMemcpyAsync(requests_, requests.data() + first, count * sizeof(hinted_request<T>),
                            cudaMemcpyHostToDevice, where_.stream),
            "hinted requests");
      hinted_step(where_, requests_, answers_, static_cast<index_t>(count), capacity_.parallel,
                  capacity_.vocab, this->rule(), capacity_.deferred);
      check(cudaMemcpyAsync(answers.data() + first, answers_, count * sizeof(hinted_answer),
                            cudaMemcpyDeviceToHost, where_.stream),
            "hinted answers");
    }
    check(cudaStreamSynchronize(where_.stream), "hinted_step");
    for (const auto& a : answers.first(requests.size())) {
      require(a.status != hinted_status::student_needed || capacity_.deferred,
              "hinted_capacity::deferred", "a student's row was deferred");
    }
  }

 private:
  struct memory {
    hinted_request<T>* requests;
    hinted_answer* answers;
    void* rows;
    std::size_t row_bytes;
  };
  static memory pieces(detail::workspace_layout& layout, const hinted_capacity& c) {
    memory m{};
    m.requests = layout.take<hinted_request<T>>(c.requests);
    m.answers = layout.take<hinted_answer>(c.requests);
    m.row_bytes = hinted_workspace_bytes<T>(c.parallel, c.vocab, c.deferred);
    m.rows = layout.take<unsigned char>(static_cast<index_t>(m.row_bytes));
    return m;
  }

  cuda where_;  // its workspace is what the kernel uses
  hinted_capacity capacity_;
  hinted_request<T>* requests_;
  hinted_answer* answers_;
};

}  // namespace idiolect
