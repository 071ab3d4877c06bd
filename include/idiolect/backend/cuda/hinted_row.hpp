// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// One step of hinted decoding by the threads of a group: what hinted_policy does on the host, for
// rows that lie where the group reads them. Statistics of both rows, lambda, the mixture, the cuts
// and the draw; the answer is the host's up to the rounding of sums.

#include <cstdint>
#include <type_traits>

#include <idiolect/backend/cuda/row_draw.hpp>
#include <idiolect/backend/cuda/row_fold.hpp>
#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/backend/cuda/row_layout.hpp>
#include <idiolect/backend/cuda/row_tile.hpp>
#include <idiolect/backend/cuda/sum_table.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/hinted/mixture.hpp>
#include <idiolect/hinted/request.hpp>
#include <idiolect/stats/row_stats.hpp>

namespace idiolect::detail {

/// Memory for each place of a batch, `stride` numbers each: the row that is drawn from, where no
/// logits can be read as they are, and the teacher's row that waits for the student's (or none).
template <class T, class S>
struct hinted_rows {
  mixture_t<T, S>* drawn = nullptr;
  T* kept = nullptr;
  index_t stride = 0;
};

/// Logits from one place to the next, for rows of `vocab`: each begins aligned.
[[nodiscard]] IDIOLECT_HD constexpr index_t place_stride(index_t vocab) {
  return (vocab + 15) / 16 * 16;
}

/// The step. All threads of the group make one and call it alike; every one has the answer. A
/// thread takes `Edges` elements of a row's unaligned ends, which for all threads together is
/// max_edges or more. O(V), about ten passes over the row.
template <class T, class S, int Edges, row_group Group>
class hinted_row {
 public:
  using value = mixture_t<T, S>;

  IDIOLECT_HD hinted_row(const Group& group, sum_memory& shared, const hinted_rows<T, S>& rows)
      : group_(group), shared_(shared), rows_(rows) {}

  template <class Schedule>
  [[nodiscard]] IDIOLECT_HD hinted_answer answer(const hinted_request<T, S>& r,
                                                 const hinted_rule<Schedule>& rule) const {
    hinted_answer a;
    if (r.task == hinted_task::next_token) return next_token(r, rule);
    if (r.task == hinted_task::greedy) {
      const auto folded = fold<moments::basic>(r.teacher, r.size);
      a.token.token = -1;
      if (folded.finite()) {
        a.token.token = first_of_value(group_, r.teacher, r.size, folded.max);
      } else {
        a.status = hinted_status::non_finite;
      }
    } else {
      a.token.student = score_of(fold<moments::varentropy>(r.student, r.size), r.student, r.token);
    }
    return a;
  }

 private:
  /// Vectors that a thread reads at once: what leaves the registers for the rest of the step.
  template <class Row>
  static constexpr int vectors = sizeof(Row) == 8 ? 2 : 4;

  template <moments Set, class Row>
  [[nodiscard]] IDIOLECT_HD row_state<accumulator_t<Row>, Set> fold(const Row* row,
                                                                    index_t n) const {
    row_tile<Row, tile_shape{vectors<Row>, Edges}> tile;
    const row_layout<Row> layout(row, static_cast<int>(n));
    return fold_row<Set>(group_, row, layout, accumulator_t<Row>{1}, tile);
  }

  template <class Real>
  [[nodiscard]] IDIOLECT_HD static token_score score_of(
      const row_state<Real, moments::varentropy>& folded, const S* row, token_id token) {
    return detail::score_of(finish_row<double>(folded, load(row[token]), token, Real{1}));
  }

