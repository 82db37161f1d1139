// The kernels of the class-count layer. Each of the files classify_base.cc, classify_v3.cc and classify_v4.cc
// compiles them for another processor, as the value WNN_KERNELS. They call nothing of the standard library that is
// inlined, because the linker keeps only one copy of such a function, which another processor might not run.
//
// wnn_jax/classify/layer.py and training.py are the contract; both return the same integers.

#include <cstdint>
#include <cstring>

#include "classify_blocks.h"
#include "classify_reading.h"

namespace wnn {
namespace classify {
namespace {

// --- Adding: each row adds its values to the entries of its neurons.

// Finds the entries that neuron r adds to, and the rows for which a hash gives no entry that an earlier one gave:
// two hashes that coincide count once.
WNN_INLINE void Distinct(const Neurons& neurons, bool dense, int64_t r, const uint8_t* block, uint32_t* entries,
                         uint32_t* fresh) {
  Entries(neurons, dense, r, block, entries);
  for (int64_t h = 0; h < neurons.hashed; ++h) {
    uint32_t* one = fresh + h * kRows;
    for (int64_t i = 0; i < kRows; ++i) one[i] = ~0u;
    for (int64_t g = 0; g < h; ++g)
      for (int64_t i = 0; i < kRows; ++i) one[i] = entries[g * kRows + i] == entries[h * kRows + i] ? 0 : one[i];
  }
}

// Adds `values` to all classes.
WNN_INLINE void AddVectors(const int32_t* values, int64_t lanes, const uint32_t* entries, const uint32_t* fresh,
                           int64_t size, int32_t* table) {
  for (int64_t i = 0; i < size; ++i)
    for (int64_t k = 0; k < lanes; k += kLanes) {
      int32_t* cell = table + entries[i] * lanes + k;
      Cells one = Load<Cells>(cell);
      one += Load<Cells>(values + i * lanes + k) & (Cells{} + static_cast<int32_t>(fresh[i]));
      std::memcpy(cell, &one, sizeof one);
    }
}

// Adds a weight to the class of each row. Sums wrap around, as those of XLA do.
WNN_INLINE void AddWeights(const int32_t* label, const int32_t* weight, int64_t classes, const uint32_t* entries,
                           const uint32_t* fresh, int64_t size, uint32_t* table) {
  // The places first, which takes vectors.
  int64_t place[kRows];
  uint32_t amount[kRows];
  for (int64_t i = 0; i < size; ++i) {
    place[i] = entries[i] * classes + label[i];
    amount[i] = static_cast<uint32_t>(weight[i]) & fresh[i];
  }
  for (int64_t i = 0; i < size; ++i) table[place[i]] += amount[i];
}

void AddRows(const Neurons& neurons, bool dense, const int32_t* members, int64_t count, const Added& added,
             int64_t lanes, const uint8_t* blocks, int64_t stride, int64_t first, int64_t size, int32_t* table) {
  uint32_t entries[kMaxHashes * kRows], fresh[kMaxHashes * kRows];
  for (int64_t a = 0; a < count; ++a)
    for (int64_t at = 0; at < size; at += kRows) {
      const int64_t some = size - at < kRows ? size - at : kRows, row = first + at;
      Distinct(neurons, dense, members[a], blocks + at / kRows * stride, entries, fresh);
      for (int64_t h = 0; h < neurons.hashed; ++h) {
        const uint32_t *entry = entries + h * kRows, *kept = fresh + h * kRows;
        if (added.values)
          AddVectors(added.values + row * lanes, lanes, entry, kept, some, table);
        else
          AddWeights(added.label + row, added.weight + row, lanes, entry, kept, some,
                     reinterpret_cast<uint32_t*>(table));
      }
    }
}

// --- Training: softmax by steps of batches, with a straight-through read of the quantised cell.

// Mixes 32 bits (the finaliser of MurmurHash3).
WNN_INLINE uint32_t Mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6Bu;
  x ^= x >> 13;
  x *= 0xC2B2AE35u;
  return x ^ x >> 16;
}

// Sends the entries of the rows that leave neuron r out to the entry `nowhere`.
WNN_INLINE void Drop(const Training& how, int64_t r, int64_t first, uint32_t nowhere, uint32_t* entries) {
  const uint32_t own = Mix(how.seed + static_cast<uint32_t>(r) * 0x9E3779B9u);
  for (int64_t i = 0; i < kRows; ++i) {
    const uint32_t drawn = Mix(own ^ static_cast<uint32_t>(first + i));
    entries[i] = drawn < how.dropped ? nowhere : entries[i];
  }
}

// Turns the scores of a row into its step: rate * (target - probability), in 2^-16. Returns whether it was right.
WNN_INLINE bool Step(const Training& how, int32_t label, int32_t* scores) {
  int64_t best = 0;
  for (int64_t k = 1; k < how.classes; ++k)
    if (scores[k] > scores[best]) best = k;
  const int32_t top = scores[best];
  uint32_t sum = 0;
  for (int64_t k = 0; k < how.classes; ++k) {
    const int64_t distance = top - scores[k];
    scores[k] = distance < how.shares ? how.share[distance] : 0;
    sum += static_cast<uint32_t>(scores[k]);
  }
  for (int64_t k = 0; k < how.classes; ++k) {
    const int32_t p = static_cast<int32_t>((static_cast<uint32_t>(scores[k]) << kShare) / sum);
    const int32_t target = k == label ? 1 << kShare : 0;
    scores[k] = (how.rate * (target - p) + (1 << (kShare - 1))) >> kShare;
  }
  for (int64_t k = how.classes; k < how.lanes; ++k) scores[k] = 0;
  return best == label;
}

// The places of the cells that neuron r reads; `nowhere` for a row that leaves the neuron out.
WNN_INLINE void Places(const Neurons& neurons, bool dense, const Training& how, int64_t r, int64_t first,
                       const uint8_t* block, uint32_t nowhere, uint32_t* found) {
  Entries(neurons, dense, r, block, found);
  const uint32_t base = static_cast<uint32_t>(neurons.table[r] * neurons.entries);
  for (int64_t i = 0; i < kRows; ++i) found[i] += base;
  if (how.dropped) Drop(how, r, first, nowhere, found);
}

// Clips weights to [-1, 1).
WNN_INLINE void Clip(Cells* cell) {
  const Cells high = Cells{} + ((1 << kOne) - 1), low = Cells{} - (1 << kOne);
  const Cells x = *cell > high ? high : *cell;
  *cell = x < low ? low : x;
}

template <int kBlocks, bool kMasked>
WNN_INLINE int64_t TrainBatch(const Neurons& neurons, bool dense, const Groups& groups, const Training& how,
                              const int32_t* masks, const int32_t* row, int64_t first, int64_t size,
                              const uint8_t* block, int32_t* sums, int32_t* cells, uint32_t nowhere) {
  const int64_t lanes = kBlocks * kLanes;
  const int shift = kOne + 1 - how.bits;
  uint32_t found[kMaxHashes * kRows];
  Cells* const sum = reinterpret_cast<Cells*>(sums);
  int32_t read[kRows] = {0};
  for (int64_t i = 0; i < size * kBlocks; ++i) sum[i] = Cells{};
  for (int64_t r = 0; r < neurons.count; ++r) {
    Places(neurons, dense, how, r, first, block, nowhere, found);
    const Cells* mask = reinterpret_cast<const Cells*>(masks + neurons.table[r] * lanes);
    for (int64_t i = 0; i < size; ++i) {
      const Cells* cell = reinterpret_cast<const Cells*>(cells + static_cast<int64_t>(found[i]) * lanes);
      const bool here = found[i] != nowhere;
      read[i] += here;
      for (int b = 0; b < kBlocks; ++b) {
        if (kMasked)
          sum[i * kBlocks + b] += ((cell[b] >> shift) * 2 + 1) & mask[b] & (Cells{} - static_cast<int32_t>(here));
        else
          sum[i * kBlocks + b] += cell[b] >> shift;
      }
    }
  }
  int64_t right = 0, changing = 0;
  int64_t changes[kRows];  // the rows whose step is not 0: few, once most rows are right
  for (int64_t i = 0; i < size; ++i) {
    int32_t* scores = sums + i * lanes;
    if (!kMasked)
      for (int64_t k = 0; k < how.classes; ++k) scores[k] = 2 * scores[k] + read[i];
    right += Step(how, how.label[row[first + i]], scores);
    int32_t any = 0;
    for (int64_t k = 0; k < how.classes; ++k) any |= scores[k];
    changes[changing] = i;
    changing += any != 0;
  }
  for (int64_t m = 0; m < groups.tables; ++m) {
    const Cells* mask = reinterpret_cast<const Cells*>(masks + m * lanes);
    const bool all = neurons.entries <= changing;  // a small table is clipped as a whole
    const int32_t* member = groups.neuron + groups.begin[m];
    const int32_t members = groups.begin[m + 1] - groups.begin[m];
    for (int32_t a = 0; a < members; ++a) {
      Places(neurons, dense, how, member[a], first, block, nowhere, found);
      for (int64_t j = 0; j < changing; ++j)
        for (int b = 0; b < kBlocks; ++b) {
          const int64_t i = changes[j];
          Cells* cell = reinterpret_cast<Cells*>(cells + static_cast<int64_t>(found[i]) * lanes) + b;
          *cell += kMasked ? sum[i * kBlocks + b] & mask[b] : sum[i * kBlocks + b];
        }
    }
    Cells* const table = reinterpret_cast<Cells*>(cells + m * neurons.entries * lanes);
    if (all)
      for (int64_t e = 0; e < neurons.entries * kBlocks; ++e) Clip(table + e);
    for (int32_t a = 0; a < members && !all; ++a) {
      Places(neurons, dense, how, member[a], first, block, nowhere, found);
      for (int64_t j = 0; j < changing; ++j)
        for (int b = 0; b < kBlocks; ++b)
          Clip(reinterpret_cast<Cells*>(cells + static_cast<int64_t>(found[changes[j]]) * lanes) + b);
    }
  }
  // What the left-out rows added is taken out again.
  for (int64_t k = 0; k < lanes; ++k) cells[static_cast<int64_t>(nowhere) * lanes + k] = 0;
  return right;
}

 int64_t TrainRows(const Neurons& neurons, bool dense, const Groups& groups,
                                    const Training& how, const int32_t* masks, const Rows& rows, int64_t first,
                                    int64_t size, uint8_t* block, int32_t* sums, int32_t* cells,
                                    uint32_t nowhere) {
  Gather(rows, first, size, block);
#define WNN_BATCH(n)                                                                                         \
  if (how.lanes == n * kLanes)                                                                               \
    return masks ? TrainBatch<n, true>(neurons, dense, groups, how, masks, rows.row, first, size, block, sums,  \
                                       cells, nowhere)                                                       \
                 : TrainBatch<n, false>(neurons, dense, groups, how, masks, rows.row, first, size, block, sums, \
                                        cells, nowhere);
  WNN_BATCH(1) WNN_BATCH(2) WNN_BATCH(4) WNN_BATCH(8) WNN_BATCH(16)
#undef WNN_BATCH
  return 0;
}

}  // namespace

extern const Kernels WNN_KERNELS;
const Kernels WNN_KERNELS = {GatherRows, ReadRows<int8_t>, ReadRows<int32_t>, LeaveOut, AddRows, TrainRows};

}  // namespace classify
}  // namespace wnn
