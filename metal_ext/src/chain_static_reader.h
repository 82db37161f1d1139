// Reads tokens with a static chain model: nothing but the state of the text changes. wnn_jax/chain explains each step
// (static_inputs, static_mixer).

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "chain_fields.h"
#include "chain_reading.h"
#include "chain_static.h"

namespace wnn {
namespace chain {

// log(n + kSmooth), from a table where n is small.
class SmoothLogs {
 public:
  SmoothLogs() : table_(1 << 14) {
    for (uint32_t n = 0; n < table_.size(); ++n) table_[n] = Direct(n);
  }
  float operator()(uint32_t n) const { return n < table_.size() ? table_[n] : Direct(n); }

 private:
  static float Direct(uint32_t n) { return static_cast<float>(ExactLog(static_cast<double>(n) + kSmooth)); }
  std::vector<float> table_;
};

inline const SmoothLogs& SmoothLogTable() {
  static const SmoothLogs logs;
  return logs;
}

// What a model has learnt.
struct StaticMemory {
  const uint32_t* slots;  // [neurons, slots, 4]
  const float* weights;   // [rows, inputs]
  const float* finals;    // [final rows, sets]
  int log_slots;
};

class StaticReader {
 public:
  // The first kOrders neurons are the orders of Kneser-Ney.
  StaticReader(const Tree& tree, const Neurons& neurons, const TextFields& fields, const StaticMemory& memory)
      : tree_(tree), neurons_(neurons), fields_(fields), memory_(memory), rest_(neurons.count - kOrders),
        inputs_(2 * rest_ + kOrders + 1), context_(neurons.count), base_(neurons.count), total_(neurons.count),
        inverse_(neurons.count), freed_(neurons.count), x_(inputs_), below_(2 * tree.nodes) {
    for (int64_t c = 0; c < neurons.count; ++c) {
      const int32_t* seen = neurons.connections + c * neurons.width;
      const bool last = std::find(seen, seen + neurons.width, kFieldToken1) != seen + neurons.width;
      base_[c] = neurons.view[c] == 0 ? last : -1;
    }
    // A child comes after its parent.
    for (int64_t i = 2 * tree.nodes - 1; i >= 0; --i) {
      const int32_t child = tree.children[i];
      below_[i] = child < 0 ? 1 : below_[2 * child] + below_[2 * child + 1];
    }
  }

  bool learns() const { return false; }
  void Learn(int) {}

  // Prepares for the next token: hashes its contexts, and reads how often each of them was seen.
  void Begin() {
    uint32_t fields[kFieldRows];
    fields_.Read(fields);
    for (int64_t c = 0; c < neurons_.count; ++c) context_[c] = HashFields(neurons_, c, fields);
    for (int k = 0; k < 2; ++k)
      shape_[k] = static_cast<int>(std::min<uint32_t>(fields[kFieldShape1 + k], kShapes - 1));
    Fetch(0);
    for (int64_t c = 0; c < neurons_.count; ++c) {
      const uint32_t* cell = Cell(c, 0);
      total_[c] = cell ? cell[1] + cell[2] : 0;
      const float whole = static_cast<float>(total_[c]);
      inverse_[c] = total_[c] ? 1.0f / whole : 0.0f;
      freed_[c] = total_[c] ? 1.0f - (Mass(cell, 0) + Mass(cell, 1)) * inverse_[c] : 1.0f;
    }
    order_ = 0;
    for (int k = 0; k < kOrders; ++k)
      if (total_[k]) order_ = k + 1;
    digits_ = 0;
    for (int k = 1; k < 4; ++k) {
      digits_ *= 4;
      for (uint32_t edge : kTotalEdges) digits_ += total_[k] >= edge;
    }
  }

  void End(int32_t token) { fields_.Remember(token); }

  void Fetch(int32_t node) const {
    for (int64_t c = 0; c < neurons_.count; ++c)
      __builtin_prefetch(Row(c) + At(c, node).bucket * kStaticCell);
  }
  void Next(int32_t node) { Fetch(node); }

  float Peek(int32_t node, int depth) { return Predict(node, depth); }

  int at_once() const { return 4; }
  void PeekAll(const int32_t* nodes, const int32_t* depths, int count, float* ones) {
    for (int i = 0; i < count; ++i) Fetch(nodes[i]);
    for (int i = 0; i < count; ++i) ones[i] = Peek(nodes[i], depths[i]);
  }

