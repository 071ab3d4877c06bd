// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// A machine for backend/cuda/thread_teams.hpp made of std::threads: a device's warps, blocks and
// clusters, where the sanitizers see them. `run_blocks(blocks, threads, f)` calls f(machine) on all
// threads of all blocks at once; a block's shared memory is what f's caller gives it.

#include <barrier>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <idiolect/backend/cuda/thread_teams.hpp>

namespace idiolect::test {

/// One thread's view. `Memory` is a block's shared memory, one for each block.
template <class Memory>
class host_machine {
 public:
  struct block_state {
    explicit block_state(int threads) : barrier(threads), words(static_cast<std::size_t>(threads)) {
      for (int w = 0; w < threads / detail::warp_size; ++w) {
        warps.push_back(std::make_unique<std::barrier<>>(detail::warp_size));
      }
    }
    std::barrier<> barrier;
    std::vector<std::unique_ptr<std::barrier<>>> warps;
    std::vector<std::uint32_t> words;
    Memory memory;
  };
  struct cluster_state {
    cluster_state(int blocks, int threads) : barrier(blocks * threads) {
      for (int b = 0; b < blocks; ++b) all.push_back(std::make_unique<block_state>(threads));
    }
    std::barrier<> barrier;
    std::vector<std::unique_ptr<block_state>> all;
  };

  host_machine(cluster_state& cluster, int block, int thread)
      : cluster_(&cluster), block_(block), thread_(thread) {}

  [[nodiscard]] Memory& memory() const { return own().memory; }
  [[nodiscard]] int thread() const { return thread_; }
  [[nodiscard]] int block() const { return block_; }

  [[nodiscard]] std::uint32_t shuffle_xor(std::uint32_t x, int mask) const {
    own().words[static_cast<std::size_t>(thread_)] = x;
    sync_warp();
    const std::uint32_t other = own().words[static_cast<std::size_t>(thread_ ^ mask)];
    sync_warp();
    return other;
  }
  void sync_warp() const {
    own().warps[static_cast<std::size_t>(thread_ / detail::warp_size)]->arrive_and_wait();
  }
  void sync_block() const { own().barrier.arrive_and_wait(); }
  void sync_cluster() const { cluster_->barrier.arrive_and_wait(); }
  void arrive() const { arrived_ = std::make_shared<token>(cluster_->barrier.arrive()); }
  void await() const { cluster_->barrier.wait(std::move(*arrived_)); }

  /// The same place in another block's memory.
  template <class T>
  [[nodiscard]] T* in_block(T* p, int block) const {
    const auto offset =
        reinterpret_cast<unsigned char*>(p) - reinterpret_cast<unsigned char*>(&own().memory);
    auto& other = cluster_->all[static_cast<std::size_t>(block)]->memory;
    return reinterpret_cast<T*>(reinterpret_cast<unsigned char*>(&other) + offset);
  }

 private:
  using token = std::barrier<>::arrival_token;
  block_state& own() const { return *cluster_->all[static_cast<std::size_t>(block_)]; }

  cluster_state* cluster_;
  int block_;
  int thread_;
  mutable std::shared_ptr<token> arrived_;
};

template <class Memory, class F>
void run_blocks(int blocks, int threads, F&& f) {
  typename host_machine<Memory>::cluster_state cluster(blocks, threads);
  std::vector<std::jthread> pool;
  for (int b = 0; b < blocks; ++b) {
    for (int t = 0; t < threads; ++t) {
      pool.emplace_back([&cluster, &f, b, t] { f(host_machine<Memory>(cluster, b, t)); });
    }
  }
}

}  // namespace idiolect::test
