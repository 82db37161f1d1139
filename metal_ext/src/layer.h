// The arguments of the kernels: views of XLA's buffers. handlers.cc has checked their shapes, and the ranges of
// all numbers that are indices. The other numbers may be any.

#pragma once

#include <algorithm>
#include <cstdint>

#include "constants.h"

namespace wnn {

enum Kind : int64_t { kTernary = 0, kQuad = 1, kCount = 2, kTrueWins = 3 };

// A sum that wraps around where it overflows, as that of XLA does.
inline int32_t Sum(int32_t one, int32_t other) {
  return static_cast<int32_t>(static_cast<uint32_t>(one) + static_cast<uint32_t>(other));
}

struct Neurons {
  const int32_t *connections, *cluster, *row;
  const uint32_t* seed;
  int64_t count, bits;

  const int32_t* of(int64_t neuron) const { return connections + neuron * bits; }
  bool absent(int64_t neuron) const {
    return std::all_of(of(neuron), of(neuron) + bits, [](int32_t c) { return c < 0; });
  }
};

// The examples to write.
struct Stream {
  const uint32_t *words, *place;
  const uint8_t *targets, *weight;  // booleans, but a caller may pass any bytes
  const int32_t* span;            // for each cluster the first example to write, and the one after the last
  int64_t count, rows, clusters;  // number of examples, of words of an example, and of clusters

  // Whether every cluster is written with every example.
  bool Whole() const {
    for (int64_t k = 0; k < clusters; ++k)
      if (span[2 * k] != 0 || span[2 * k + 1] != count) return false;
    return true;
  }
};

// The examples to read.
struct Inputs {
  const uint32_t* words;
  int64_t count, rows;
  const float* prior;
  int64_t clusters;
};

struct Votes {
  int32_t* data;
  int64_t rows;  // number of rows; a row has one vote for each example
};

struct Config {
  Kind kind;
  const int32_t* values;  // the value that a cell reads, by sign + 1 (ternary) or state (quad, TRUE-wins)
  uint32_t threshold;     // an example is written if its hash is below this; 0 means every example

  int64_t width(int64_t bits) const { return (kind == kCount ? 2 : 1) * (int64_t{1} << bits); }
  bool byte() const { return kind == kQuad || kind == kTrueWins; }
  int64_t row_bytes(int64_t bits) const { return (byte() ? 1 : 4) * width(bits); }
};

}  // namespace wnn
