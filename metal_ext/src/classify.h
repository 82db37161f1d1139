// The class-count layer on the CPU: reads, counts and trains tables that hold one cell for each class.
//
// wnn_jax/classify/layer.py and training.py are the contract; both return the same integers.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "addresses.h"
#include "parallel.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // the vectors below are never passed between functions of two builds
#endif

namespace wnn {
namespace classify {

constexpr int64_t kRows = 64;    // examples of a block: one vector of bytes for each column
constexpr int64_t kLanes = 16;   // classes of one vector of cells
constexpr int64_t kMaxHashes = 8;
constexpr int kOne = 16;         // a trained cell is a number of 2^-16
constexpr int kShare = 15;       // a probability is a number of 2^-15

typedef uint8_t Bytes __attribute__((vector_size(64)));
typedef int32_t Cells __attribute__((vector_size(64)));

#define WNN_INLINE inline __attribute__((always_inline))

// Memory that begins at a cache line.
template <typename T>
class Aligned {
 public:
  explicit Aligned(size_t count) : memory_(new (std::align_val_t(64)) T[count]()) {}
  ~Aligned() { ::operator delete[](memory_, std::align_val_t(64)); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  T* get() { return memory_; }
  T& operator[](size_t i) { return memory_[i]; }

 private:
  T* memory_;
};

struct Neurons {
  const int32_t* column;   // [count, pins]
  const uint8_t* level;    // [count, pins]
  const int32_t* table;    // [count]
  const uint32_t* hashes;  // [hashed, pins]
  int64_t count, pins, hashed, entries;

