// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A draw from a row of logits by a group of threads: temperature, top-k, top-p and min-p of
// stats/sampling.hpp, by selection without a sort. All sums are of integers,
//
//   mass(z) = round(2^k exp((z - max) scale)),   V 2^k <= 2^62
//
// so that no result depends on the group's size or on who adds first. Every cut is a descending
// prefix, so it is a number: the lowest logit that stays, and the id up to which its ties stay. Two
// searches suffice: for the logit where a prefix of given weight ends, by histograms that narrow an
// interval down to one value, and for the id at which the running sum in order of id passes a
// target.
//
// Logits are ordered by value. The definition orders distances from the maximum in double
// precision, where values closer than 1e-16 of it tie.

#include <cmath>
#include <cstdint>
#include <type_traits>

#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/backend/cuda/sum_table.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>
#include <idiolect/core/types.hpp>
#include <idiolect/stats/logit_mass.hpp>
#include <idiolect/stats/sampling.hpp>

namespace idiolect::detail {

/// An integer for each number but NaN, in the numbers' order.
template <class Value>
using order_key_t = std::conditional_t<sizeof(Value) == 4, std::uint32_t, std::uint64_t>;

template <class Value>
[[nodiscard]] IDIOLECT_HD order_key_t<Value> order_key(Value z) {
  using key = order_key_t<Value>;
  constexpr key sign = key{1} << (8 * sizeof(key) - 1);
  const auto bits = bit_cast<key>(z + Value{0});  // -0 is 0
  return (bits & sign) != 0 ? ~bits : bits | sign;
}
template <class Value>
[[nodiscard]] IDIOLECT_HD Value ordered_value(order_key_t<Value> k) {
  using key = order_key_t<Value>;
  constexpr key sign = key{1} << (8 * sizeof(key) - 1);
  return bit_cast<Value>((k & sign) != 0 ? k & ~sign : ~k);
}

/// The smallest key in [low, high] whose value `holds`, which all above it do and `high` does.
template <class Value, class Holds>
[[nodiscard]] IDIOLECT_HD order_key_t<Value> first_that_holds(order_key_t<Value> low,
                                                              order_key_t<Value> high,
                                                              Holds&& holds) {
  while (low < high) {
    const order_key_t<Value> middle = low + (high - low) / 2;
    if (holds(ordered_value<Value>(middle))) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/// What a selection keeps: logits above `lowest`, and of those that equal it the ids below
/// `ties_end`.
template <class Value>
struct row_cut {
  Value lowest = 0;
  index_t ties_end = 0;

  [[nodiscard]] IDIOLECT_HD bool keeps(Value z, index_t id) const {
    return z > lowest || (z == lowest && id < ties_end);
  }
};

/// Where a descending prefix ends.
template <class Value>
struct prefix_end {
  bool whole = true;        ///< nothing is left out
  Value value = 0;          ///< the last logit in it
  std::uint64_t above = 0;  ///< weight of the logits above that one
  std::uint64_t at = 0;     ///< weight of those that equal it
};

/// The smallest id of a logit that is in the row. All threads of the group call it.
template <row_group Group, class T>
[[nodiscard]] IDIOLECT_HD token_id first_of_value(const Group& group, const T* row, index_t n,
                                                  accumulator_t<T> z) {
  index_t first = n;
  for (index_t i = group.rank(); i < n && first == n; i += group.size()) {
    if (load(row[i]) == z) first = i;
  }
  return static_cast<token_id>(-group.all_reduce(-first, larger{}));
}

/// A row of `n` <= 2^31 logits in the accumulation type, with its finite maximum and neither NaN
/// nor +inf, and the selection from it. All threads of the group, 2048 at most, call the same.
template <row_group Group, class Value>
class row_draw {
 public:
  IDIOLECT_HD row_draw(const Group& group, sum_memory& memory, const Value* row, index_t n,
                       Value max, const sampler_options& o)
      : group_(group), sums_(group, memory), row_(row), n_(n), max_(max), options_(o) {
    cut_.lowest = -most;  // -inf is masked
    cut_.ties_end = n;
    sharpness_ = 1;
    if (o.temperature > 0) sharpness_ = 1 / o.temperature < 1e300 ? 1 / o.temperature : 1e300;
    cut_scale_ = o.order == sampler_order::temperature_first ? sharpness_ : 1;
    while ((index_t{1} << size_bits_) < n) ++size_bits_;
    unit_ = bit_cast<float>(static_cast<std::uint32_t>(127 + 62 - size_bits_) << 23);
  }

  /// The token at `u` in [0, 1) of the sampler's cumulative distribution, in order of id. O(V): one
  /// pass over the row, and three or four more for each of top-k and top-p (up to eight in double
  /// precision).
  [[nodiscard]] IDIOLECT_HD token_id draw(double u) {
    if (options_.temperature == 0) return first_of_maximum();
    select();
    const logit_mass<Value> mass(max_, sharpness_);
    return find_id([&](index_t i) { return kept_mass(mass, i); },
                   [&](std::uint64_t total) {
                     const auto passed = static_cast<std::uint64_t>(u * static_cast<double>(total));
                     return passed < total ? passed : total - 1;
                   });
  }

  /// The smallest id of the row's maximum.
  [[nodiscard]] IDIOLECT_HD token_id first_of_maximum() const {
    return first_of_value(group_, row_, n_, max_);
  }

  /// Makes the cuts: temperature > 0.
  IDIOLECT_HD const row_cut<Value>& select() {
    if (options_.top_k > 0 && options_.top_k < n_) {
      const auto rank = static_cast<std::uint64_t>(options_.top_k);
      cut(
          sharpness_ < cut_scale_ ? sharpness_ : cut_scale_, [](Value) { return std::uint64_t{1}; },
          [&](std::uint64_t total) { return rank < total ? rank : 0; });
    }
    if (options_.top_p < 1) {
      const logit_mass<Value> mass(max_, cut_scale_);
      cut(
          cut_scale_, [&](Value z) { return fixed(mass(z)); },
          [&](std::uint64_t total) {
            const double least = std::ceil(options_.top_p * static_cast<double>(total));
            const auto target = static_cast<std::uint64_t>(least);
            return target < total ? target : total;
          });
    }
    if (options_.min_p > 0) {
      using std::exp;
      const double max = max_;
      const auto bar = ordered_value<Value>(
          first_that_holds<Value>(order_key(-most), order_key(max_), [&](Value z) {
            return exp((static_cast<double>(z) - max) * cut_scale_) >= options_.min_p;
          }));
      if (bar > cut_.lowest) cut_ = {bar, n_};
    }
    return cut_;
  }

 private:
  static constexpr Value most = largest_finite<Value>;
  static constexpr double ln_2 = 0.69314718055994531;

  [[nodiscard]] IDIOLECT_HD std::uint64_t fixed(float mass) const {
    return static_cast<std::uint64_t>(mass * unit_ + 0.5f);
  }
  [[nodiscard]] IDIOLECT_HD std::uint64_t kept_mass(const logit_mass<Value>& mass,
                                                    index_t i) const {
    const Value z = row_[i];
    return cut_.keeps(z, i) ? fixed(mass(z)) : 0;
  }

  /// Keeps of what is kept the shortest descending prefix with the weight `target_of(total)`; all
  /// where that is 0. A logit's weight is `weight(z)`; beyond exp(-scale offset) = 2^-63 it is 0,
  /// or does not matter.
  template <class Weight, class Target>
  IDIOLECT_HD void cut(double scale, Weight&& weight, Target&& target_of) {
    std::uint64_t target = 0;
    const auto kept_weight = [&](index_t i) {
      return cut_.keeps(row_[i], i) ? weight(row_[i]) : std::uint64_t{0};
    };
    const auto end = narrow((63 - size_bits_) * ln_2 / scale, kept_weight,
                            [&](std::uint64_t total) { return target = target_of(total); });
    if (end.whole) return;
    const std::uint64_t each = weight(end.value);
    const std::uint64_t needed = (target - end.above + each - 1) / each;
    row_cut<Value> r{end.value, end.value == cut_.lowest ? cut_.ties_end : n_};
    if (needed * each < end.at) {
      r.ties_end = 1 + find_id([&](index_t i) { return row_[i] == end.value ? kept_weight(i) : 0; },
                               [&](std::uint64_t) { return (needed - 1) * each; });
    }
    cut_ = r;
  }

  /// The end of the shortest descending prefix whose weight reaches `target_of(total)`. Bins of
  /// equal width over `reach` below the maximum, the last for all that is lower; then bins of keys
  /// until one key is left. Three rounds as a rule in single precision, four at most; in double
  /// seven at most.
  template <class Weight, class Target>
  [[nodiscard]] IDIOLECT_HD prefix_end<Value> narrow(double reach, Weight&& weight,
                                                     Target&& target_of) {
    using key = order_key_t<Value>;
    constexpr int bins = sum_memory::entries;
    const double density = bins / reach;
    const Value per_offset = density < most ? static_cast<Value>(density) : most;
    const auto bin_of = [&](Value z) {
      const Value bin = (max_ - z) * per_offset;
      return bin < bins ? static_cast<int>(bin) : bins - 1;  // NaN is 0 times infinite: the last
    };
    prefix_end<Value> r;
    accumulate(weight, [&](index_t i) { return bin_of(row_[i]); });
    const std::uint64_t target = target_of(sums_.total());
    if (target == 0) return r;
    auto found = sums_.find(target - 1);
    const int edge = found.entry;
    key low = first_that_holds<Value>(order_key(-most), order_key(max_),
                                      [&](Value z) { return bin_of(z) <= edge; });
    key high = edge == 0 ? order_key(max_)
                         : first_that_holds<Value>(order_key(-most), order_key(max_), [&](Value z) {
                             return bin_of(z) < edge;
                           }) - 1;
    r.above = found.before;
    while (low < high) {
      int shift = 0;
      while ((high - low) >> shift >= bins) ++shift;
      accumulate(weight, [&](index_t i) {
        const key k = order_key(row_[i]);
        return low <= k && k <= high ? static_cast<int>((high - k) >> shift) : -1;
      });
      (void)sums_.total();
      found = sums_.find(target - 1 - r.above);
      r.above += found.before;
      high -= static_cast<key>(found.entry) << shift;
      const key width = (key{1} << shift) - 1;
      if (high - low > width) low = high - width;
    }
    r.whole = false;
    r.value = ordered_value<Value>(low);
    r.at = found.at;
    return r;
  }

  /// Adds the weight of each id to the entry that it belongs to; below 0 is none. What a thread
  /// adds to one entry after the other it adds up first: rows with large ties are common.
  template <class Weight, class Entry>
  IDIOLECT_HD void accumulate(Weight&& weight, Entry&& entry_of) {
    sums_.clear();
    int entry = -1;
    std::uint64_t sum = 0;
    for (index_t i = group_.rank(); i < n_; i += group_.size()) {
      const int other = entry_of(i);
      const std::uint64_t w = other < 0 ? 0 : weight(i);
      if (w == 0) continue;
      if (other != entry) {
        if (sum != 0) sums_.add(entry, sum);
        entry = other;
        sum = 0;
      }
      sum += w;
    }
    if (sum != 0) sums_.add(entry, sum);
  }

  /// The smallest id at which the running sum of weights passes `target_of(total)`, which is below
  /// the total. The sums of 64 pieces of the row, then of each thread's share of one.
  template <class Weight, class Target>
  [[nodiscard]] IDIOLECT_HD token_id find_id(Weight&& weight, Target&& target_of) {
    const index_t size = group_.size();
    const index_t share = (n_ + sum_memory::parts * size - 1) / (sum_memory::parts * size);
    const index_t piece = share * size;
    sums_.clear();
    for (int p = 0; p * piece < n_; ++p) {
      const index_t end = (p + 1) * piece < n_ ? (p + 1) * piece : n_;
      std::uint64_t sum = 0;
      for (index_t i = p * piece + group_.rank(); i < end; i += size) sum += weight(i);
      // Neighbours add to different words.
      constexpr int places = sum_memory::entries_of_part;
      if (sum != 0) sums_.add(p * places + group_.rank() % places, sum);
    }
    const std::uint64_t target = target_of(sums_.total());
    const auto part = sums_.find_part(target);

    const index_t first = part.entry * piece;
    const index_t end = first + piece < n_ ? first + piece : n_;
    const auto id_of = [&](int rank) {
      const index_t id = first + rank * share;
      return id < end ? id : end;
    };
    std::uint64_t sum = 0;
    for (index_t i = id_of(group_.rank()); i < id_of(group_.rank() + 1); ++i) sum += weight(i);
    sums_.clear();
    if (sum != 0) sums_.add(group_.rank(), sum);
    (void)sums_.total();
    const auto thread = sums_.find(target - part.before);
    std::uint64_t passed = part.before + thread.before;
    for (index_t i = id_of(thread.entry); i < end; ++i) {
      passed += weight(i);
      if (passed > target) return static_cast<token_id>(i);
    }
    return static_cast<token_id>(end - 1);  // not reached: the sums are exact
  }

  const Group& group_;
  sum_table<Group> sums_;
  const Value* row_;
  index_t n_;
  Value max_;
  sampler_options options_;
  row_cut<Value> cut_;
  double sharpness_;
  double cut_scale_;
  int size_bits_ = 0;
  float unit_;
};

}  // namespace idiolect::detail
