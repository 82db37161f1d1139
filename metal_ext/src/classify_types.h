// The sizes and the arrays of the class-count layer, which its kernels and their callers share.

#pragma once

#include <cstdint>

namespace wnn {
namespace classify {

constexpr int64_t kRows = 64;    // examples of a block: one vector of bytes for each column
constexpr int64_t kLanes = 16;   // classes of one vector of cells
constexpr int64_t kMaxHashes = 8;
constexpr int kOne = 16;         // a trained cell is a number of 2^-16
constexpr int kShare = 15;       // a probability is a number of 2^-15

struct Neurons {
  const int32_t* column;   // [count, pins]
  const uint8_t* level;    // [count, pins]
  const int32_t* table;    // [count]
  const uint32_t* hashes;  // [hashed, pins]
  int64_t count, pins, hashed, entries;
  int planes;  // bytes of an entry

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

// The neurons, table by table: those of table m are neuron[begin[m]] to neuron[begin[m + 1] - 1].
struct Groups {
  const int32_t* neuron;
  const int32_t* begin;
  int64_t tables;
};

// What a row adds: `values[i]` to all classes, or `weight[i]` to the class `label[i]`.
struct Added {
  const int32_t* values;  // [count, lanes], or null
  const int32_t* label;   // [count]
  const int32_t* weight;  // [count]
};

// Cells [tables, entries, classes], of which a kernel reads whole vectors: the last table is a copy in `tail`, with
// memory for a vector after its end.
template <typename Cell>
struct Tables {
  const Cell* cells;
  const Cell* tail;
  int64_t tables, classes;

  const Cell* Of(int64_t table, int64_t entries) const {
    return table == tables - 1 ? tail : cells + table * entries * classes;
  }
};

// How rows are judged by the counts without themselves.
struct LeftOut {
  const int32_t* label;      // [N]
  const int32_t* weight;     // [N], what the counts of the row's class hold of the row
  const int32_t* threshold;  // [thresholds], at least 1
  int64_t thresholds, lanes;
};

struct Training {
  const int32_t* label;     // [N]
  const int32_t* share;     // [shares], exp(-temperature * d) in 2^-16, d = distance to the best score
  const uint8_t* serves;    // [tables, classes]; null if every table serves every class
  int64_t shares, batch, classes, lanes;
  int32_t rate;             // in 2^-16
  int bits;                 // of a quantised cell
  uint32_t dropped, seed;   // a neuron is left out where its hash is below `dropped`
};

// The kernels, compiled for one processor.
struct Kernels {
  // Copies rows to blocks of 64, each with one vector of bytes for each column.
  void (*gather)(const Rows& rows, int64_t first, int64_t size, uint8_t* blocks, int64_t stride);
  // Adds the cells that the neurons read for the rows of a block to `scores` [size, lanes].
  void (*read_bytes)(const Neurons&, bool dense, const Tables<int8_t>&, int64_t lanes, const uint8_t* block,
                     int64_t size, int32_t* scores);
  void (*read_words)(const Neurons&, bool dense, const Tables<int32_t>&, int64_t lanes, const uint8_t* block,
                     int64_t size, int32_t* scores);
  // Adds to `votes` [64, thresholds, lanes] the neurons whose counts without the row reach the thresholds. `room`
  // holds the entries and the times of all neurons of a table.
  void (*left_out)(const Neurons&, bool dense, const Groups&, const Tables<int32_t>&, const LeftOut&,
                   const uint8_t* block, int64_t first, int64_t size, uint32_t* room, int32_t* votes);
  // Adds rows to the table of the `count` neurons in `members`.
  void (*add)(const Neurons&, bool dense, const int32_t* members, int64_t count, const Added&, int64_t lanes,
              const uint8_t* blocks, int64_t stride, int64_t first, int64_t size, int32_t* table);
  // Trains by one batch; returns the number of rows that were right.
  int64_t (*train)(const Neurons&, bool dense, const Groups&, const Training&, const int32_t* masks, const Rows&,
                   int64_t first, int64_t size, uint8_t* block, int32_t* sums, int32_t* cells, uint32_t nowhere);
};

// The kernels for every processor, and for x86-64 with vectors of 32 and of 64 bytes.
extern const Kernels kBase, kLevel3, kLevel4;

}  // namespace classify
}  // namespace wnn
