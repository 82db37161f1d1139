// The chain model. A token is a path of bits in the token tree. Each bit is predicted from the cells that the
// context neurons address, and the predictions are mixed in the logistic domain. wnn_jax/chain explains each
// step.
//
// The same text must give the same bits on every machine, because a text that one machine compressed may be
// decompressed on another. So floats are added in a fixed order, without contraction, and exp and log are
// computed here.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "chain_fields.h"
#include "chain_reading.h"
#include "chain_types.h"
#include "constants.h"

namespace wnn {
namespace chain {

// x, or the nearer end of a range; `low` for NaN. A float must pass here before it becomes an integer: the
// weights of a memory may be any numbers, and to convert NaN or a number beyond the integers is undefined.
template <typename T>
T Within(T x, T low, T high) {
  return x > low ? (x < high ? x : high) : low;
}

// log(n + kSmooth), from a table.
class Logs {
 public:
  Logs() : table_(kEntries) {
    for (size_t n = 0; n < table_.size(); ++n) table_[n] = Direct(n);
  }
  float operator()(uint32_t n) const {
    if (n < kEntries) return table_[n];
    int halved = 0;
    for (uint32_t m = n; m >= kEntries; m >>= 1) ++halved;
    // Linear between two entries: the curvature there is below the last digit of a float.
    const uint32_t m = n >> halved, rest = n & ((1u << halved) - 1);
    const double part = static_cast<double>(rest) / (1u << halved);
    const double low = table_[m], high = m + 1 < kEntries ? table_[m + 1] : last_;
    return static_cast<float>(low + part * (high - low) + halved * 0.6931471805599453);
  }

 private:
  static constexpr uint32_t kEntries = 1 << 16;
  static float Direct(uint32_t n) { return static_cast<float>(ExactLog(static_cast<double>(n) + kSmooth)); }
  std::vector<float> table_;
  float last_ = Direct(kEntries);
};

inline const Logs& LogTable() {
  static const Logs logs;
  return logs;
}

// Turns a count into one of kCountSteps steps, by the edges kCountEdges.
class Steps {
 public:
  Steps() {
    for (int n = 0; n <= kLast; ++n) {
      table_[n] = 0;
      for (int edge : kCountEdges) table_[n] += n >= edge;
    }
  }
  int operator()(uint32_t n) const { return table_[std::min(n, static_cast<uint32_t>(kLast))]; }

