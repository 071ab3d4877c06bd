// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The Thrust backend: scores, losses and gradients by the algorithms of a Thrust system (C++,
// OpenMP, CUDA), with the same bits for any number of threads. It is the plain backend of those
// systems: double throughout, one merge a logit, a few algorithms a call. steps.hpp has the
// arithmetic. On CUDA's it is compiled and host-tested, not yet run on a GPU.
//
//   score(thrust_system{thrust::omp::par}, logits, targets)
//   loss_and_gradient(thrust_system{thrust::cuda::par.on(stream)}, logits, targets, idft{}, dz)
//
// Without nvcc, define THRUST_DEVICE_SYSTEM as THRUST_DEVICE_SYSTEM_CPP (or _OMP) before any header
// of Thrust: its own default wants the CUDA toolkit.

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <thrust/copy.h>
#include <thrust/device_ptr.h>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/memory.h>
#include <thrust/reduce.h>
#include <thrust/system/cpp/execution_policy.h>
#include <thrust/tabulate.h>

#include <idiolect/backend/thrust/steps.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/core/error.hpp>
#include <idiolect/core/matrix_view.hpp>
#include <idiolect/core/targets.hpp>
#include <idiolect/loss/loss.hpp>
#include <idiolect/loss/partial_report.hpp>

namespace idiolect {

/// Execution policy: the algorithms of `policy`'s system. A cheap value.
///
/// Logits, targets, weights and gradients are in the system's memory: of a CUDA policy on its
/// device, given as views and spans of device pointers. Sequence offsets and end tokens, like all
/// results, are in host memory. Temporary memory is Thrust's, from the policy's allocator where it
/// has one: thrust::cuda::par(allocator).on(stream). What Thrust throws reaches the caller.
template <class Policy>
struct thrust_system {
  Policy policy;
};
template <class Policy>
thrust_system(Policy) -> thrust_system<Policy>;

namespace detail::thrust_steps {

template <class Derived>
std::true_type builds_on_cpp(const THRUST_NS_QUALIFIER::cpp::execution_policy<Derived>&);
std::false_type builds_on_cpp(...);
/// Whether the policy's memory is the host's, as it is of every system that builds on Thrust's C++
/// one.
template <class Policy>
inline constexpr bool on_host = decltype(builds_on_cpp(std::declval<const Policy&>()))::value;

/// Uninitialised memory for n values, where the policy's algorithms can use it.
template <class T, class Policy>
class temporary {
 public:
  temporary(const Policy& policy, index_t n) : policy_(policy), n_(n) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (n == 0) return;
    buffer_ = THRUST_NS_QUALIFIER::get_temporary_buffer<T>(policy_, static_cast<std::ptrdiff_t>(n));
    if (buffer_.second < n) {
      release();
      raise(backend_error("thrust_system", "no memory for " + std::to_string(n) + " x " +
                                               std::to_string(sizeof(T)) + " bytes"));
    }
  }
  temporary(const temporary&) = delete;
  temporary& operator=(const temporary&) = delete;
  ~temporary() { release(); }

  [[nodiscard]] T* begin() const { return THRUST_NS_QUALIFIER::raw_pointer_cast(buffer_.first); }
  [[nodiscard]] T* end() const { return begin() + n_; }