  // Predicts P(bit = 1) at a node.
  float Predict(int32_t node, int depth) {
    int hits = 0, many = 0;
    ReadInputs(node, hits, many);
    const int zone = tree_.spelled[node], half = std::min(depth / 2, 7), deep = std::min(depth, 31);
    const int64_t chosen[kStaticSetRows] = {
        0,
        hits + (zone << kOrders),
        deep + 32 * zone,
        std::min<int64_t>(many * 32 / (rest_ + 1), 31) + 32 * zone + 64 * half,
        (order_ * 2 + zone) * 32 + deep,
        (digits_ * 2 + zone) * 8 + half,
        shape_[0] + kShapes * zone,
        shape_[1] + kShapes * zone,
    };
    float logit[kStaticSetRows];
    int64_t first = 0;
    for (int k = 0; k < kStaticSetRows; ++k) {
      logit[k] = Within(Dot(memory_.weights + (first + chosen[k]) * inputs_), -kRange, kRange);
      first += kStaticRows[k];
    }
    float sum = 0;
    first = 0;
    for (int set : kStaticFinals) {
      const float* w = memory_.finals + (first + chosen[set]) * kStaticSetRows;
      for (int k = 0; k < kStaticSetRows; ++k) sum += w[k] * logit[k];
      first += kStaticRows[set];
    }
    const float dot = Within(sum / kStaticFinalCount, -kRange, kRange);
    return Within(static_cast<float>(1.0 / (1.0 + ExactExp(-static_cast<double>(dot)))), kLeast, 1.0f - kLeast);
  }

 private:
  const uint32_t* Row(int64_t c) const { return memory_.slots + (c << memory_.log_slots) * kStaticCell; }
  Address At(int64_t c, int32_t node) const {
    return AddressOf(Mix(context_[c], tree_.names[neurons_.view[c] * tree_.nodes + node]), memory_.log_slots);
  }
  const uint32_t* Cell(int64_t c, int32_t node) const { return FindCounts(Row(c), At(c, node)); }

  // What the discounts leave of a count.
  static float Mass(const uint32_t* cell, int bit) {
    return static_cast<float>(cell[1 + bit]) * (static_cast<float>(cell[3] >> (bit ? 0 : 16) & 0xFFFF) / 65536.0f);
  }

  static float Odds(float one, float zero) {
    const float ratio = std::max(one, kLeastMass) / std::max(zero, kLeastMass);
    return Within(static_cast<float>(ExactLog(static_cast<double>(ratio))), -kOddsMost, kOddsMost);
  }

  float Dot(const float* w) const {
    float lane[8] = {};
    int64_t i = 0;
    for (; i + 8 <= inputs_; i += 8)
      for (int l = 0; l < 8; ++l) lane[l] += w[i + l] * x_[i + l];
    for (; i < inputs_; ++i) lane[i & 7] += w[i] * x_[i];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
  }

  void ReadInputs(int32_t node, int& hits, int& many) {
    const SmoothLogs& logs = SmoothLogTable();
    const float leaf = 1.0f / static_cast<float>(tree_.vocabulary);
    float mass[2] = {static_cast<float>(below_[2 * node]) * leaf, static_cast<float>(below_[2 * node + 1]) * leaf};
    float order[2][2];
    for (int c = 0; c < kOrders; ++c) {
      const uint32_t* cell = Cell(c, node);
      for (int b = 0; b < 2; ++b)
        mass[b] = (cell ? Mass(cell, b) * inverse_[c] : 0.0f) + freed_[c] * mass[b];
      if (cell && cell[1] + cell[2] > 0) hits |= 1 << c;
      if (c < 2)
        for (int b = 0; b < 2; ++b) order[c][b] = mass[b];
      x_[2 * rest_ + c] = Odds(mass[1], mass[0]);
    }
    for (int64_t i = 0; i < rest_; ++i) {
      const int64_t c = kOrders + i;
      const uint32_t* cell = Cell(c, node);
      const uint32_t zeros = cell ? cell[1] : 0, ones = cell ? cell[2] : 0;
      many += zeros + ones > 0;
      x_[rest_ + i] = logs(ones) - logs(zeros);
      if (base_[c] < 0) {
        x_[i] = Odds(static_cast<float>(ones) + 0.5f, static_cast<float>(zeros) + 0.5f);
        continue;
      }
      float own[2];
      for (int b = 0; b < 2; ++b)
        own[b] = (cell ? Mass(cell, b) * inverse_[c] : 0.0f) + freed_[c] * order[base_[c]][b];
      x_[i] = Odds(own[1], own[0]);
    }
    x_[inputs_ - 1] = kStaticConstant;
  }

  Tree tree_;
  Neurons neurons_;
  TextFields fields_;
  StaticMemory memory_;
  int64_t rest_, inputs_;
  std::vector<uint32_t> context_;
  std::vector<int> base_;
  std::vector<uint32_t> total_;
  std::vector<float> inverse_, freed_, x_;
  std::vector<int32_t> below_;
  int shape_[2] = {}, order_ = 0, digits_ = 0;
};

}  // namespace chain
}  // namespace wnn