 private:
  static constexpr int kLast = kCountEdges[kCountSteps - 2];
  uint8_t table_[kLast + 1];
};

inline const Steps& StepTable() {
  static const Steps steps;
  return steps;
}

// The tags of a bucket are sorted, the highest first. So the place of a tag is the number of higher tags,
// which needs no branch.
inline int Place(const uint32_t* slot, uint32_t tag) {
  int place = 0;
  for (int i = 0; i < kBucket; ++i) place += slot[i * kCell] >> 16 > tag;
  return place;
}

// Finds the cell of a tag in its bucket; null if there is none.
inline uint32_t* Find(uint32_t* row, Address a) {
  uint32_t* slot = row + a.bucket * kCell;
  const int i = Place(slot, a.tag);
  return i < kBucket && slot[i * kCell] >> 16 == a.tag ? slot + i * kCell : nullptr;
}

// Finds the cell of a tag in its bucket, and makes it if there is none. If the bucket is full, the lowest tag
// is dropped, which may be the new one (null). So in any order of arrival the four highest tags stay, with
// all their counts.
inline uint32_t* Claim(uint32_t* row, Address a) {
  uint32_t* slot = row + a.bucket * kCell;
  const int i = Place(slot, a.tag);
  if (i == kBucket) return nullptr;
  uint32_t* mine = slot + i * kCell;
  if (mine[0] >> 16 == a.tag) return mine;
  std::memmove(mine + kCell, mine, sizeof(uint32_t) * kCell * (kBucket - 1 - i));
  mine[0] = a.tag << 16;
  mine[1] = mine[2] = 0;
  return mine;
}

// Calls meet(address, bit) for every bit of a text in one neuron's row. Cells are prefetched one token ahead.
template <typename Meet>
void ForEachBit(const Tree& tree, const uint32_t* context, const int32_t* tokens, int64_t length, int view,
                int log_slots, const uint32_t* row, Meet meet) {
  const uint32_t* names = tree.names + view * tree.nodes;
  for (int64_t t = 0; t < length; ++t) {
    if (t + 1 < length)
      for (int32_t j = tree.start[tokens[t + 1]]; j < tree.start[tokens[t + 1] + 1]; ++j) {
        const uint32_t* slot =
            row + AddressOf(Mix(context[t + 1], names[tree.node[j]]), log_slots).bucket * kCell;
        __builtin_prefetch(slot);
        __builtin_prefetch(slot + kBucket * kCell - 1);  // half of the buckets extend over two cache lines
      }
    for (int32_t j = tree.start[tokens[t]]; j < tree.start[tokens[t] + 1]; ++j)
      meet(AddressOf(Mix(context[t], names[tree.node[j]]), log_slots), tree.bit[j]);
  }
}

// Adds `sign` to the count of every bit of a text, in one neuron's row.
inline void Count(const Tree& tree, const uint32_t* context, const int32_t* tokens, int64_t length, int view,
                  int log_slots, uint32_t sign, uint32_t* row) {
  ForEachBit(tree, context, tokens, length, view, log_slots, row, [=](Address a, int32_t bit) {
    if (uint32_t* cell = Claim(row, a)) cell[1 + bit] += sign;
  });
}

// Reads the counts (n0, n1) of every bit of a text from one neuron's row.
inline void Read(const Tree& tree, const uint32_t* context, const int32_t* tokens, int64_t length, int view,
                 int log_slots, uint32_t* row, int32_t* zeros, int32_t* ones) {
  int64_t at = 0;
  ForEachBit(tree, context, tokens, length, view, log_slots, row, [&](Address a, int32_t) {
    const uint32_t* cell = Find(row, a);
    zeros[at] = cell ? static_cast<int32_t>(cell[1]) : 0;
    ones[at++] = cell ? static_cast<int32_t>(cell[2]) : 0;
  });
}

// The parts of a model that may change while it reads. If it does not learn, only text, match_table and
// the state of the text change.
struct Memory {
  uint32_t* slots;  // [neurons, slots, 3]: tag and fast counts; zeros; ones
  float *gain, *gain_sum, *offset, *offset_sum, *match_share, *match_gain, *refined;
  int32_t *text, *match_table;
  TextState state;
  int64_t capacity;  // number of tokens of the text that are kept
};

struct Settings {
  int log_slots;
  bool online;  // whether there are fast counters, a match and refinement beside the plain counts
  bool learn;   // whether the tokens that are read are written, and the mixer adapts
  float rate;
};

class Reader {
 public:
  Reader(const Tree& tree, const uint32_t* lexicon, const Neurons& neurons, const Memory& memory,
         const Settings& settings)
      : tree_(tree), fields_(lexicon, memory.state), neurons_(neurons), memory_(memory), settings_(settings),
        inputs_((neurons.count * (settings.online ? 2 : 1) + kLanes - 1) / kLanes * kLanes),
        claiming_(settings.learn),
        context_(neurons.count), cell_(neurons.count), x_(inputs_), state_(inputs_) {}

  // Prepares for the next token: hashes its contexts, and finds the token that the longest match predicts.
  void Begin() {
    uint32_t fields[kFieldRows];
    fields_.Read(fields);
    for (int64_t c = 0; c < neurons_.count; ++c) context_[c] = HashFields(neurons_, c, fields);
    // Rows of the gains. A code of the lexicon has kCodeBits bits, but its entries may be any numbers.
    constexpr uint32_t kLastClass = kClasses - 1;
    class1_ = static_cast<int>(std::min(fields[kFieldClass61], kLastClass));
    class2_ = static_cast<int>(std::min(fields[kFieldClass62], kLastClass));
    last_ = fields[kFieldToken1];
    guess_ = -1;
    depth_ = 0;
    if (settings_.online) BeginMatch();
  }

  // Predicts P(bit = 1) at a node, depth_ turns below the root.
  float Predict(int32_t node) {
    const Logs& logs = LogTable();
    const Steps& steps = StepTable();
    const int64_t n = neurons_.count;
    zone_ = tree_.spelled[node];
    int hits = 0;
    for (int64_t c = 0; c < n; ++c) {
      const Address a =
          AddressOf(Mix(context_[c], tree_.names[neurons_.view[c] * tree_.nodes + node]), settings_.log_slots);
      uint32_t* row = memory_.slots + (c << settings_.log_slots) * kCell;
      uint32_t* cell = claiming_ ? Claim(row, a) : Find(row, a);
      cell_[c] = cell;
      const uint32_t zeros = cell ? cell[1] : 0, ones = cell ? cell[2] : 0;
      x_[c] = logs(ones) - logs(zeros);
      state_[c] = steps(zeros) * kCountSteps + steps(ones);
      if (c < kHitNeurons && zeros + ones > 0) hits |= 1 << c;
      if (settings_.online) {
        const uint32_t fast = cell ? cell[0] : 0, fast0 = fast >> 8 & 255, fast1 = fast & 255;
        x_[n + c] = logs(fast1) - logs(fast0);
        state_[n + c] = steps(fast0) * kCountSteps + steps(fast1);
      }
    }
    const int64_t rows[4] = {hits + kHits / 2 * zone_, kHits + tree_.kind[node], kHits + kKinds + class1_,
                             kHits + kKinds + kClasses + class2_};
    for (int k = 0; k < 4; ++k) row_[k] = rows[k] * inputs_;
    const int64_t states = (kGainStates + kStates * zone_) * inputs_;
    const float* offset = memory_.offset + kStates * zone_ * inputs_;
    const float *g0 = memory_.gain + row_[0], *g1 = memory_.gain + row_[1], *g2 = memory_.gain + row_[2],
                *g3 = memory_.gain + row_[3], *gs = memory_.gain + states;
    float lane[kLanes] = {};
    for (int64_t i = 0; i < inputs_; i += kLanes)
      for (int l = 0; l < kLanes; ++l) {
        const int64_t at = state_[i + l] * inputs_ + i + l;
        lane[l] += offset[at] + (g0[i + l] + g1[i + l] + g2[i + l] + g3[i + l] + gs[at]) * x_[i + l];
      }
    float dot = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));

