// The kernels of the class-count layer. Each of the files classify_base.cc, classify_v3.cc and classify_v4.cc
// compiles them for another processor, as the value WNN_KERNELS. They call nothing of the standard library that is
// inlined, because the linker keeps only one copy of such a function, which another processor might not run.
//
// wnn_jax/classify/layer.py and training.py are the contract; both return the same integers.

#include <cstdint>
#include <cstring>

#include "classify_types.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // the vectors below are never passed between functions of two builds
#endif

#define WNN_INLINE static inline __attribute__((always_inline))

namespace wnn {
namespace classify {
namespace {

typedef uint8_t Bytes __attribute__((vector_size(64)));
typedef int32_t Cells __attribute__((vector_size(64)));
typedef int16_t Halves __attribute__((vector_size(32)));  // the frozen cells of one vector of classes

// Transposes a square of 8 rows of 8 bytes.
WNN_INLINE void Transpose8(uint64_t x[8]) {
  const uint64_t masks[3] = {0x00FF00FF00FF00FFull, 0x0000FFFF0000FFFFull, 0x00000000FFFFFFFFull};
  for (int step = 2; step >= 0; --step) {
    const int distance = 1 << step, bits = 8 << step;
    for (int i = 0; i < 8; ++i) {
      if (i & distance) continue;
      const uint64_t t = ((x[i] >> bits) ^ x[i + distance]) & masks[step];
      x[i + distance] ^= t;
      x[i] ^= t << bits;
    }
  }
}

// Copies up to 64 rows into a block with one vector of bytes for each column, so that a pin is one comparison.
// A level outside its row is 0.
WNN_INLINE void Gather(const Rows& rows, int64_t first, int64_t size, uint8_t* block) {
  const int64_t columns = rows.columns, padded = (columns + 7) / 8 * 8;
  for (int64_t i = 0; i < size; i += 8) {
    const int64_t some = size - i < 8 ? size - i : 8;
    const uint8_t* source[8];
    int64_t low = 0, high = columns;  // the columns that every row of the group has
    int64_t shift[8] = {0};
    for (int64_t a = 0; a < some; ++a) {
      const int64_t at = first + i + a;
      shift[a] = rows.offset ? rows.offset[at] : 0;
      source[a] = rows.levels + (rows.row ? rows.row[at] : at) * columns + shift[a];
      low = low > -shift[a] ? low : -shift[a];
      high = high < columns - shift[a] ? high : columns - shift[a];
    }
    for (int64_t j = 0; j < padded; j += 8) {
      uint64_t square[8] = {0};
      if (j >= low && j + 8 <= high) {
        for (int64_t a = 0; a < some; ++a) std::memcpy(square + a, source[a] + j, 8);
      } else {
        for (int64_t a = 0; a < some; ++a)
          for (int64_t b = 0; b < 8; ++b)
            if (j + b + shift[a] >= 0 && j + b + shift[a] < columns && j + b < columns)
              reinterpret_cast<uint8_t*>(square + a)[b] = source[a][j + b];
      }
      Transpose8(square);
      for (int64_t b = 0; b < 8; ++b) std::memcpy(block + (j + b) * kRows + i, square + b, 8);
    }
  }
}

// The entries that neuron r reads for the 64 rows of a block, one row of 64 for each hash.
WNN_INLINE void Entries(const Neurons& neurons, bool dense, int64_t r, const uint8_t* block, uint32_t* out) {
  const int32_t* column = neurons.column + r * neurons.pins;
  const uint8_t* level = neurons.level + r * neurons.pins;
  if (dense) {
    for (int64_t first = 0; first < neurons.pins; first += 8) {
      const int64_t last = neurons.pins < first + 8 ? neurons.pins : first + 8;
      Bytes part = {};
      for (int64_t t = first; t < last; ++t) {
        Bytes x;
        std::memcpy(&x, block + column[t] * kRows, kRows);
        const Bytes least = Bytes{} + level[t];
        part |= (Bytes)(x >= least) & (Bytes{} + static_cast<uint8_t>(1u << (t - first)));
      }
      uint8_t bytes[kRows];
      std::memcpy(bytes, &part, kRows);
      if (first == 0)
        for (int64_t i = 0; i < kRows; ++i) out[i] = bytes[i];
      else
        for (int64_t i = 0; i < kRows; ++i) out[i] |= static_cast<uint32_t>(bytes[i]) << first;
    }
    return;
  }
  for (int64_t h = 0; h < neurons.hashed; ++h) {
    uint32_t* one = out + h * kRows;
    for (int64_t i = 0; i < kRows; ++i) one[i] = 0;
    for (int64_t t = 0; t < neurons.pins; ++t) {
      const uint8_t* x = block + column[t] * kRows;
      const uint32_t hash = neurons.hashes[h * neurons.pins + t];
      const uint8_t least = level[t];
      for (int64_t i = 0; i < kRows; ++i) one[i] ^= x[i] >= least ? hash : 0;
    }
  }
}

void GatherRows(const Rows& rows, int64_t first, int64_t size, uint8_t* blocks, int64_t stride) {
  for (int64_t at = 0; at < size; at += kRows)
    Gather(rows, first + at, size - at < kRows ? size - at : kRows, blocks + at / kRows * stride);
}

// --- Reading: the score of a class is the sum of the cells that the neurons read.

// The sums of frozen cells, which fit in 16 bits for this number of neurons.
constexpr int64_t kNeuronsOfHalves = 255;

// Adds the smallest cell of all hashes, one class at a time.
template <typename Cell>
void ReadHashed(const Neurons& neurons, const Cell* table, int64_t lanes, const uint32_t* entries, int64_t size,
                int32_t* scores) {
  for (int64_t i = 0; i < size; ++i) {
    int32_t* sum = scores + i * lanes;
    for (int64_t k = 0; k < lanes; ++k) {
      Cell least = table[entries[i] * lanes + k];
      for (int64_t h = 1; h < neurons.hashed; ++h) {
        const Cell other = table[entries[h * kRows + i] * lanes + k];
        least = other < least ? other : least;
      }
      sum[k] += least;
    }
  }
}

// Reads cells of up to 2 vectors of classes; `Vector` has the type of the cells.
template <typename Cell, typename Vector, int kBlocks>
WNN_INLINE void ReadVectors(const Neurons& neurons, bool dense, const Cell* cells, const uint8_t* block, int64_t size,
                            int32_t* scores) {
  constexpr int64_t lanes = kBlocks * kLanes;
  const int64_t most = sizeof(Cell) == sizeof(int32_t) ? neurons.count : kNeuronsOfHalves;
  uint32_t entries[kMaxHashes * kRows];
  Vector sums[kRows * kBlocks];
  for (int64_t first = 0; first < neurons.count; first += most) {
    const int64_t last = first + most < neurons.count ? first + most : neurons.count;
    std::memset(sums, 0, sizeof sums);
    for (int64_t r = first; r < last; ++r) {
      Entries(neurons, dense, r, block, entries);
      const Cell* table = cells + neurons.table[r] * neurons.entries * lanes;
      for (int64_t i = 0; i < size; ++i)
        for (int b = 0; b < kBlocks; ++b)
          sums[i * kBlocks + b] += reinterpret_cast<const Vector*>(table + entries[i] * lanes)[b];
    }
    const Cell* sum = reinterpret_cast<const Cell*>(sums);
    for (int64_t i = 0; i < size * lanes; ++i) scores[i] += sum[i];
  }
}

template <typename Cell, typename Vector>
void ReadRows(const Neurons& neurons, bool dense, const Cell* cells, int64_t lanes, const uint8_t* block,
              int64_t size, int32_t* scores) {
  if (neurons.hashed == 1 && lanes == kLanes)
    return ReadVectors<Cell, Vector, 1>(neurons, dense, cells, block, size, scores);
  if (neurons.hashed == 1 && lanes == 2 * kLanes)
    return ReadVectors<Cell, Vector, 2>(neurons, dense, cells, block, size, scores);
  uint32_t entries[kMaxHashes * kRows];
  for (int64_t r = 0; r < neurons.count; ++r) {
    Entries(neurons, dense, r, block, entries);
    ReadHashed(neurons, cells + neurons.table[r] * neurons.entries * lanes, lanes, entries, size, scores);
  }
}

// --- Adding: each row adds its values to the entries of its neurons.

template <bool kVectors>
WNN_INLINE void AddBlock(const Neurons& neurons, bool dense, int64_t r, const Added& added, int64_t lanes,
                         const uint8_t* block, int64_t first, int64_t size, int32_t* table) {
  uint32_t entries[kMaxHashes * kRows];
  Entries(neurons, dense, r, block, entries);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t h = 0; h < neurons.hashed; ++h) {
      const uint32_t entry = entries[h * kRows + i];
      bool again = false;  // two hashes that coincide count once
      for (int64_t g = 0; g < h; ++g) again |= entries[g * kRows + i] == entry;
      if (again) continue;
      int32_t* cell = table + entry * lanes;
      if (kVectors) {
        for (int64_t k = 0; k < lanes; k += kLanes) {
          Cells one, more;
          std::memcpy(&one, cell + k, sizeof one);
          std::memcpy(&more, added.values + (first + i) * lanes + k, sizeof more);
          one += more;
          std::memcpy(cell + k, &one, sizeof one);
        }
      } else {
        // Sums wrap around, as those of XLA do.
        uint32_t& sum = reinterpret_cast<uint32_t&>(cell[added.label[first + i]]);
        sum += static_cast<uint32_t>(added.weight[first + i]);
      }
    }
  }
}

void AddRows(const Neurons& neurons, bool dense, const int32_t* members, int64_t count,
                               const Added& added, int64_t lanes, const uint8_t* blocks, int64_t stride,
                               int64_t first, int64_t size, int32_t* table) {
  for (int64_t a = 0; a < count; ++a)
    for (int64_t at = 0; at < size; at += kRows) {
      const uint8_t* block = blocks + at / kRows * stride;
      const int64_t some = size - at < kRows ? size - at : kRows;
      if (added.values)
        AddBlock<true>(neurons, dense, members[a], added, lanes, block, first + at, some, table);
      else
        AddBlock<false>(neurons, dense, members[a], added, lanes, block, first + at, some, table);
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
const Kernels WNN_KERNELS = {GatherRows, ReadRows<int16_t, Halves>, ReadRows<int32_t, Cells>, AddRows, TrainRows};

}  // namespace classify
}  // namespace wnn
