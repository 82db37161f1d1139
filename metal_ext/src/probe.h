// A lower bound on the time of any write: random read-modify-writes in a row, whose addresses cost almost
// nothing.

#pragma once

#include <cstdint>
#include <vector>

#include "parallel.h"

namespace wnn {
namespace probe {

// Each task changes a row `touches` times, at addresses that no prefetcher can guess. It stores a byte of the
// row, so that the compiler cannot remove the work.
template <typename Pool>
bool Touch(Pool& pool, int64_t row_bytes, int64_t touches, uint32_t* sums, int64_t tasks) {
  return Parallel(pool, tasks, [&] {
    return [&](int64_t begin, int64_t end) {
      constexpr int64_t kAddresses = 4096;
      std::vector<uint8_t> row(row_bytes, 0);
      std::vector<uint64_t> random(kAddresses);
      uint64_t state = 1;
      for (uint64_t& value : random) value = (state = state * 6364136223846793005u + 1442695040888963407u) >> 32;
      for (int64_t task = begin; task < end; ++task) {
        for (int64_t at = 0; at < touches; at += kAddresses) {
          // One multiplication scrambles the list anew, which costs little beside a miss in the L2 cache.
          const uint32_t salt = static_cast<uint32_t>(at + task) * 0x9E3779B9u;
          const int64_t size = touches - at < kAddresses ? touches - at : kAddresses;
          for (int64_t i = 0; i < size; ++i)
            ++row[(uint64_t{static_cast<uint32_t>(random[i]) ^ salt} * static_cast<uint64_t>(row_bytes)) >> 32];
        }
        sums[task] = row[0];
      }
    };
  });
}

}  // namespace probe
}  // namespace wnn
