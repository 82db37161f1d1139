// The tables of a static chain model: plain counts, and how much of them is left after a discount.
// wnn_jax/chain/static_cells.py explains each step.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "chain_types.h"
#include "constants.h"

namespace wnn {
namespace chain {

// x, or the nearer end of a range; `low` for NaN. A float must pass here before it becomes an integer: to convert
// NaN or a number beyond the integers is undefined.
template <typename T>
T Within(T x, T low, T high) {
  return x > low ? (x < high ? x : high) : low;
}

// Finds the cell of a tag in its bucket; null if there is none. The tags of a bucket descend.
inline const uint32_t* FindCounts(const uint32_t* row, Address a) {
  const uint32_t* slot = row + a.bucket * kStaticCell;
  for (int i = 0; i < kBucket; ++i)
    if (slot[i * kStaticCell] == a.tag) return slot + i * kStaticCell;
  return nullptr;
}

// Finds the cell of a tag in its bucket, and makes it if there is none. In a full bucket the lowest tag is
// dropped, which may be the new one (null). So in any order of arrival the four highest tags stay.
inline uint32_t* ClaimCounts(uint32_t* row, Address a) {
  uint32_t* slot = row + a.bucket * kStaticCell;
  int i = 0;
  while (i < kBucket && slot[i * kStaticCell] > a.tag) ++i;
  if (i == kBucket) return nullptr;
  uint32_t* mine = slot + i * kStaticCell;
  if (mine[0] == a.tag) return mine;
  std::memmove(mine + kStaticCell, mine, sizeof(uint32_t) * kStaticCell * (kBucket - 1 - i));
  mine[0] = a.tag;
  mine[1] = mine[2] = mine[3] = 0;
  return mine;
}

// Calls meet(address, bit, t) for every bit of tokens. Cells are prefetched one token ahead.
template <typename Meet>
void ForEachTurn(const Tree& tree, const uint32_t* hashes, const int32_t* tokens, int64_t length, int view,
                 int log_slots, const uint32_t* row, Meet meet) {
  const uint32_t* names = tree.names + view * tree.nodes;
  for (int64_t t = 0; t < length; ++t) {
    if (t + 1 < length)
      for (int32_t j = tree.start[tokens[t + 1]]; j < tree.start[tokens[t + 1] + 1]; ++j)
        __builtin_prefetch(row +
                           AddressOf(Mix(hashes[t + 1], names[tree.node[j]]), log_slots).bucket * kStaticCell);
    for (int32_t j = tree.start[tokens[t]]; j < tree.start[tokens[t] + 1]; ++j)
      meet(AddressOf(Mix(hashes[t], names[tree.node[j]]), log_slots), tree.bit[j], t);
  }
}

// The part of a count that its discounts leave, in 1/65,536.
inline uint32_t ShareOf(uint32_t count, uint32_t discount) {
  if (!count) return 0;
  const float whole = static_cast<float>(count);
  const float left = whole - static_cast<float>(discount) / kDiscountUnit;
  return static_cast<uint32_t>(Within(left / whole * 65536.0f, 0.0f, 65535.0f));
}

// Writes how often each token follows each context into one neuron's row, which must be empty. `counts` end
// at the first 0. discounts: what a count of 1, 2, and 3 or more loses, in units of 1 / kDiscountUnit.
inline void CountFollowers(const Tree& tree, const uint32_t* hashes, const int32_t* tokens, const int32_t* counts,
                           int64_t length, int view, int log_slots, const uint32_t* discounts, uint32_t* row) {
  length = std::find(counts, counts + length, 0) - counts;
  const auto each = [&](auto meet) {
    ForEachTurn(tree, hashes, tokens, length, view, log_slots, row, meet);
  };
  each([=](Address a, int32_t bit, int64_t t) {
    if (uint32_t* cell = ClaimCounts(row, a)) cell[1 + bit] += static_cast<uint32_t>(counts[t]);
  });
  // From here on the cells stay where they are.
  std::vector<uint32_t> lost(int64_t{2} << log_slots);
  each([&](Address a, int32_t bit, int64_t t) {
    const uint32_t* cell = FindCounts(row, a);
    if (cell) lost[(cell - row) / kStaticCell * 2 + bit] += discounts[std::min(counts[t], 3) - 1];
  });
  for (int64_t i = 0; i < int64_t{1} << log_slots; ++i) {
    uint32_t* cell = row + i * kStaticCell;
    if (cell[0]) cell[3] = ShareOf(cell[1], lost[2 * i]) << 16 | ShareOf(cell[2], lost[2 * i + 1]);
  }
}

// Reads zeros, ones and shares of every bit of a text from one neuron's row; zeros where there is no cell.
inline void ReadCounts(const Tree& tree, const uint32_t* hashes, const int32_t* tokens, int64_t length, int view,
                       int log_slots, const uint32_t* row, uint32_t* const* found) {
  int64_t at = 0;
  ForEachTurn(tree, hashes, tokens, length, view, log_slots, row, [&](Address a, int32_t, int64_t) {
    const uint32_t* cell = FindCounts(row, a);
    for (int k = 0; k < 3; ++k) found[k][at] = cell ? cell[1 + k] : 0;
    ++at;
  });
}

}  // namespace chain
}  // namespace wnn
