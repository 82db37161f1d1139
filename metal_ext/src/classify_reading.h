// Reads the tables of a block of rows. Only classify_kernels.h includes this file.

#pragma once

#include "classify_blocks.h"

namespace wnn {
namespace classify {
namespace {

// --- Reading: the score of a class is the sum of the cells that the neurons read.

// The sums of frozen cells fit in 16 bits for this number of neurons.
constexpr int64_t kNeuronsOfHalves = 255;

// What differs between the types of cells: the vector of a load, and the vector of a sum.
template <typename Cell>
struct Kind;
template <>
struct Kind<int8_t> {
  typedef Frozen Loaded;
  typedef Halves Sum;
  typedef int16_t Lane;
};
template <>
struct Kind<int32_t> {
  typedef Cells Loaded;
  typedef Cells Sum;
  typedef int32_t Lane;
};

// Reads vectors of classes, from class `from` on, where the smallest cell of all hashes counts.
template <typename Cell, int kBlocks>
WNN_INLINE void ReadVectors(const Neurons& neurons, bool dense, const Tables<Cell>& tables, int64_t from,
                            int64_t lanes, const uint8_t* block, int64_t size, int32_t* scores) {
  using Loaded = typename Kind<Cell>::Loaded;
  using Sum = typename Kind<Cell>::Sum;
  const int64_t most = sizeof(Cell) == sizeof(int32_t) ? neurons.count : kNeuronsOfHalves;
  const int64_t classes = tables.classes;
  uint32_t entries[kMaxHashes * kRows];
  Sum sums[kRows * kBlocks];
  for (int64_t first = 0; first < neurons.count; first += most) {
    const int64_t last = first + most < neurons.count ? first + most : neurons.count;
    std::memset(sums, 0, sizeof sums);
    for (int64_t r = first; r < last; ++r) {
      Entries(neurons, dense, r, block, entries);
      const Cell* table = tables.Of(neurons.table[r], neurons.entries) + from;
      if (neurons.hashed == 1) {
        for (int64_t i = 0; i < size; ++i)
          for (int b = 0; b < kBlocks; ++b)
            sums[i * kBlocks + b] +=
                __builtin_convertvector(Load<Loaded>(table + entries[i] * classes + b * kLanes), Sum);
        continue;
      }
      for (int64_t i = 0; i < size; ++i)
        for (int b = 0; b < kBlocks; ++b) {
          Loaded least = Load<Loaded>(table + entries[i] * classes + b * kLanes);
          for (int64_t h = 1; h < neurons.hashed; ++h) {
            const Loaded other = Load<Loaded>(table + entries[h * kRows + i] * classes + b * kLanes);
            least = other < least ? other : least;
          }
          sums[i * kBlocks + b] += __builtin_convertvector(least, Sum);
        }
    }
    const auto* sum = reinterpret_cast<const typename Kind<Cell>::Lane*>(sums);
    for (int64_t i = 0; i < size; ++i)
      for (int64_t k = 0; k < kBlocks * kLanes; ++k) scores[i * lanes + from + k] += sum[i * kBlocks * kLanes + k];
  }
}

// Reads cells of one class, which need no vector.
template <typename Cell>
WNN_INLINE void ReadSingle(const Neurons& neurons, bool dense, const Tables<Cell>& tables, const uint8_t* block,
                           int64_t size, int32_t* scores) {
  uint32_t entries[kMaxHashes * kRows];
  for (int64_t r = 0; r < neurons.count; ++r) {
    Entries(neurons, dense, r, block, entries);
    const Cell* table = tables.Of(neurons.table[r], neurons.entries);
    for (int64_t i = 0; i < size; ++i) {
      Cell least = table[entries[i]];
      for (int64_t h = 1; h < neurons.hashed; ++h) {
        const Cell other = table[entries[h * kRows + i]];
        least = other < least ? other : least;
      }
      scores[i] += least;
    }
  }
}

template <typename Cell>
void ReadRows(const Neurons& neurons, bool dense, const Tables<Cell>& tables, int64_t lanes, const uint8_t* block,
              int64_t size, int32_t* scores) {
  if (lanes == 1) return ReadSingle(neurons, dense, tables, block, size, scores);
  int64_t from = 0;
  for (; lanes - from >= 2 * kLanes; from += 2 * kLanes)
    ReadVectors<Cell, 2>(neurons, dense, tables, from, lanes, block, size, scores);
  if (from < lanes) ReadVectors<Cell, 1>(neurons, dense, tables, from, lanes, block, size, scores);
}

// --- Leaving one out: the votes of the counts without the row that is judged.

constexpr int kTogether = 8;  // neurons whose votes are added at once

// The entries of a few neurons, and how often the neurons of their tables write them.
struct Slots {
  const int32_t* table[kTogether];
  uint32_t entries[kTogether][kMaxHashes * kRows];
  uint32_t times[kTogether][kMaxHashes * kRows];
};

// Counts how many neurons of a table write each entry that one of them reads.
WNN_INLINE void Times(const Neurons& neurons, const uint32_t* entries, int64_t members, const uint32_t* mine,
                      uint32_t* times) {
  const int64_t hashed = neurons.hashed;
  for (int64_t h = 0; h < hashed; ++h) {
    uint32_t* out = times + h * kRows;
    for (int64_t i = 0; i < kRows; ++i) out[i] = 0;
    for (int64_t a = 0; a < members; ++a) {
      uint32_t same[kRows] = {0};
      for (int64_t g = 0; g < hashed; ++g)
        for (int64_t i = 0; i < kRows; ++i)
          same[i] |= entries[(a * hashed + g) * kRows + i] == mine[h * kRows + i];
      for (int64_t i = 0; i < kRows; ++i) out[i] += same[i];
    }
  }
}

// Adds the votes of `many` neurons.
WNN_INLINE void Vote(const Neurons& neurons, const Slots& slots, int many, int64_t classes, const LeftOut& how,
                     int64_t first, int64_t size, int32_t* votes) {
  const Cells lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int64_t i = 0; i < size; ++i)
    for (int64_t from = 0; from < how.lanes; from += kLanes) {
      const Cells mine = lane == Cells{} + static_cast<int32_t>(how.label[first + i] - from);
      Cells least[kTogether];
      for (int a = 0; a < kTogether; ++a) {
        least[a] = Cells{} + INT32_MIN;  // no neuron reaches no threshold
        for (int64_t h = 0; h < (a < many ? neurons.hashed : 0); ++h) {
          const uint32_t own = slots.times[a][h * kRows + i] * static_cast<uint32_t>(how.weight[first + i]);
          const int64_t entry = slots.entries[a][h * kRows + i];
          const Cells found = Load<Cells>(slots.table[a] + entry * classes + from);
          const Cells without = found - (mine & (Cells{} + static_cast<int32_t>(own)));
          if (h == 0)
            least[a] = without;
          else
            least[a] = without < least[a] ? without : least[a];
        }
      }
      for (int64_t b = 0; b < how.thresholds; ++b) {
        int32_t* vote = votes + (i * how.thresholds + b) * how.lanes + from;
        const Cells threshold = Cells{} + how.threshold[b];
        Cells sum = Load<Cells>(vote);
        for (int a = 0; a < kTogether; ++a) sum -= least[a] >= threshold;
        std::memcpy(vote, &sum, sizeof sum);
      }
    }
}

void LeaveOut(const Neurons& neurons, bool dense, const Groups& groups, const Tables<int32_t>& tables,
              const LeftOut& how, const uint8_t* block, int64_t first, int64_t size, uint32_t* room,
              int32_t* votes) {
  const int64_t each = neurons.hashed * kRows;
  Slots slots;
  int many = 0;
  for (int64_t m = 0; m < groups.tables; ++m) {
    const int64_t members = groups.begin[m + 1] - groups.begin[m];
    const bool alone = members == 1 && neurons.hashed == 1;
    for (int64_t a = 0; a < members; ++a)
      Entries(neurons, dense, groups.neuron[groups.begin[m] + a], block, room + a * each);
    for (int64_t a = 0; a < members; ++a) {
      slots.table[many] = tables.Of(m, neurons.entries);
      std::memcpy(slots.entries[many], room + a * each, each * sizeof(uint32_t));
      if (alone)
        for (int64_t i = 0; i < kRows; ++i) slots.times[many][i] = 1;
      else
        Times(neurons, room, members, room + a * each, slots.times[many]);
      if (++many < kTogether) continue;
      Vote(neurons, slots, kTogether, tables.classes, how, first, size, votes);
      many = 0;
    }
  }
  if (many) Vote(neurons, slots, many, tables.classes, how, first, size, votes);
}

}  // namespace
}  // namespace classify
}  // namespace wnn
