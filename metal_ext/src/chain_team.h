// A few threads that do the parts of one small job at once, many thousand times a second. They wait for each other by
// looking again and again, because waking a thread takes longer than a job.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace wnn {
namespace chain {

class Team {
 public:
  // `work(part)` does one part of a job. The calling thread is part 0. If the system gives fewer threads, the team is
  // smaller.
  Team(int threads, std::function<void(int)> work) : work_(std::move(work)), done_(new Done[threads]) {
    try {
      for (int part = 1; part < threads; ++part) {
        others_.emplace_back([this, part] { Follow(part); });
      }
    } catch (const std::system_error&) {
    }
  }

  ~Team() {
    Wait();
    over_.store(true, std::memory_order_relaxed);
    job_.fetch_add(1, std::memory_order_release);
    for (std::thread& other : others_) other.join();
  }

  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return 1 + static_cast<int>(others_.size()); }

  // Does part 0 of a job, while the others do theirs. What the job reads may change only after Wait.
  void Start() {
    if (!others_.empty()) job_.fetch_add(1, std::memory_order_release);
    work_(0);
  }

  void Wait() const {
    const uint32_t job = job_.load(std::memory_order_relaxed);
    for (int part = 1; part < size(); ++part)
      Look([&] { return done_[part].job.load(std::memory_order_acquire) == job; });
  }

 private:
  struct alignas(64) Done {
    std::atomic<uint32_t> job{0};
  };

  // Looks until it is true. A thread that has looked for long makes room for others, and sleeps at last.
  template <typename True>
  static void Look(True is_true) {
    constexpr int kLooks = 1 << 12, kYields = 1 << 12;
    for (int i = 0; !is_true(); ++i) {
      if (i < kLooks) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
      } else if (i < kLooks + kYields) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }
  }

  void Follow(int part) {
    for (uint32_t job = 0;; done_[part].job.store(job, std::memory_order_release)) {
      Look([&] { return job_.load(std::memory_order_acquire) != job; });
      ++job;  // the next job starts only after this one is done
      if (over_.load(std::memory_order_relaxed)) return;
      work_(part);
    }
  }

  std::function<void(int)> work_;
  std::unique_ptr<Done[]> done_;
  alignas(64) std::atomic<uint32_t> job_{0};
  std::atomic<bool> over_{false};
  std::vector<std::thread> others_;
};

}  // namespace chain
}  // namespace wnn