  template <class Schedule>
  [[nodiscard]] IDIOLECT_HD hinted_answer next_token(const hinted_request<T, S>& r,
                                                     const hinted_rule<Schedule>& rule) const {
    hinted_answer a;
    const T* const teacher = r.kept_teacher ? rows_.kept + r.place * rows_.stride : r.teacher;
    double lambda = 1;
    double teacher_max = 0;
    double teacher_log_sum = 0;
    if (!r.student_only) {
      const auto folded = fold<moments::basic>(teacher, r.size);
      const auto stats = finish_row<double>(folded, accumulator_t<T>{0}, 0, accumulator_t<T>{1});
      if (!stats.finite()) return ended(a, hinted_status::non_finite);
      teacher_max = stats.max;
      teacher_log_sum = stats.log_sum;
      lambda = rule.lambda(stats.entropy(), r.size, r.position);
      if (!(lambda >= 0 && lambda <= 1)) return ended(a, hinted_status::bad_lambda);
    }
    if (lambda > 0 && r.student == nullptr) {
      if (rows_.kept != nullptr) keep(teacher, r);
      return ended(a, hinted_status::student_needed);
    }
    row_state<accumulator_t<S>, moments::varentropy> student;
    if (r.student != nullptr) student = fold<moments::varentropy>(r.student, r.size);
    if (lambda > 0 && !student.finite()) return ended(a, hinted_status::non_finite);

    value max = 0;
    const value* row = nullptr;
    if (lambda == 0) {
      row = as_values(teacher, r);
      max = static_cast<value>(teacher_max);
    } else if (lambda == 1) {
      row = as_values(r.student, r);
      max = student.max;
    } else {
      const auto student_max = static_cast<double>(student.max);
      max = mix(teacher, r, mixed_logit<T, S>{teacher_max, student_max, lambda});
      if (max == -infinity<value>) return ended(a, hinted_status::no_support);
      row = drawn(r);
    }
    group_.sync();  // the row is written
    hinted_token& t = a.token;
    t.token = row_draw(group_, shared_, row, r.size, max, r.sampler)
                  .draw(rule.draw(r.record, r.position));
    t.lambda = lambda;
    if (!r.student_only) {
      t.teacher_log_prob =
          static_cast<double>(load(teacher[t.token])) - teacher_max - teacher_log_sum;
    }
    if (r.student != nullptr) t.student = score_of(student, r.student, t.token);
    return a;
  }

  [[nodiscard]] IDIOLECT_HD static hinted_answer ended(hinted_answer a, hinted_status status) {
    a.status = status;
    return a;
  }

  [[nodiscard]] IDIOLECT_HD value* drawn(const hinted_request<T, S>& r) const {
    return rows_.drawn + r.place * rows_.stride;
  }

  /// The row in the type that is drawn from: itself, or a copy.
  template <class Row>
  [[nodiscard]] IDIOLECT_HD const value* as_values(const Row* row,
                                                   const hinted_request<T, S>& r) const {
    if constexpr (std::is_same_v<Row, value>) {
      return row;
    } else {
      value* const out = drawn(r);
      for (index_t i = group_.rank(); i < r.size; i += group_.size()) out[i] = load(row[i]);
      return out;
    }
  }

  /// Writes the mixture; its largest logit.
  [[nodiscard]] IDIOLECT_HD value mix(const T* teacher, const hinted_request<T, S>& r,
                                      const mixed_logit<T, S>& logit) const {
    value* const out = drawn(r);
    value max = -infinity<value>;
    for (index_t i = group_.rank(); i < r.size; i += group_.size()) {
      const value z = logit(teacher[i], r.student[i]);
      max = max < z ? z : max;
      out[i] = z;
    }
    return group_.all_reduce(max, larger{});
  }

  IDIOLECT_HD void keep(const T* teacher, const hinted_request<T, S>& r) const {
    T* const out = rows_.kept + r.place * rows_.stride;
    if (out == teacher) return;
    for (index_t i = group_.rank(); i < r.size; i += group_.size()) out[i] = teacher[i];
  }

  const Group& group_;
  sum_memory& shared_;
  hinted_rows<T, S> rows_;
};

}  // namespace idiolect::detail
