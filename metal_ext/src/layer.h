// What the kernels work on: views of XLA's buffers, whose shapes and ranges handlers.cc has checked.

#pragma once

#include <algorithm>
#include <cstdint>

#include "constants.h"

namespace wnn {

enum Kind : int64_t { kTernary = 0, kQuad = 1, kCount = 2, kTrueWins = 3 };

struct Neurons {
  const int32_t *connections, *cluster, *row;
  const uint32_t* seed;
  int64_t count, bits;

  const int32_t* of(int64_t neuron) const { return connections + neuron * bits; }
  bool absent(int64_t neuron) const {
    return std::all_of(of(neuron), of(neuron) + bits, [](int32_t c) { return c < 0; });
  }
};

// Examples to write.
struct Stream {
  const uint32_t *words, *place;
  const bool *targets, *weight;
  const int32_t* span;            // first example that a cluster is written, and the one after its last
  int64_t count, rows, clusters;  // examples, words an example, clusters

  // Whether every cluster is written every example.
  bool Whole() const {
    for (int64_t k = 0; k < clusters; ++k)
      if (span[2 * k] != 0 || span[2 * k + 1] != count) return false;
    return true;
  }
};

// Examples to read.
struct Inputs {
  const uint32_t* words;
  int64_t count, rows;
  const float* prior;
  int64_t clusters;
};

struct Votes {
  int32_t* data;
  int64_t rows;  // of one vote an example each
};

struct Config {
  Kind kind;
  const int32_t* values;  // what a cell reads, by sign + 1 (ternary) or state (quad, TRUE-wins)
  uint32_t threshold;     // of the sampling hash; 0: every example

  int64_t width(int64_t bits) const { return (kind == kCount ? 2 : 1) * (int64_t{1} << bits); }
  bool byte() const { return kind == kQuad || kind == kTrueWins; }
  int64_t row_bytes(int64_t bits) const { return (byte() ? 1 : 4) * width(bits); }
};

}  // namespace wnn
