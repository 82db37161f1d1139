// The row of one neuron in a fused kernel, which keeps the cells of wnn_jax/ram/cells.py in their densest
// form.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "addresses.h"
#include "layer.h"

namespace wnn {

constexpr int kSpill = 1 << 14;   // a 16-bit sum that reaches this is moved to a 32-bit sum
constexpr float kUnit = 1 << 20;  // cells.UNIT

// The results are -1, 0 or 1 for any bytes: they become indices of look-up tables.
WNN_CLONES inline void Amounts(const uint8_t* targets, const uint8_t* weight, int64_t size, int8_t* out) {
  for (int64_t i = 0; i < size; ++i)
    out[i] = static_cast<int8_t>((weight[i] != 0) * (2 * (targets[i] != 0) - 1));
}

// The same hash as `sampled` in wnn_jax/ram/cells.py.
WNN_CLONES inline void Sample(uint32_t seed, uint32_t threshold, const uint32_t* place, int64_t size,
                       const int8_t* amount, int8_t* out) {
  for (int64_t i = 0; i < size; ++i) {
    uint32_t mixed = seed + place[i] * 0x9E3779B9u;
    mixed = (mixed ^ (mixed >> 16)) * 0x7FEB352Du;
    mixed = (mixed ^ (mixed >> 15)) * 0x846CA68Bu;
    mixed = mixed ^ (mixed >> 16);
    out[i] = mixed < threshold ? amount[i] : 0;
  }
}

// The state of a byte cell after an amount of -1, 0 or 1: a quad cell moves up or down by 1 and saturates, a
// TRUE-wins cell only rises.
inline int Nudge(Kind kind, int state, int amount) {
  if (kind == kTrueWins) return amount ? std::max(state, amount > 0 ? 2 : 1) : state;
  return std::min(3, std::max(0, state + amount));
}

// For every byte of four such cells, the byte after one of them changed. A row of the table belongs to an
// amount and to one of the four cells: row 4 * (amount + 1) + cell.
struct Nudged {
  uint8_t rows[12][256];

  static const Nudged& Table(Kind kind) {
    static const Nudged quad(kQuad), true_wins(kTrueWins);
    return kind == kQuad ? quad : true_wins;
  }

 private:
  explicit Nudged(Kind kind) {
    for (int row = 0; row < 12; ++row)
      for (int four = 0; four < 256; ++four) {
        const int shift = 2 * (row % 4), state = (four >> shift) & 3;
        rows[row][four] = static_cast<uint8_t>(four ^ ((state ^ Nudge(kind, state, row / 4 - 1)) << shift));
      }
  }
};

// Adds the values that count cells read, as `value` in wnn_jax/ram/cells.py: in float32, and rounded to even
// as XLA does. Counts and priors that no table has, such as NaN, give a value from 0 to 1 too: to convert a
// number beyond the range of integers is undefined.
WNN_CLONES inline void AddCountVotes(const int32_t* zeros, const int32_t* ones, float prior, int64_t size,
                              int32_t* votes) {
  for (int64_t i = 0; i < size; ++i) {
    const float n0 = static_cast<float>(zeros[i]), n1 = static_cast<float>(ones[i]);
    float vote = std::rint((n1 + prior) / (n0 + n1 + 1.0f) * kUnit);
    vote = vote > 0.0f ? vote : 0.0f;
    votes[i] = Sum(votes[i], static_cast<int32_t>(vote < kUnit ? vote : kUnit));
  }
}

// The row of one neuron at a time, in its densest form.
class Row {
 public:
  Row(Kind kind, int64_t bits) : kind_(kind), bytes_(Bytes(bits)) {}

  void Clear(int64_t bits) {
    // Quad cells start at 1, and a byte holds four of them: 0b01010101.
    std::memset(bytes_.data(), kind_ == kQuad ? 0x55 : 0, Bytes(bits));
    spilled_.clear();
  }

