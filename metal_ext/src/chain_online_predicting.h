// How the chain model that learns while it reads predicts a turn; chain_online_kernel.h says how it is compiled.

#pragma once

#include <cstdint>
#include <cstring>

#include "chain_online.h"
#include "chain_vectors.h"

namespace wnn {
namespace chain {
namespace {

inline int Least(int a, int b) { return a < b ? a : b; }

template <int kCount>
constexpr int StepOf(const int (&edges)[kCount], uint32_t n) {
  int step = 0;
  for (int edge : edges) step += n >= static_cast<uint32_t>(edge);
  return step;
}

// The steps of fast counts, from a table that the compiler makes: no code may run before a processor is chosen.
struct StepTable {
  uint8_t of[256] = {};
  constexpr StepTable() {
    for (int n = 0; n < 256; ++n) of[n] = static_cast<uint8_t>(StepOf(kFastEdges, n));
  }
};
constexpr StepTable kFastStep;

// x * 2^(-ticks / 256), rounded down.
inline uint32_t Faded(uint32_t x, uint32_t ticks) {
  const uint32_t shift = 16 + (ticks >> 8);
  return shift < 32 ? x * static_cast<uint32_t>(kDecay[ticks & 255]) >> shift : 0;
}

// 2^(-steps / 256).
inline float Decay(uint32_t steps) {
  const uint32_t halvings = steps >> 8;
  if (halvings > 60) return 0.0f;
  const uint32_t bits = (127u - 16 - halvings) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof(scale));
  return static_cast<float>(kDecay[steps & 255]) * scale;
}

// What is left of the k-th recent counts after a number of tokens.
inline float RecentDecay(int k, uint32_t passed) {
  const int shift = kRecentShifts[k];
  return Decay(shift > 0 ? (passed < 1u << 24 ? passed << shift : 1u << 25) : passed >> -shift);
}

inline uint32_t* RowOf(const Online& o, int64_t c) {
  return o.memory.slots + (c << o.shape.log_slots) * kWideCell;
}

inline void Names(const Online& o, int32_t node, uint32_t (&names)[3]) {
  for (int v = 0; v < 3; ++v) names[v] = o.tree.names[v * o.tree.nodes + node];
}

void Fetch(const Online& o, int32_t node) {
  uint32_t names[3];
  Names(o, node, names);
  for (int64_t c = 0; c < o.shape.neurons; ++c) {
    const Address a = AddressOf(Mix(o.context[c], names[o.view[c]]), o.shape.log_slots);
    __builtin_prefetch(RowOf(o, c) + a.bucket * kWideCell);
  }
}

void Locate(const Online& o, const Part& part, Turn& t) {
  uint32_t names[3], name[kMostNeurons];
  Names(o, t.node, names);
  for (int64_t c = part.neuron; c < part.last_neuron; ++c) name[c] = names[o.view[c]];
  const int log_slots = o.shape.log_slots;
  for (int64_t c = part.neuron; c < part.last_neuron; ++c) {
    const Address a = AddressOf(Mix(o.context[c], name[c]), log_slots);
    t.bucket[c] = static_cast<uint32_t>(a.bucket);
    t.tag[c] = a.tag;
  }
  for (int64_t c = part.neuron; c < part.last_neuron; ++c)
    __builtin_prefetch(RowOf(o, c) + t.bucket[c] * kWideCell);
}

inline uint32_t* Find(uint32_t* bucket, uint32_t tag) {
  for (int i = 0; i < kBucket; ++i)
    if (bucket[i * kWideCell] >> 16 == tag) return bucket + i * kWideCell;
  return nullptr;
}

// The cell of a tag; it takes the place of an empty cell, or else of the first one with the fewest observations.
inline uint32_t* Claim(uint32_t* bucket, uint32_t tag) {
  uint32_t* taken = nullptr;
  uint32_t fewest = 0;
  for (int i = 0; i < kBucket; ++i) {
    uint32_t* cell = bucket + i * kWideCell;
    const uint32_t seen = cell[0] >> 16 ? 1 + (cell[1] >> 16) + (cell[1] & 0xFFFF) : 0;
    if (!taken || seen < fewest) {
      taken = cell;
      fewest = seen;
    }
  }
  std::memset(taken, 0, sizeof(uint32_t) * kWideCell);
  taken[0] = tag << 16;
  return taken;
}

// The terms of inputs that are logarithms: input i is log(above[i] / below[i]). A part has those of its own neurons.
struct Terms {
  float above[kMostNeurons], below[kMostNeurons];
  void Set(int64_t i, float a, float b) {
    above[i] = a;
    below[i] = b;
  }
  // Writes the inputs of the first `count` terms.
  void Put(int64_t count, float* x) {
    for (int64_t i = count; i % kLane; ++i) Set(i, 1.0f, 1.0f);
    for (int64_t i = 0; i < count; i += kLane) {
      const Floats logs = Log(Load(above + i) / Load(below + i));
      std::memcpy(x + i, &logs, sizeof(float) * static_cast<size_t>(count - i < kLane ? count - i : kLane));
    }
  }
};

// The cells: counts, fading counts, and the place in each neuron's map.
inline void ReadCells(Online& o, Part& part, Turn& t) {
  const int64_t n = o.shape.neurons, from = part.neuron, count = part.last_neuron - from;
  const uint32_t tick = o.now >> kTickLog;
  const int zone = t.zone * (kZones / 2) + Least(t.depth / 2, kZones / 2 - 1);
  Terms counts, fading, mapped;
  part.seen = part.hits = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t c = from + i;
    uint32_t* cell = Find(RowOf(o, c) + t.bucket[c] * kWideCell, t.tag[c]);
    o.cell[c] = cell;
    o.map[c] = nullptr;
    o.run_map[c] = nullptr;
    if (!cell) {
      counts.Set(i, 1.0f, 1.0f);
      fading.Set(i, 1.0f, 1.0f);
      continue;
    }
    const uint32_t n0 = cell[1] >> 16, n1 = cell[1] & 0xFFFF, f0 = cell[0] >> 8 & 255, f1 = cell[0] & 255;
    const uint32_t age = (tick - cell[3]) & 0xFFFF;
    counts.Set(i, static_cast<float>(n1) + static_cast<float>(kSmooth), static_cast<float>(n0) + static_cast<float>(kSmooth));
    fading.Set(i, static_cast<float>(Faded(cell[2] & 0xFFFF, age)) + kFadingSmooth,
               static_cast<float>(Faded(cell[2] >> 16, age)) + kFadingSmooth);
    int state = kFastStep.of[f0] * kFastSteps + kFastStep.of[f1];
    state = state * 2 + static_cast<int>(cell[3] >> 16 & 1);
    state = state * kAges + StepOf(kAgeEdges, age);
    state = state * 2 + (n0 + n1 > f0 + f1 + 2);
    o.map[c] = o.memory.maps + (c * kMapStates + state * kZones + zone) * 2;
    __builtin_prefetch(o.map[c]);
    if (o.shape.runs && (!n0 || !n1)) {
      const int run = Least(static_cast<int>(n0 + n1), kRunMost) * 2 + (n1 > 0);
      o.run_map[c] = o.memory.run_maps + (c * kRunStates + run * kZones + zone) * 2;
      __builtin_prefetch(o.run_map[c]);
    }
    ++part.seen;
    if (c < kHitNeurons) part.hits |= 1 << c;
  }
  counts.Put(count, t.x + from);
  fading.Put(count, t.x + n + from);
  const auto maps = [&](float* const* map, int64_t source) {
    for (int64_t i = 0; i < count; ++i) {
      const float p = map[from + i] ? map[from + i][0] : 0.5f;
      mapped.Set(i, p, 1.0f - p);
    }
    mapped.Put(count, t.x + source * n + from);
  };
  maps(o.map, 2);
  if (o.shape.runs) maps(o.run_map, o.shape.log_lists < 0 ? 3 : 4);
}

// The lists: how often the listed tokens that are still possible came, by what they would do at this node.
inline void ReadLists(const Online& o, const Part& part, Turn& t) {
  const int64_t from = part.neuron, count = part.last_neuron - from;
  float* inputs = t.x + 3 * o.shape.neurons + from;
  if (o.on_lists && o.on_lists[t.node] != o.now + 1) {
    const float none = Log(All(kListSmooth / kListSmooth))[0];
    for (int64_t k = 0; k < count; ++k) inputs[k] = none;
    return;
  }
  Terms terms;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t c = from + k;
    uint32_t counts[2] = {0, 0};
    for (uint32_t left = o.alive[c]; left; left &= left - 1) {
      const int i = __builtin_ctz(left);
      const int32_t j = o.listed[c][i] + t.depth;
      if (!t.narrowed && (j >= o.listed_end[c][i] || o.tree.node[j] != t.node)) continue;
      counts[o.tree.bit[j]] += o.list[c][1 + i] & kListMost;
    }
    terms.Set(k, static_cast<float>(counts[1]) + kListSmooth, static_cast<float>(counts[0]) + kListSmooth);
  }
  terms.Put(count, inputs);
}

