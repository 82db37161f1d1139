// Blocks of 64 rows, and the entries that neurons read for them. Only classify_kernels.h includes this file.

#pragma once

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
typedef int16_t Halves __attribute__((vector_size(32)));  // sums of frozen cells, of one vector of classes
typedef int8_t Frozen __attribute__((vector_size(16)));   // frozen cells of one vector of classes

template <typename Vector, typename Cell>
WNN_INLINE Vector Load(const Cell* cells) {
  Vector found;
  std::memcpy(&found, cells, sizeof found);
  return found;
}

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

// The entries of one hash for the 64 rows of a block, byte by byte: the bytes of an entry do not depend on another.
template <int kPlanes>
WNN_INLINE void Hash(const int32_t* column, const uint8_t* level, const uint32_t* hashes, int64_t pins,
                     const uint8_t* block, uint32_t* out) {
  Bytes plane[kPlanes] = {};
  for (int64_t t = 0; t < pins; ++t) {
    Bytes x;
    std::memcpy(&x, block + column[t] * kRows, kRows);
    const Bytes set = (Bytes)(x >= Bytes{} + level[t]);
    for (int p = 0; p < kPlanes; ++p) {
      const uint8_t part = static_cast<uint8_t>(hashes[t] >> (8 * p));
      plane[p] ^= set & (Bytes{} + part);
    }
  }
  for (int p = 0; p < kPlanes; ++p) {
    uint8_t bytes[kRows];
    std::memcpy(bytes, plane + p, kRows);
    for (int64_t i = 0; i < kRows; ++i) out[i] = (p ? out[i] : 0) | static_cast<uint32_t>(bytes[i]) << (8 * p);
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
        const uint8_t bit = static_cast<uint8_t>(1u << (t - first));
        part |= (Bytes)(x >= least) & (Bytes{} + bit);
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
    const uint32_t* hashes = neurons.hashes + h * neurons.pins;
    uint32_t* one = out + h * kRows;
    if (neurons.planes == 1)
      Hash<1>(column, level, hashes, neurons.pins, block, one);
    else if (neurons.planes == 2)
      Hash<2>(column, level, hashes, neurons.pins, block, one);
    else
      Hash<4>(column, level, hashes, neurons.pins, block, one);
  }
}

void GatherRows(const Rows& rows, int64_t first, int64_t size, uint8_t* blocks, int64_t stride) {
  for (int64_t at = 0; at < size; at += kRows)
    Gather(rows, first + at, size - at < kRows ? size - at : kRows, blocks + at / kRows * stride);
}

}  // namespace
}  // namespace classify
}  // namespace wnn
