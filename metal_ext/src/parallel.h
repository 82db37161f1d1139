// Runs work on the threads of JAX, and adds up their votes.

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "layer.h"

namespace wnn {

// The votes that one thread has for one output row. They are added to the shared votes when the row changes.
// Votes are integers, so the order does not matter.
class Ballot {
 public:
  Ballot(int32_t* votes, int64_t count, std::mutex* mutex) : votes_(votes), mutex_(mutex), mine_(count) {}
  ~Ballot() { Flush(); }

  int32_t* For(int64_t row) {
    if (row != row_) Flush();
    row_ = row;
    return mine_.data();
  }

 private:
  void Flush() {
    if (row_ < 0) return;
    std::lock_guard<std::mutex> lock(*mutex_);
    int32_t* out = votes_ + row_ * static_cast<int64_t>(mine_.size());
    for (size_t i = 0; i < mine_.size(); ++i) out[i] = Sum(out[i], mine_[i]);
    std::fill(mine_.begin(), mine_.end(), 0);
  }

  int32_t* votes_;
  std::mutex* mutex_;
  std::vector<int32_t> mine_;
  int64_t row_ = -1;
};

// Runs make()(begin, end) over all items, on the pool and on the calling thread.
//
// `make` is called once on each thread that gets work. The function that it returns is destroyed before the
// thread's items count as done. The caller works too, and waits only for items that a running thread has
// claimed, so a full pool cannot cause a deadlock. Returns false if memory ran out. A Pool has num_threads()
// and Schedule(function), like that of XLA.
template <typename Pool, typename Make>
bool Parallel(Pool& pool, int64_t items, const Make& make) {
  struct State {
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable all;
    int64_t done = 0;
    bool failed = false;
  };
  if (items == 0) return true;
  auto state = std::make_shared<State>();
  const int64_t threads = std::max<int64_t>(1, std::min<int64_t>(pool.num_threads(), items));
  const int64_t chunk = std::max<int64_t>(1, items / (threads * 8));
  auto work = [state, items, chunk, &make] {
    int64_t begin = state->next.fetch_add(chunk), mine = 0;
    bool failed = false;
    if (begin >= items) return;  // the call may have ended, so `make` may no longer exist
    try {
      auto job = make();
      for (; begin < items; begin = state->next.fetch_add(chunk)) {
        const int64_t end = std::min(items, begin + chunk);
        mine += end - begin;
        job(begin, end);
      }
    } catch (const std::bad_alloc&) {
      failed = true;
      // Claim the items that are left, so that no thread waits for them.
      if (mine == 0) mine = std::min(items, begin + chunk) - begin;
      for (begin = state->next.fetch_add(chunk); begin < items; begin = state->next.fetch_add(chunk))
        mine += std::min(items, begin + chunk) - begin;
    }
    std::lock_guard<std::mutex> lock(state->mutex);
    state->done += mine;
    state->failed |= failed;
    if (state->done == items) state->all.notify_all();
  };
  for (int64_t i = 1; i < threads; ++i) {
    auto copy = work;
    pool.Schedule(std::move(copy));
  }
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->all.wait(lock, [&] { return state->done == items; });
  return !state->failed;
}

}  // namespace wnn