 private:
  using buffer = decltype(THRUST_NS_QUALIFIER::get_temporary_buffer<T>(std::declval<const Policy&>(), 0));
  void release() {
    if (buffer_.second > 0) {
      THRUST_NS_QUALIFIER::return_temporary_buffer(policy_, buffer_.first, buffer_.second);
    }
  }
  const Policy& policy_;
  index_t n_;
  buffer buffer_{};
};

using counting = THRUST_NS_QUALIFIER::counting_iterator<index_t>;

/// f(0), f(1), ... in the system's memory.
template <class Policy, class T, class F>
void fill(const Policy& policy, const temporary<T, Policy>& values, F f) {
  THRUST_NS_QUALIFIER::tabulate(policy, values.begin(), values.end(), f);
}

/// As an iterator of Thrust that knows where it points to.
template <class Policy, class T>
auto located(T* p) {
  if constexpr (on_host<Policy>) {
    return p;
  } else {
    return THRUST_NS_QUALIFIER::device_ptr<T>(p);
  }
}

/// Copies between host and device ask no policy, and an algorithm may return before its work is
/// done. A sum's value is there only after everything before it.
template <class Policy>
void wait(const Policy& policy) {
  if constexpr (!on_host<Policy>) (void)THRUST_NS_QUALIFIER::reduce(policy, counting(0), counting(1));
}
template <class T, class Policy>
std::vector<T> to_host(const Policy& policy, const temporary<T, Policy>& values) {
  std::vector<T> r(static_cast<std::size_t>(values.end() - values.begin()));
  if (r.empty()) return r;
  wait(policy);
  THRUST_NS_QUALIFIER::copy(located<Policy>(values.begin()), located<Policy>(values.end()), r.begin());
  return r;
}
template <class T, class Policy>
void to_system(const Policy& policy, std::span<const T> values,
               const temporary<T, Policy>& memory) {
  if (values.empty()) return;
  wait(policy);
  THRUST_NS_QUALIFIER::copy(values.begin(), values.end(), located<Policy>(memory.begin()));
}

/// What f makes of each chunk of rows, merged in order. (Thrust's reductions group by threads.)
template <class Part, class Policy, class F>
Part merged(const Policy& policy, F f) {
  const temporary<Part, Policy> parts(policy, f.chunks.count());
  fill(policy, parts, f);
  Part all;
  for (const Part& part : to_host(policy, parts)) all.merge(part);
  return all;
}

/// The rows of a call, and how many of them count. Raises as check_targets does.
template <class Policy, class T, class Target>
index_t count_valid(const Policy& policy, const matrix_view<const T>& logits,
                    std::span<const Target> targets, token_id ignore) {
  check_target_count(logits, targets.size());
  const auto all = merged<target_count>(
      policy, count_targets<Target>{{logits.rows()}, targets.data(), logits.cols(), ignore});
  if (all.wrong_row >= 0) raise_target(all.wrong_row, all.wrong, logits.cols(), ignore);
  return all.valid;
}

template <class T, class Target>
row_source<T, Target> source_of(const matrix_view<const T>& logits, std::span<const Target> targets,
                                token_id ignore, double temperature) {
  return {logits.data(), logits.cols(), logits.stride(), targets.data(), ignore, 1 / temperature};
}

/// The calls of loss and loss_and_gradient; G is void_gradient for the loss alone.
template <class Policy, class T, class Target, class Loss, class G>
loss_report run_loss(const Policy& policy, const matrix_view<const T>& logits,
                     std::span<const Target> targets, const Loss& loss,
                     const matrix_view<G>& gradient, const loss_options& o) {
  constexpr moments set = required_moments<Loss>;
  const index_t valid = count_valid(policy, logits, targets, o.ignore_index);
  const auto rows = source_of(logits, targets, o.ignore_index, o.temperature);
  const index_t n = logits.rows();
  const index_t lanes = n * rows.cut().per_row();

  const temporary<token_id, Policy> end_tokens(policy, static_cast<index_t>(o.end_tokens.size()));
  to_system(policy, o.end_tokens, end_tokens);
  row_options options = row_options_of(o);
  options.end_tokens = end_tokens.begin();

  const bool by_sequence = o.reduce.how == reduction::kind::sequence_mean && n > 0;
  const auto sequences = by_sequence ? static_cast<index_t>(o.sequence_offsets.size()) - 1 : 0;
  const temporary<index_t, Policy> offsets(policy, by_sequence ? sequences + 1 : 0);
  const temporary<index_t, Policy> counts(policy, sequences);
  row_scale scale{.common = common_scale(o, valid)};
  if (by_sequence) {
    to_system(policy, o.sequence_offsets, offsets);
    fill(policy, counts, count_sequence<Target>{targets.data(), offsets.begin(), o.ignore_index});
    scale = {
        .common = 0,
        .offsets = offsets.begin(),
        .valid = counts.begin(),
        .sequences = sequences,
        .counted = std::ranges::count_if(to_host(policy, counts), [](index_t k) { return k > 0; })};
  }

  const temporary<row_outcome, Policy> outcomes(policy, n);
  {
    const temporary<row_state<double, set>, Policy> states(policy, lanes);
    fill(policy, states, fold_lane<set, T, Target>{rows});
    fill(policy, outcomes, finish_row<Loss, T, Target>{rows, states.begin(), loss, scale, options});
  }
  if constexpr (logit_scalar<G>) {
    THRUST_NS_QUALIFIER::for_each(policy, counting(0), counting(lanes),
                       write_lane<T, Target, G>{rows, outcomes.begin(), gradient.data(),
                                                gradient.stride(), o.accumulate});
  }

  const auto all = merged<partial_report>(policy, report_rows{{n}, outcomes.begin()});
  loss_report report = finish_report(all, valid, o.on_non_finite);
  if (o.reduce.how == reduction::kind::none) {
    const temporary<double, Policy> losses(policy, n);
    fill(policy, losses, loss_of_row{outcomes.begin()});
    report.token_loss = to_host(policy, losses);
  }
  return report;
}

/// Centres row i's score by the sampler. Host code.
template <class T, class Target>
struct centre_row {
  row_source<T, Target> rows;
  const row_state<double, moments::varentropy>* states;
  const score_options& options;
  token_score* scores;