  void Write(const uint32_t* address, const int8_t* amount, int64_t size) {
    if (kind_ == kTernary) {
      int16_t* cells = reinterpret_cast<int16_t*>(bytes_.data());
      for (int64_t i = 0; i < size; ++i) {
        __builtin_prefetch(cells + address[i + kAhead], 1);
        const int vote = cells[address[i]] + amount[i];
        cells[address[i]] = static_cast<int16_t>(vote);
        if (__builtin_expect(vote >= kSpill || vote <= -kSpill, 0)) {
          Spilled(address[i]).first += vote;
          cells[address[i]] = 0;
        }
      }
    } else if (kind_ == kCount) {
      uint32_t* cells = reinterpret_cast<uint32_t*>(bytes_.data());
      constexpr uint32_t step[3] = {1, 0, 1u << 16};
      for (int64_t i = 0; i < size; ++i) {
        __builtin_prefetch(cells + address[i + kAhead], 1);
        const uint32_t pair = cells[address[i]] + step[amount[i] + 1];
        cells[address[i]] = pair;
        if (__builtin_expect((pair & (kSpill | kSpill << 16)) != 0, 0)) {
          auto& wide = Spilled(address[i]);
          wide.first += pair & 0xFFFF;
          wide.second += pair >> 16;
          cells[address[i]] = 0;
        }
      }
    } else {
      // Consecutive examples often change the same byte, so the time from its load to its store limits the
      // speed. It is one look-up, in a row of the table that does not depend on the byte.
      uint8_t* cells = bytes_.data();
      const Nudged& nudged = Nudged::Table(kind_);
      for (int64_t i = 0; i < size; ++i) {
        const uint8_t* next = nudged.rows[4 * (amount[i] + 1) + address[i] % 4];
        uint8_t& four = cells[address[i] / 4];
        four = next[four];
      }
    }
  }

  // Adds the small sums to the wide ones. A ternary cell then holds only the sign; a count cell is marked.
  void Finish() {
    for (auto& [address, wide] : spilled_) {
      if (kind_ == kTernary) {
        int16_t& cell = reinterpret_cast<int16_t*>(bytes_.data())[address];
        cell = static_cast<int16_t>(std::clamp(wide.first + cell, -1, 1));
      } else {
        uint32_t& cell = reinterpret_cast<uint32_t*>(bytes_.data())[address];
        wide.first += cell & 0xFFFF;
        wide.second += cell >> 16;
        cell = kMarked;
      }
    }
  }

  void Read(const uint32_t* address, int64_t size, const Config& config, float prior, int32_t* votes) {
    if (kind_ == kTernary) {
      const int16_t* cells = reinterpret_cast<const int16_t*>(bytes_.data());
      for (int64_t i = 0; i < size; ++i) {
        __builtin_prefetch(cells + address[i + kAhead]);
        const int vote = cells[address[i]];
        votes[i] = Sum(votes[i], config.values[(vote > 0) - (vote < 0) + 1]);
      }
    } else if (kind_ == kCount) {
      const uint32_t* cells = reinterpret_cast<const uint32_t*>(bytes_.data());
      for (int64_t i = 0; i < size; ++i) {
        __builtin_prefetch(cells + address[i + kAhead]);
        const uint32_t pair = cells[address[i]];
        zeros_[i] = pair & 0xFFFF;
        ones_[i] = pair >> 16;
        if (__builtin_expect(pair == kMarked, 0))
          std::tie(zeros_[i], ones_[i]) = Spilled(address[i]);
      }
      AddCountVotes(zeros_, ones_, prior, size, votes);
    } else {
      // A copy: votes are integers too, so the compiler would have to load the four values for each example.
      const int32_t values[4] = {config.values[0], config.values[1], config.values[2], config.values[3]};
      const uint8_t* cells = bytes_.data();
      for (int64_t i = 0; i < size; ++i)
        votes[i] = Sum(votes[i], values[(cells[address[i] / 4] >> (2 * (address[i] % 4))) & 3]);
    }
  }

 private:
  static constexpr uint32_t kMarked = 0xFFFFFFFF;  // cannot be a pair of two small counts

  int64_t Bytes(int64_t bits) const {
    const int64_t cells = int64_t{1} << bits;
    return kind_ == kTernary ? 2 * cells : kind_ == kCount ? 4 * cells : (cells + 3) / 4;
  }

  std::pair<int32_t, int32_t>& Spilled(uint32_t address) {
    for (auto& [known, wide] : spilled_)
      if (known == address) return wide;
    return spilled_.emplace_back(address, std::pair<int32_t, int32_t>{0, 0}).second;
  }

  const Kind kind_;
  std::vector<uint8_t> bytes_;
  // The cells with thousands of examples. A neuron has only a few of them, so a list is enough.
  std::vector<std::pair<uint32_t, std::pair<int32_t, int32_t>>> spilled_;
  int32_t zeros_[kBlock], ones_[kBlock];
};

}  // namespace wnn