    matched_ = -1;
    if (guess_ >= 0) {
      const int32_t j = tree_.start[guess_] + depth_;
      if (j < tree_.start[guess_ + 1] && tree_.node[j] == node) matched_ = tree_.bit[j];
    }
    if (matched_ >= 0) {
      match_row_ = zone_ * kMatchLengths +
                   std::min<uint32_t>(memory_.state.registers[kRegisterMatchLength], kMatchLengths - 1);
      const double share = Within(memory_.match_share[match_row_], kMatchLeast, kMatchMost);
      match_x_ = static_cast<float>(ExactLog(share / (1.0 - share)));
      if (!matched_) match_x_ = -match_x_;
      dot += memory_.match_gain[match_row_] * match_x_;
    }
    dot = Within(dot, -kRange, kRange);
    mixed_ = Sigmoid(dot);
    if (!settings_.online) return Clamp(mixed_);

    const float z = Within(dot * (1.0f / kRefineWidth), -kRefineEdge, kRefineEdge) + kRefineSteps / 2;
    const int step = static_cast<int>(z);
    fraction_ = z - static_cast<float>(step);
    const uint32_t name = tree_.names[node];
    const uint32_t places[2] = {name >> (32 - kRefineLog), Mix(last_, name) >> (32 - kRefineLog)};
    float refined[2];
    for (int k = 0; k < 2; ++k) {
      refine_[k] = memory_.refined + ((static_cast<int64_t>(k) << kRefineLog) + places[k]) * kRefineSteps + step;
      refined[k] = refine_[k][0] * (1.0f - fraction_) + refine_[k][1] * fraction_;
    }
    return Clamp(0.5f * mixed_ + 0.25f * refined[0] + 0.25f * refined[1]);
  }

  // Learns the bit of the text at the node of the last Predict, whose cells must have been claimed.
  void Learn(int bit) {
    const float target = static_cast<float>(bit), error = target - mixed_;
    for (float* map : refine_) {
      if (!map) continue;
      float& cell = map[fraction_ > 0.5f];
      cell += (target - cell) * kRefineRate;
    }
    if (matched_ >= 0) {
      float& share = memory_.match_share[match_row_];
      share += ((matched_ == bit ? 1.0f : 0.0f) - share) * kMatchRate;
      share = Within(share, kMatchLeast, kMatchMost);
      memory_.match_gain[match_row_] += kMatchGainRate * error * match_x_;
    }
    for (int k = 0; k < 4; ++k) {
      float *gain = memory_.gain + row_[k], *sum = memory_.gain_sum + row_[k];
      for (int64_t i = 0; i < inputs_; ++i) Adapt(gain[i], sum[i], error * x_[i]);
    }
    const int64_t states = (kGainStates + kStates * zone_) * inputs_;
    const int64_t real = neurons_.count * (settings_.online ? 2 : 1);  // inputs beyond these are padding
    for (int64_t i = 0; i < real; ++i) {
      const int64_t at = state_[i] * inputs_ + i, own = kStates * zone_ * inputs_ + at;
      Adapt(memory_.gain[states + at], memory_.gain_sum[states + at], error * x_[i]);
      Adapt(memory_.offset[own], memory_.offset_sum[own], error);
    }
    for (uint32_t* cell : cell_) {
      if (!cell) continue;
      cell[1 + bit] += 1;
      uint32_t fast[2] = {cell[0] >> 8 & 255, cell[0] & 255};
      fast[bit] = std::min(fast[bit] + 1, static_cast<uint32_t>(kFastMost));
      if (fast[1 - bit] > static_cast<uint32_t>(kFastLimit)) fast[1 - bit] = fast[1 - bit] / 2 + 1;
      cell[0] = (cell[0] & 0xFFFF0000u) | fast[0] << 8 | fast[1];
    }
  }