// The matches: how often a match of this length was right. Finds the longest that reaches this node.
inline void ReadMatches(Online& o, const Turn& t, Terms& terms, float* centred) {
  o.longest = -1;
  for (int m = 0; m < kMatches; ++m) {
    o.expected[m] = -1;
    terms.Set(m, 1.0f, 1.0f);
    centred[m] = 0.0f;
    if (o.guess[m] < 0) continue;
    const int32_t j = o.tree.start[o.guess[m]] + t.depth;
    if (j >= o.tree.start[o.guess[m] + 1] || o.tree.node[j] != t.node) continue;
    const int bit = o.expected[m] = o.tree.bit[j];
    const int state = (o.match_step[m] * 2 + t.zone) * 16 + Least(t.depth, 15);
    o.match_map[m] = o.memory.match_maps + (m * kMatchStates + state) * 2;
    const float p = o.match_map[m][0], centre = 4.0f * (p - 0.5f);
    terms.Set(m, bit ? p : 1.0f - p, bit ? 1.0f - p : p);
    centred[m] = bit ? centre : -centre;
    if (o.longest < 0 || o.match_step[m] > o.match_step[o.longest]) o.longest = m;
  }
}

inline void ReadRecent(const Online& o, const Turn& t, Terms& terms) {
  const float* counts = o.memory.recent + t.node * static_cast<int64_t>(kRecencies * 2);
  const uint32_t passed = o.now - o.memory.recent_at[t.node];
  for (int k = 0; k < kRecencies; ++k) {
    const float d = RecentDecay(k, passed);
    terms.Set(kMatches + k, counts[2 * k + 1] * d + kRecentSmooth, counts[2 * k] * d + kRecentSmooth);
  }
}