  void operator()(index_t i) const {
    if (scores[i].status != token_status::scored) return;
    centre_by_sampler(rows.logits + i * rows.stride, rows.cols, stats_of_row(rows, states, i),
                      options, scores[i]);
  }
};

}  // namespace detail::thrust_steps

/// Scores row i's target for each of N rows of V logits, as for every backend. O(N V); temporary
/// memory for N * 32 * ceil(V / 8192) states of 32 bytes and the scores. Raises shape_error and
/// target_error before any work, and backend_error for a sampler to centre by on a device.
template <class Policy, matrix_like Logits, target_range Targets>
[[nodiscard]] std::vector<token_score> score(const thrust_system<Policy>& system,
                                             const Logits& logits, const Targets& targets,
                                             const score_options& options = {}) {
  using namespace detail::thrust_steps;
  const matrix_view<const matrix_scalar_t<const Logits&>> z = view(logits);
  const auto y = targets_of(targets);
  using T = matrix_scalar_t<const Logits&>;
  using target = typename decltype(y)::value_type;
  constexpr moments set = moments::varentropy;
  detail::check_temperature(options.temperature);
  if (options.sampler) validate(*options.sampler);
  require<backend_error>(on_host<Policy> || !options.sampler, "score_options::sampler",
                         "the Thrust backend centres by a sampler only in host memory");
  const auto& policy = system.policy;
  (void)count_valid(policy, z, y, options.ignore_index);
  const auto rows = source_of(z, y, options.ignore_index, options.temperature);

  const temporary<row_state<double, set>, Policy> states(policy, z.rows() * rows.cut().per_row());
  fill(policy, states, fold_lane<set, T, target>{rows});
  const temporary<token_score, Policy> scores(policy, z.rows());
  fill(policy, scores, score_row<T, target>{rows, states.begin()});
  if constexpr (on_host<Policy>) {
    if (options.sampler) {
      THRUST_NS_QUALIFIER::for_each(policy, counting(0), counting(z.rows()),
                         centre_row<T, target>{rows, states.begin(), options, scores.begin()});
    }
  }
  return to_host(policy, scores);
}

/// The token loss `f` of N x V `logits` at `targets`, as for every backend; `f` is IDIOLECT_HD
/// where the system is CUDA's, and must not throw where it has several threads. O(N V); temporary
/// memory for N * 32 * ceil(V / 8192) states of 24 to 40 bytes and a few numbers a row.
template <class Policy, matrix_like Logits, target_range Targets, class Loss>
  requires(token_loss<Loss> || gate<Loss>)
[[nodiscard]] loss_report loss(const thrust_system<Policy>& system, const Logits& logits,
                               const Targets& targets, const Loss& f,
                               const loss_options& options = {}) {
  const matrix_view<const matrix_scalar_t<const Logits&>> z = view(logits);
  detail::validate_options(f);
  detail::check_options(options, z.rows());
  return detail::thrust_steps::run_loss(system.policy, z, targets_of(targets), as_token_loss(f),
                                        matrix_view<detail::void_gradient>{}, options);
}

/// The same, and its gradient written to `gradient`, or added to it; it may be `logits`.
template <class Policy, matrix_like Logits, target_range Targets, class Loss, matrix_like Gradient>
  requires(token_loss<Loss> || gate<Loss>)
loss_report loss_and_gradient(const thrust_system<Policy>& system, const Logits& logits,
                              const Targets& targets, const Loss& f, Gradient&& gradient,
                              const loss_options& options = {}) {
  const matrix_view<const matrix_scalar_t<const Logits&>> z = view(logits);
  const auto dz = view(gradient);
  static_assert(!std::is_const_v<typename decltype(dz)::element_type>,
                "idiolect: the gradient must be writable");
  static_assert(detail::outlives_call<Gradient>,
                "idiolect: the gradient of a temporary would be lost; give the matrix a name");
  detail::validate_options(f);
  detail::check_options(options, z.rows());
  detail::check_gradient(z, dz, options.accumulate);
  return detail::thrust_steps::run_loss(system.policy, z, targets_of(targets), as_token_loss(f), dz,
                                        options);
}

}  // namespace idiolect