  // Remembers a token after it was read: updates the registers, the text and the match.
  void End(int32_t token) {
    uint32_t* r = memory_.state.registers;
    fields_.Remember(token);
    if (settings_.online) {
      // The token is always written: if the room is full, it replaces the oldest token.
      const uint32_t count = r[kRegisterCount], room = static_cast<uint32_t>(memory_.capacity);
      memory_.text[count % room] = token;
      r[kRegisterCount] = count + 1;
      if (r[kRegisterMatchLength]) {
        const bool right = memory_.text[r[kRegisterMatchAt] % room] == token;
        r[kRegisterMatchLength] = right ? r[kRegisterMatchLength] + 1 : 0;
        r[kRegisterMatchAt] += 1;
      }
    }
  }

  // Prefetches the cells of a node. It must be inlined, because GCC removes calls without another effect.
  __attribute__((always_inline)) void Prefetch(int32_t node) const {
    for (int64_t c = 0; c < neurons_.count; ++c) {
      const uint32_t h = Mix(context_[c], tree_.names[neurons_.view[c] * tree_.nodes + node]);
      const uint32_t* slot =
          memory_.slots + ((c << settings_.log_slots) + AddressOf(h, settings_.log_slots).bucket) * kCell;
      __builtin_prefetch(slot);
      __builtin_prefetch(slot + kBucket * kCell - 1);
    }
  }

  bool learns() const { return settings_.learn; }
  void Fetch(int32_t node) const { Prefetch(node); }
  void Next(int32_t node) const { Prefetch(node); }
  float Predict(int32_t node, int depth) {
    depth_ = depth;
    return Predict(node);
  }
  // Predicts without a claim on the cells.
  float Peek(int32_t node, int depth) {
    claiming_ = false;
    const float one = Predict(node, depth);
    claiming_ = settings_.learn;
    return one;
  }

 private:
  static float Sigmoid(float x) { return static_cast<float>(1.0 / (1.0 + ExactExp(-static_cast<double>(x)))); }
  static float Clamp(float p) { return Within(p, kLeast, 1.0f - kLeast); }

  void Adapt(float& weight, float& sum, float gradient) const {
    sum += gradient * gradient;
    weight += settings_.rate * gradient / std::sqrt(sum + 1.0f);
  }

  // Finds an earlier place of the text after the same tokens as now: a table has the last place of each hash
  // of kMatchOrder tokens. The match counts if at least kMatchRun tokens agree.
  void BeginMatch() {
    uint32_t* r = memory_.state.registers;
    const uint32_t count = r[kRegisterCount], room = static_cast<uint32_t>(memory_.capacity);
    if (count > static_cast<uint32_t>(kMatchOrder)) {
      uint32_t h = 7;
      for (int k = 0; k < kMatchOrder; ++k) h = Mix(h, r[k]);
      int32_t& last = memory_.match_table[h >> (32 - kMatchLog)];
      if (!r[kRegisterMatchLength] && last > 0 && count - static_cast<uint32_t>(last) < room) {
        uint32_t length = 0;
        while (length < static_cast<uint32_t>(kMatchLengths - 1) && length < static_cast<uint32_t>(last) &&
               count - static_cast<uint32_t>(last) + length + 1 < room &&
               memory_.text[(last - 1 - length) % room] == memory_.text[(count - 1 - length) % room])
          ++length;
        r[kRegisterMatchAt] = static_cast<uint32_t>(last);
        r[kRegisterMatchLength] = length >= static_cast<uint32_t>(kMatchRun) ? length : 0;
      }
      last = static_cast<int32_t>(count);
    }
    if (r[kRegisterMatchLength]) guess_ = memory_.text[r[kRegisterMatchAt] % room];
  }

  Tree tree_;
  TextFields fields_;
  Neurons neurons_;
  Memory memory_;
  Settings settings_;
  int64_t inputs_;
  bool claiming_;
  std::vector<uint32_t> context_;
  std::vector<uint32_t*> cell_;
  std::vector<float> x_;
  std::vector<int32_t> state_;
  int class1_ = 0, class2_ = 0, zone_ = 0, depth_ = 0, matched_ = -1, match_row_ = 0;
  int32_t guess_ = -1;
  uint32_t last_ = 0;
  int64_t row_[4] = {};
  float mixed_ = 0, fraction_ = 0, match_x_ = 0;
  float* refine_[2] = {};
};

}  // namespace chain
}  // namespace wnn
