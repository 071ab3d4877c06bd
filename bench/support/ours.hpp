// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// The library's passes as benchmarks, each checked against the plain backend before it is timed.
// The executables of the peers register some of these too, so that the two sides of a comparison
// take turns in one process.

#include <cmath>
#include <map>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/backend/reference/reference.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/loss/gates/idft.hpp>
#include <idiolect/loss/gates/nll.hpp>
#include <idiolect/loss/loss.hpp>

#include "measure.hpp"

namespace idiolect::bench {

/// The plain backend's loss of a batch; computed once.
template <class T, class Loss>
double plain_loss(shape s) {
  static std::map<std::pair<index_t, index_t>, double> known;
  const auto [at, is_new] = known.try_emplace({s.rows, s.vocab});
  if (is_new) {
    const auto y = uniform_targets(s);
    at->second = loss(reference{workers(2)}, logits<T>(s), y, Loss{}).loss;
  }
  return at->second;
}

/// Throws unless the first and the last row of `found` are the plain backend's gradient, `times`
/// over: to 2e-5 of the row's weight (p^gamma multiplies the error of log p by gamma |log p|), or
/// to the rounding of a 16-bit type.
template <class T, class Loss>
void check_gradient_rows(matrix_view<const T> found, shape s, const Loss& f, double times = 1) {
  const auto y = uniform_targets(s);
  const auto z = logits<T>(s);
  std::vector<double> expected(static_cast<std::size_t>(s.vocab));
  for (const index_t i : {index_t{0}, s.rows - 1}) {
    loss_options o;
    o.reduce = reduction::mean_over(static_cast<double>(s.rows));
    const std::span<const token_id> target(&y[static_cast<std::size_t>(i)], 1);
    loss_and_gradient(reference{}, z.block(i, 1), target, f, expected, o);
    const double unit = std::abs(expected[static_cast<std::size_t>(target[0])]);
    const double rounding = sizeof(T) == 2 ? (std::is_same_v<T, half> ? 0x1p-10 : 0x1p-7) : 2e-5;
    // What a half cannot hold: its smallest numbers are 2^-24 apart.
    const double absolute = std::is_same_v<T, half> ? 0x1p-24 : 0;
    for (index_t j = 0; j < s.vocab; ++j) {
      const double want = times * expected[static_cast<std::size_t>(j)];
      agree(static_cast<double>(load(found(i, j))), want, rounding,
            times * unit + absolute / rounding, "a gradient");
    }
  }
}

/// log p, H and phi of every row, and the report of them: one read of the logits.
template <class T>
void statistics(run& r) {
  const auto z = logits<T>(r.size());
  const auto y = r.targets();
  const cpu policy{workers(r.threads())};
  r.check([&] {
    const double expected = plain_loss<T, nll>(r.size());
    agree(loss(policy, z, y, nll{}).loss, expected, 4e-6, std::abs(expected), "the loss");
  });
  r.time([&] { benchmark::DoNotOptimize(loss(policy, z, y, nll{}).loss); });
}

/// The same and the varentropy, a score for each row.
template <class T>
void scores(run& r) {
  const auto z = logits<T>(r.size());
  const auto y = r.targets();
  const cpu policy{workers(r.threads())};
  r.check([&] {
    const auto found = score(policy, z, y);
    const auto expected = score(reference{}, z.block(0, 1), std::span(y).first(1));
    for (const auto& [a, b] : {std::pair(found[0].phi, expected[0].phi),
                               std::pair(found[0].varentropy, expected[0].varentropy)}) {
      agree(a, b, 4e-6, std::max(1.0, std::abs(b)), "a score");
    }
  });
  r.time([&] { benchmark::DoNotOptimize(score(policy, z, y).data()); });
}

/// The gradient in place of the logits, which are refreshed before each call, untimed.
template <class T, class Loss = idft>
void gradient_in_place(run& r) {
  const auto z = logits<T>(r.size());
  const auto dz = scratch<T>(r.size());
  const auto y = r.targets();
  const cpu policy{workers(r.threads())};
  const auto prepare = [&] { refresh(r.threads(), dz, z); };
  const auto work = [&] {
    benchmark::DoNotOptimize(loss_and_gradient(policy, dz, y, Loss{}, dz).loss);
  };
  r.check([&] {
    prepare();
    work();
    check_gradient_rows<T>(dz, r.size(), Loss{});
  });
  r.time(prepare, work);
}

/// The gradient written to other memory.
template <class T>
void gradient_out_of_place(run& r) {
  const auto z = logits<T>(r.size());
  const auto dz = scratch<T>(r.size());
  const auto y = r.targets();
  const cpu policy{workers(r.threads())};
  const auto work = [&] {
    benchmark::DoNotOptimize(loss_and_gradient(policy, z, y, idft{}, dz).loss);
  };
  r.check([&] {
    work();
    check_gradient_rows<T>(dz, r.size(), idft{});
  });
  r.time(work);
}

/// The gradient added to what is there.
template <class T>
void gradient_accumulated(run& r) {
  const auto z = logits<T>(r.size());
  const auto dz = scratch<T>(r.size());
  const auto y = r.targets();
  const cpu policy{workers(r.threads())};
  const loss_options accumulate{.accumulate = true};
  const auto work = [&] {
    benchmark::DoNotOptimize(loss_and_gradient(policy, z, y, idft{}, dz, accumulate).loss);
  };
  // Whatever the last benchmark left may be NaN in time, or lose what is added to it.
  loss_and_gradient(policy, z, y, idft{}, dz);
  r.check([&] {
    work();
    check_gradient_rows<T>(dz, r.size(), idft{}, 2);
  });
  r.time(work);
}

}  // namespace idiolect::bench