// Finds the maps that refine what is predicted at the node, and fetches them.
inline void LocateRefined(Online& o, const Turn& t) {
  const uint32_t name = o.tree.names[t.node], spelled = o.tree.names[2 * o.tree.nodes + t.node];
  const uint32_t guessed = o.longest < 0 ? 0u : 1u + static_cast<uint32_t>(o.guess[o.longest]);
  const uint32_t places[kRefinements] = {name, Mix(o.token1, name), Mix(Mix(o.token1, o.token2), name),
                                         Mix(guessed, name), Mix(o.word, spelled)};
  for (int k = 0; k < kRefinements; ++k) {
    const int64_t place = (static_cast<int64_t>(k) << kRefinedLog) + (places[k] >> (32 - kRefinedLog));
    o.refine[k] = o.memory.refined + place * kRefineSteps;
    for (int step = 0; step < kRefineSteps; step += 16) __builtin_prefetch(o.refine[k] + step);
  }
}

void Read(Online& o, Part& part, Turn& t) {
  ReadCells(o, part, t);
  if (o.shape.log_lists >= 0) ReadLists(o, part, t);
  if (!part.first) return;
  const int64_t sources = 3 + (o.shape.log_lists >= 0) + o.shape.runs;
  float *at = t.x + sources * o.shape.neurons, *centred = at + kMatches + kRecencies;
  Terms terms;
  ReadMatches(o, t, terms, centred);
  LocateRefined(o, t);
  ReadRecent(o, t, terms);
  terms.Put(kMatches + kRecencies, at);
  centred[kMatches] = kBias;
  for (float* rest = centred + kMatches + 1; rest < t.x + o.shape.inputs; ++rest) *rest = 0.0f;
}

// Computes the row of each kind of set.
inline void RowsOf(const Online& o, const Turn& t, int64_t (&rows)[kWeightSetRows]) {
  int hits = 0, seen = 0;
  for (int p = 0; p < o.part_count; ++p) {
    hits |= o.parts[p].hits;
    seen += o.parts[p].seen;
  }
  const int match = (o.longest < 0 ? 0 : (1 + o.expected[o.longest]) * 16 + o.match_step[o.longest]) + 48 * t.zone;
  const int zone = t.zone, kind = o.tree.kind[t.node];
  const int class4 = o.class1 ? static_cast<int>(o.class1 - 1) >> 2 : 0;
  const int seen_step = Least(seen * kSeenSteps / static_cast<int>(o.shape.neurons + 1), kSeenSteps - 1);
  const int64_t found[kWeightSetRows] = {
      0,
      hits + kHits / 2 * zone,
      kind,
      o.class1 + kClasses * zone,
      o.class2 + kClasses * zone,
      match,
      Least(t.depth, 31) + 32 * zone,
      seen_step + kSeenSteps * (zone + 2 * Least(t.depth / 2, 7)),
      o.class9,
      o.shape1 + kShapes * zone,
      (o.token1 * 0x9E3779B1u) >> (32 - kTokenRowsLog),
      o.byte + 256 * zone,
      o.byte_before,
      o.shape1 + kShapes * (zone + 2 * Least(t.depth, 31)),
      kind < kTopKinds ? kind * 16 + class4 : kTopKinds * 16 + class4 + 16 * zone,
  };
  std::memcpy(rows, found, sizeof(found));
}