  bool Dense() const {
    if (hashed != 1) return false;
    for (int64_t t = 0; t < pins; ++t)
      if (hashes[t] != 1u << t) return false;
    return pins <= 24;
  }
};

// Rows of levels, read in an order of their own, each at an offset of its own (which slides an image).
struct Rows {
  const uint8_t* levels;  // [N, columns]
  const int32_t* row;     // [count], or null for the order of the levels
  const int32_t* offset;  // [count], or null for no offset
  int64_t columns, count;
};

// The neurons, table by table: the cells of a table are changed by one thread, and clipped once.
struct ByTable {
  std::vector<int32_t> neuron, begin;
  ByTable(const Neurons& neurons, int64_t tables) : neuron(neurons.count), begin(tables + 1) {
    for (int64_t r = 0; r < neurons.count; ++r) ++begin[neurons.table[r] + 1];
    for (int64_t m = 0; m < tables; ++m) begin[m + 1] += begin[m];
    std::vector<int32_t> next(begin.begin(), begin.end() - 1);
    for (int64_t r = 0; r < neurons.count; ++r) neuron[next[neurons.table[r]]++] = static_cast<int32_t>(r);
  }
};

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
    const int64_t some = std::min<int64_t>(8, size - i);
    const uint8_t* source[8];
    int64_t low = 0, high = columns;  // the columns that every row of the group has
    int64_t shift[8] = {0};
    for (int64_t a = 0; a < some; ++a) {
      const int64_t at = first + i + a;
      shift[a] = rows.offset ? rows.offset[at] : 0;
      source[a] = rows.levels + (rows.row ? rows.row[at] : at) * columns + shift[a];
      low = std::max(low, -shift[a]);
      high = std::min(high, columns - shift[a]);
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
      const int64_t last = std::min(neurons.pins, first + 8);
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

inline int64_t BlockBytes(int64_t columns) { return (columns + 7) / 8 * 8 * kRows; }

// --- Reading: the score of a class is the sum of the cells that the neurons read.

template <typename Cell, int kBlocks>
WNN_INLINE void ReadBlock(const Neurons& neurons, bool dense, const Cell* cells, int64_t lanes,
                          const uint8_t* block, int64_t size, int32_t* scores) {
  uint32_t entries[kMaxHashes * kRows];
  const int64_t wide = kBlocks ? kBlocks * kLanes : lanes;
  for (int64_t r = 0; r < neurons.count; ++r) {
    Entries(neurons, dense, r, block, entries);
    const Cell* table = cells + neurons.table[r] * neurons.entries * wide;
    for (int64_t i = 0; i < size; ++i) {
      int32_t* sum = scores + i * wide;
      const Cell* found = table + entries[i] * wide;
      if (neurons.hashed == 1) {
        for (int64_t k = 0; k < wide; ++k) sum[k] += found[k];
        continue;
      }
      for (int64_t k = 0; k < wide; ++k) {
        Cell least = found[k];
        for (int64_t h = 1; h < neurons.hashed; ++h)
          least = std::min(least, table[entries[h * kRows + i] * wide + k]);
        sum[k] += least;
      }
    }
  }
}

#define WNN_READ(name, Cell)                                                                                 \
  WNN_CLONES inline void name(const Neurons& neurons, bool dense, const Cell* cells, int64_t lanes,          \
                              const Rows& rows, int64_t first, int64_t size, uint8_t* block,                 \
                              int32_t* scores) {                                                             \
    Gather(rows, first, size, block);                                                                        \
    if (lanes == kLanes)                                                                                     \
      ReadBlock<Cell, 1>(neurons, dense, cells, lanes, block, size, scores);                                 \
    else if (lanes == 2 * kLanes)                                                                            \
      ReadBlock<Cell, 2>(neurons, dense, cells, lanes, block, size, scores);                                 \
    else                                                                                                     \
      ReadBlock<Cell, 0>(neurons, dense, cells, lanes, block, size, scores);                                 \
  }
WNN_READ(ReadBytes, int8_t)
WNN_READ(ReadWords, int32_t)
#undef WNN_READ

inline void ReadRows(const Neurons& n, bool dense, const int8_t* cells, int64_t lanes, const Rows& rows,
                     int64_t first, int64_t size, uint8_t* block, int32_t* scores) {
  ReadBytes(n, dense, cells, lanes, rows, first, size, block, scores);
}
inline void ReadRows(const Neurons& n, bool dense, const int32_t* cells, int64_t lanes, const Rows& rows,
                     int64_t first, int64_t size, uint8_t* block, int32_t* scores) {
  ReadWords(n, dense, cells, lanes, rows, first, size, block, scores);
}

inline int64_t LanesOf(int64_t classes) { return (classes + kLanes - 1) / kLanes * kLanes; }

// Copies cells [places, classes] to rows of whole vectors.
template <typename Cell>
void Widen(const Cell* cells, int64_t places, int64_t classes, int64_t lanes, Cell* wide) {
  for (int64_t p = 0; p < places; ++p) std::memcpy(wide + p * lanes, cells + p * classes, classes * sizeof(Cell));
}

template <typename Pool, typename Cell>
bool Read(Pool& pool, const Neurons& neurons, const Cell* cells, int64_t tables, int64_t classes,
          const Rows& rows, int32_t* scores) {
  // One class needs no vector; its cells are read where they are.
  const int64_t lanes = classes == 1 ? 1 : LanesOf(classes), places = tables * neurons.entries;
  std::unique_ptr<Aligned<Cell>> wide;
  if (lanes != classes) {
    wide = std::make_unique<Aligned<Cell>>(places * lanes);
    Widen(cells, places, classes, lanes, wide->get());
    cells = wide->get();
  }
  const bool dense = neurons.Dense();
  return Parallel(pool, (rows.count + kRows - 1) / kRows, [&] {
    auto block = std::make_shared<Aligned<uint8_t>>(BlockBytes(rows.columns));
    auto sums = std::make_shared<Aligned<int32_t>>(kRows * lanes);
    return [&, block, sums](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * kRows, size = std::min(kRows, rows.count - first);
        std::memset(sums->get(), 0, kRows * lanes * sizeof(int32_t));
        ReadRows(neurons, dense, cells, lanes, rows, first, size, block->get(), sums->get());
        for (int64_t i = 0; i < size; ++i)
          std::memcpy(scores + (first + i) * classes, sums->get() + i * lanes, classes * sizeof(int32_t));
      }
    };
  });
}

// --- Adding: each row adds its values to the entries of its neurons.

// What a row adds: `values[i]` to all classes, or `weight[i]` to the class `label[i]`.
struct Added {
  const int32_t* values;  // [count, lanes], or null
  const int32_t* label;   // [count]
  const int32_t* weight;  // [count]
};

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

WNN_CLONES inline void AddRows(const Neurons& neurons, bool dense, const int32_t* members, int64_t count,
                               const Added& added, int64_t lanes, const uint8_t* blocks, int64_t stride,
                               int64_t first, int64_t size, int32_t* table) {
  for (int64_t a = 0; a < count; ++a)
    for (int64_t at = 0; at < size; at += kRows) {
      const uint8_t* block = blocks + at / kRows * stride;
      const int64_t some = std::min(kRows, size - at);
      if (added.values)
        AddBlock<true>(neurons, dense, members[a], added, lanes, block, first + at, some, table);
      else
        AddBlock<false>(neurons, dense, members[a], added, lanes, block, first + at, some, table);
    }
}

WNN_CLONES inline void GatherRows(const Rows& rows, int64_t first, int64_t size, uint8_t* blocks, int64_t stride) {
  for (int64_t at = 0; at < size; at += kRows)
    Gather(rows, first + at, std::min(kRows, size - at), blocks + at / kRows * stride);
}

// Adds to `tables` tables of rows of `lanes` cells. The rows go by in chunks, so that their levels stay in cache.
template <typename Pool>
bool Add(Pool& pool, const Neurons& neurons, const Rows& rows, const Added& added, int64_t lanes, int64_t tables,
         int32_t* cells) {
  const ByTable groups(neurons, tables);
  const bool dense = neurons.Dense();
  const int64_t stride = BlockBytes(rows.columns);
  const int64_t chunk = std::max<int64_t>(1, (int64_t{1} << 20) / stride) * kRows;
  const int64_t many = std::min(chunk, (rows.count + kRows - 1) / kRows * kRows);
  Aligned<uint8_t> blocks(many / kRows * stride);
  for (int64_t first = 0; first < rows.count; first += chunk) {
    const int64_t size = std::min(chunk, rows.count - first);
    GatherRows(rows, first, size, blocks.get(), stride);
    const bool enough = Parallel(pool, tables, [&] {
      return [&](int64_t begin, int64_t end) {
        for (int64_t m = begin; m < end; ++m)
          AddRows(neurons, dense, groups.neuron.data() + groups.begin[m], groups.begin[m + 1] - groups.begin[m],
                  added, lanes, blocks.get(), stride, first, size, cells + m * neurons.entries * lanes);
      };
    });
    if (!enough) return false;
  }
  return true;
}

// --- Training: softmax by steps of batches, with a straight-through read of the quantised cell.

struct Training {
  const int32_t* label;     // [N]
  const int32_t* share;     // [shares], exp(-temperature * d) in 2^-16, d = distance to the best score
  const uint8_t* serves;    // [tables, classes]; null if every table serves every class
  int64_t shares, batch, classes, lanes;
  int32_t rate;             // in 2^-16
  int bits;                 // of a quantised cell
  uint32_t dropped, seed;   // a neuron is left out where its hash is below `dropped`
};

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
WNN_INLINE int64_t TrainBatch(const Neurons& neurons, bool dense, const ByTable& groups, const Training& how,
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
  int64_t right = 0;
  for (int64_t i = 0; i < size; ++i) {
    int32_t* scores = sums + i * lanes;
    if (!kMasked)
      for (int64_t k = 0; k < how.classes; ++k) scores[k] = 2 * scores[k] + read[i];
    right += Step(how, how.label[row[first + i]], scores);
  }
  for (size_t m = 0; m + 1 < groups.begin.size(); ++m) {
    const Cells* mask = reinterpret_cast<const Cells*>(masks + m * lanes);
    const bool all = neurons.entries <= kRows;  // a small table is clipped as a whole
    const int32_t* member = groups.neuron.data() + groups.begin[m];
    const int32_t members = groups.begin[m + 1] - groups.begin[m];
    for (int32_t a = 0; a < members; ++a) {
      Places(neurons, dense, how, member[a], first, block, nowhere, found);
      for (int64_t i = 0; i < size; ++i)
        for (int b = 0; b < kBlocks; ++b) {
          Cells* cell = reinterpret_cast<Cells*>(cells + static_cast<int64_t>(found[i]) * lanes) + b;
          *cell += kMasked ? sum[i * kBlocks + b] & mask[b] : sum[i * kBlocks + b];
        }
    }
    Cells* const table = reinterpret_cast<Cells*>(cells + static_cast<int64_t>(m) * neurons.entries * lanes);
    if (all)
      for (int64_t e = 0; e < neurons.entries * kBlocks; ++e) Clip(table + e);
    for (int32_t a = 0; a < members && !all; ++a) {
      Places(neurons, dense, how, member[a], first, block, nowhere, found);
      for (int64_t i = 0; i < size; ++i)
        for (int b = 0; b < kBlocks; ++b)
          Clip(reinterpret_cast<Cells*>(cells + static_cast<int64_t>(found[i]) * lanes) + b);
    }
  }
  // What the left-out rows added is taken out again.
  for (int64_t k = 0; k < lanes; ++k) cells[static_cast<int64_t>(nowhere) * lanes + k] = 0;
  return right;
}

WNN_CLONES inline int64_t TrainRows(const Neurons& neurons, bool dense, const ByTable& groups,
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

constexpr int64_t kMaxClasses = 16 * kLanes;

// Trains `cells` [tables, entries, classes] by one pass over the rows. Sets `right` to the number of rows whose
// class had the best score before their step.
inline bool Train(const Neurons& neurons, const Rows& rows, Training how, int64_t tables, int32_t* cells,
                  int32_t* right) {
  int64_t blocks = 1;
  while (blocks * kLanes < how.classes) blocks *= 2;
  how.lanes = blocks * kLanes;
  const int64_t places = tables * neurons.entries, lanes = how.lanes;
  try {
    Aligned<int32_t> wide((places + 1) * lanes), sums(kRows * lanes);
    Aligned<uint8_t> block(BlockBytes(rows.columns));
    Aligned<int32_t> masks(how.serves ? tables * lanes : 1);
    Widen(cells, places, how.classes, lanes, wide.get());
    if (how.serves)
      for (int64_t m = 0; m < tables; ++m)
        for (int64_t k = 0; k < how.classes; ++k) masks[m * lanes + k] = -how.serves[m * how.classes + k];
    const ByTable groups(neurons, tables);
    const bool dense = neurons.Dense();
    int64_t good = 0;
    for (int64_t first = 0; first < rows.count; first += how.batch)
      good += TrainRows(neurons, dense, groups, how, how.serves ? masks.get() : nullptr, rows, first,
                        std::min(how.batch, rows.count - first), block.get(), sums.get(), wide.get(),
                        static_cast<uint32_t>(places));
    for (int64_t p = 0; p < places; ++p)
      std::memcpy(cells + p * how.classes, wide.get() + p * lanes, how.classes * sizeof(int32_t));
    *right = static_cast<int32_t>(good);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

}  // namespace classify
}  // namespace wnn
