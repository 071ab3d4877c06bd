// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Row groups made of warps: a warp, a block of warps, a cluster of blocks that reach into each
// other's shared memory. Warps reduce by shuffles, then each warp joins the warps' results in the
// same order: one barrier a reduction, with two sets of slots in turn, so that nobody waits for
// readers.
//
// The machine is a parameter: a device, or threads of a host in a test. A machine `m` offers
//   m.thread()                  of its block
//   m.block()                   of its cluster
//   m.shuffle_xor(word, mask)   the word of the lane whose number differs by `mask`
//   m.sync_warp(), m.sync_block(), m.sync_cluster()
//   m.arrive(), m.await()       sync_cluster in two parts; writes between them are not waited for
//   m.in_block(p, block)        where block `block` of the cluster has what p points to here

#include <cstdint>
#include <type_traits>
#include <utility>

#include <idiolect/backend/cuda/row_group.hpp>
#include <idiolect/config.hpp>
#include <idiolect/core/scalar.hpp>

namespace idiolect::detail {

inline constexpr int warp_size = 32;

/// `x` of another lane, whatever its type.
template <class Machine, class T>
[[nodiscard]] IDIOLECT_HD T shuffle_xor(const Machine& machine, const T& x, int mask) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0);
  constexpr int count = static_cast<int>(sizeof(T) / 4);
  struct words {
    std::uint32_t word[count];
  };
  auto w = bit_cast<words>(x);
  for (int k = 0; k < count; ++k) w.word[k] = machine.shuffle_xor(w.word[k], mask);
  return bit_cast<T>(w);
}

/// The values of each `Lanes` neighbouring lanes joined, the lower lane's first, so that all of
/// them have the same bits whatever op is.
template <int Lanes = warp_size, class Machine, class T, class Op>
[[nodiscard]] IDIOLECT_HD T warp_reduce(const Machine& machine, T x, Op&& op) {
  for (int mask = 1; mask < Lanes; mask *= 2) {
    const T other = shuffle_xor(machine, x, mask);
    x = (machine.thread() & mask) != 0 ? op(other, x) : op(x, other);
  }
  return x;
}

/// A warp.
template <class Machine>
class warp_team {
 public:
  IDIOLECT_HD explicit warp_team(const Machine& machine = {}) : machine_(machine) {}

  [[nodiscard]] IDIOLECT_HD int rank() const { return machine_.thread() % warp_size; }
  [[nodiscard]] IDIOLECT_HD static constexpr int size() { return warp_size; }
  IDIOLECT_HD void sync() const { machine_.sync_warp(); }
  template <class T, class Op>
  [[nodiscard]] IDIOLECT_HD T all_reduce(T x, Op&& op) const {
    return warp_reduce(machine_, x, op);
  }
  /// All lanes call f: that takes no longer than one.
  template <class F>
  [[nodiscard]] IDIOLECT_HD decltype(std::declval<F&>()()) broadcast(F&& f) const {
    const auto x = f();
    machine_.sync_warp();
    return x;
  }

 private:
  [[no_unique_address]] Machine machine_;
};

/// Shared memory of a block of `Threads` in a cluster of at most `Blocks`.
template <int Threads, int Blocks>
struct block_memory {
  static constexpr int warps = Threads / warp_size;
  static_assert(warps > 0 && (warps & (warps - 1)) == 0 && (Blocks == 1 || 2 * warps >= warp_size));

  struct alignas(16) slot {
    unsigned char bytes[64];
  };
  struct alignas(16) message {
    unsigned char bytes[256];
  };
  slot slots[2][Blocks * warps];  // the warps' values, of all blocks, in order
  message messages[2];
};

/// A block of `Threads`, or a cluster of `blocks` such: at most `Blocks`, and 1 on a machine
/// without clusters. `memory` is the block's own and at the same place in each.
template <int Threads, int Blocks, class Machine>
class block_team {
 public:
  using memory = block_memory<Threads, Blocks>;

  /// All threads of all blocks make theirs.
  IDIOLECT_HD explicit block_team(memory& m, int blocks = 1, const Machine& machine = {})
      : memory_(m), blocks_(blocks), machine_(machine) {
    if (shares()) machine_.arrive();  // no block's memory is touched before the block has begun
  }
  IDIOLECT_HD ~block_team() { await_blocks(); }
  block_team(const block_team&) = delete;
  block_team& operator=(const block_team&) = delete;

  [[nodiscard]] IDIOLECT_HD int rank() const { return block() * Threads + machine_.thread(); }
  [[nodiscard]] IDIOLECT_HD int size() const { return (shares() ? blocks_ : 1) * Threads; }

  IDIOLECT_HD void sync() const {
    if (shares()) {
      await_blocks();
      machine_.sync_cluster();
    } else {
      machine_.sync_block();
    }
  }

  template <class T, class Op>
  [[nodiscard]] IDIOLECT_HD T all_reduce(T x, Op&& op) const {
    static_assert(sizeof(T) <= sizeof(typename memory::slot));
    constexpr int warps = memory::warps;
    const int lane = machine_.thread() % warp_size;
    const int warp = machine_.thread() / warp_size;
    // Written again two reductions from now, when all have passed the next one's barrier.
    typename memory::slot* const slots = memory_.slots[turn_ & 1];
    x = warp_reduce(machine_, x, op);
    typename memory::slot* const own = slots + block() * warps + warp;
    if (!shares()) {
      if (lane == 0) put(own, x);
      ++turn_;
      machine_.sync_block();
    } else {
      await_blocks();
      if (lane < blocks_) put(machine_.in_block(own, lane), x);  // lane k tells block k
      ++turn_;
      machine_.sync_cluster();
    }
    if (warps < warp_size && !shares()) {  // a power of two: each lane has a value
      return warp_reduce<warps>(machine_, get<T>(slots + lane % warps), op);
    }
    x = get<T>(slots + lane);
    for (int k = lane + warp_size; k < blocks_ * warps; k += warp_size)
      x = op(x, get<T>(slots + k));
    return warp_reduce(machine_, x, op);
  }

  /// One thread of each block calls f.
  template <class F>
  [[nodiscard]] IDIOLECT_HD decltype(std::declval<F&>()()) broadcast(F&& f) const {
    using value = decltype(f());
    static_assert(std::is_trivially_copyable_v<value> &&
                  sizeof(value) <= sizeof memory_.messages[0]);
    typename memory::message* const message = &memory_.messages[message_turn_];
    message_turn_ ^= 1;
    if (machine_.thread() == 0) put(message, f());
    machine_.sync_block();
    return get<value>(message);
  }

 private:
  template <class Place, class T>
  IDIOLECT_HD static void put(Place* place, const T& x) {
    *reinterpret_cast<T*>(place->bytes) = x;
  }
  template <class T, class Place>
  [[nodiscard]] IDIOLECT_HD static T get(const Place* place) {
    return *reinterpret_cast<const T*>(place->bytes);
  }

  [[nodiscard]] IDIOLECT_HD bool shares() const { return Blocks > 1 && blocks_ > 1; }
  [[nodiscard]] IDIOLECT_HD int block() const { return shares() ? machine_.block() : 0; }
  IDIOLECT_HD void await_blocks() const {
    if (!shares() || turn_ > 0) return;
    machine_.await();
    turn_ = 2;
  }

  memory& memory_;
  int blocks_;
  [[no_unique_address]] Machine machine_;
  mutable int turn_ = 0;  // of reductions; 0 in a cluster: its blocks may not have begun
  mutable int message_turn_ = 0;
};

}  // namespace idiolect::detail