inline float Dot(const float* a, const float* b, int64_t size) {
  Floats one = All(0.0f), other = All(0.0f);
  int64_t i = 0;
  for (; i + kInputBlock <= size; i += kInputBlock) {
    one += Load(a + i) * Load(b + i);
    other += Load(a + i + kLane) * Load(b + i + kLane);
  }
  for (; i < size; i += kLane) one += Load(a + i) * Load(b + i);
  return Sum(one + other);
}

// A step of Adagrad: `sums` has the sums of the squared gradients.
inline void Adapt(float* weights, float* sums, const float* x, float error, int64_t size) {
  const Floats by = All(error), rate = All(kRate);
  for (int64_t i = 0; i < size; i += kLane) {
    const Floats gradient = by * Load(x + i), sum = Load(sums + i) + gradient * gradient;
    Store(sums + i, sum);
    Store(weights + i, Load(weights + i) + rate * gradient / Sqrt(sum + 1.0f));
  }
}

inline void Move(float* weights, const float* x, float step, int64_t size) {
  const Floats by = All(step);
  for (int64_t i = 0; i < size; i += kLane) Store(weights + i, Load(weights + i) + by * Load(x + i));
}

void Weigh(Online& o, const Part& part, const Turn& t) {
  const OnlineShape& shape = o.shape;
  int64_t rows[kWeightSetRows];
  RowsOf(o, t, rows);
  for (int64_t k = part.set; k < part.last_set; ++k) {
    // A row that was never visited is the row of its parent. The first set has one row, and no parent.
    int64_t row = o.row[k] = o.first_row[k] + rows[o.set[k]];
    for (int64_t up = k; up && !o.memory.visited[row];) {
      up = o.parent[up];
      row = o.first_row[up] + rows[o.set[up]];
    }
    o.used[k] = o.memory.weights + row * shape.inputs;
    o.logit[k] = Dot(o.used[k], t.x, shape.inputs);
    // Its parent may belong to another part, which moves it while this one learns.
    if (o.learns && row != o.row[k]) std::memcpy(o.begun[k], o.used[k], sizeof(float) * shape.inputs);
  }
  if (!part.first) return;
  for (int k = 0; k < kFinals; ++k) o.last_row[k] = o.final_row[k] + rows[kFinalSets[k]];
}

inline float Mixed(Online& o) {
  const OnlineShape& shape = o.shape;
  for (int64_t k = shape.sets; k < shape.set_lanes; ++k) o.logit[k] = 0.0f;
  for (int64_t k = 0; k < shape.set_lanes; k += kLane) {
    const Floats logit = Between(Load(o.logit + k), -kRange, kRange);
    Store(o.logit + k, logit);
    Store(o.one + k, Sigmoid(logit));
  }
  static_assert(kFinals == kLane, "one lane for each final mixer");
  Floats last;
  for (int k = 0; k < kFinals; ++k)
    last[k] = Dot(o.memory.finals + o.last_row[k] * shape.set_lanes, o.logit, shape.set_lanes);
  last = Between(last, -kRange, kRange);
  const Floats ones = Sigmoid(last);
  for (int k = 0; k < kFinals; ++k) o.last_one[k] = ones[k];
  return Sum(last) * (1.0f / kFinals);
}

inline float Refined(Online& o, float mixed) {
  const float z = Between(All(mixed * (1.0f / kRefineWidth)), -kRefineEdge, kRefineEdge)[0] + kRefineSteps / 2;
  const int step = static_cast<int>(z);
  o.fraction = z - static_cast<float>(step);
  float sum = 0.0f;
  for (float*& map : o.refine) {
    map += step;
    sum += map[0] * (1.0f - o.fraction) + map[1] * o.fraction;
  }
  return kMixedShare * Sigmoid(All(mixed))[0] + (1.0f - kMixedShare) / kRefinements * sum;
}

float Finish(Online& o) {
  const float one = Refined(o, Mixed(o));
  return Between(All(one), kLeast, 1.0f - kLeast)[0];
}

}  // namespace
}  // namespace chain
}  // namespace wnn
