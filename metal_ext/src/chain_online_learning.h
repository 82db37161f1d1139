// How the chain model that learns while it reads learns a turn; chain_online_kernel.h says how it is compiled.

#pragma once

#include <cstdint>
#include <cstring>

#include "chain_online_predicting.h"

namespace wnn {
namespace chain {
namespace {

// Moves a map's probability towards the bit: by 2/3 at its first visit, then more and more slowly.
inline void MoveMap(float* map, float target) {
  const float visits = map[1];
  const float p = map[0] + (target - map[0]) / (visits + 1.5f);
  map[0] = p < kMapLeast ? kMapLeast : p > 1.0f - kMapLeast ? 1.0f - kMapLeast : p;
  if (visits < kMapLimit) map[1] = visits + 1.0f;
}

inline void LearnCells(Online& o, const Part& part, const Turn& t, int bit) {
  const uint32_t tick = o.now >> kTickLog;
  const float target = static_cast<float>(bit);
  for (int64_t c = part.neuron; c < part.last_neuron; ++c) {
    if (o.map[c]) MoveMap(o.map[c], target);
    if (o.run_map[c]) MoveMap(o.run_map[c], target);
    uint32_t* cell = o.cell[c];
    if (!cell) {
      cell = Claim(RowOf(o, c) + t.bucket[c] * kWideCell, t.tag[c]);
      cell[3] = tick & 0xFFFF;
    }
    const int own = bit ? 0 : 16, other = 16 - own;  // the shifts of the halves of a word
    if ((cell[1] >> own & 0xFFFF) < kCountMost) cell[1] += 1u << own;
    const uint32_t age = (tick - cell[3]) & 0xFFFF;
    uint32_t mine = Faded(cell[2] >> own & 0xFFFF, age);
    mine = (mine > kFadingMost ? kFadingMost : mine) + kFadingOne;
    cell[2] = mine << own | Faded(cell[2] >> other & 0xFFFF, age) << other;
    uint32_t fast[2] = {cell[0] >> 8 & 255, cell[0] & 255};
    if (fast[bit] < kFastMost) ++fast[bit];
    if (fast[1 - bit] > kFastLimit) fast[1 - bit] = fast[1 - bit] / 2 + 1;
    cell[0] = (cell[0] & 0xFFFF0000u) | fast[0] << 8 | fast[1];
    cell[3] = static_cast<uint32_t>(bit) << 16 | (tick & 0xFFFF);
  }
}

inline void LearnLists(Online& o, const Part& part, const Turn& t, int bit) {
  for (int64_t c = part.neuron; c < part.last_neuron; ++c) {
    for (uint32_t left = o.alive[c]; left; left &= left - 1) {
      const int i = __builtin_ctz(left);
      if (o.tree.bit[o.listed[c][i] + t.depth] != bit) o.alive[c] &= static_cast<uint8_t>(~(1u << i));
    }
  }
}

inline void LearnNode(Online& o, const Turn& t, int bit) {
  float* counts = o.memory.recent + t.node * static_cast<int64_t>(kRecencies * 2);
  const uint32_t passed = o.now - o.memory.recent_at[t.node];
  for (int k = 0; k < kRecencies; ++k) {
    const float d = RecentDecay(k, passed);
    counts[2 * k] *= d;
    counts[2 * k + 1] *= d;
    counts[2 * k + bit] += 1.0f;
  }
  o.memory.recent_at[t.node] = o.now;
  for (int m = 0; m < kMatches; ++m) {
    if (o.expected[m] < 0) continue;
    float* map = o.match_map[m];
    const float target = o.expected[m] == bit ? 1.0f : 0.0f, slow = 1.0f / (map[1] + 5.0f);
    const float p = map[0] + (target - map[0]) * (slow > kMatchSlowest ? slow : kMatchSlowest);
    map[0] = p < kMatchLeast ? kMatchLeast : p > kMatchProbable ? kMatchProbable : p;
    if (map[1] < 1000.0f) map[1] += 1.0f;
  }
}

inline void LearnFinals(Online& o, int bit) {
  const float target = static_cast<float>(bit);
  for (float* map : o.refine) {
    float& cell = map[o.fraction > 0.5f];
    cell += (target - cell) * kRefineRate;
  }
  for (int k = 0; k < kFinals; ++k) {
    uint32_t& visits = o.memory.final_visits[o.last_row[k]];
    const float rate = kFinalRateLeast + kFinalRateMore * kFinalRateHalf / (kFinalRateHalf + static_cast<float>(visits));
    Move(o.memory.finals + o.last_row[k] * o.shape.set_lanes, o.logit, (target - o.last_one[k]) * rate, o.shape.set_lanes);
    if (visits < kCountMost) ++visits;
  }
}

void Learn(Online& o, const Part& part, const Turn& t, int bit) {
  const OnlineShape& shape = o.shape;
  for (int64_t k = part.set; k < part.last_set; ++k) {
    float* w = o.memory.weights + o.row[k] * shape.inputs;
    if (w != o.used[k]) std::memcpy(w, o.begun[k], sizeof(float) * shape.inputs);
    o.memory.visited[o.row[k]] = 1;
    Adapt(w, o.memory.sums + o.row[k] * shape.inputs, t.x, static_cast<float>(bit) - o.one[k], shape.inputs);
  }
  if (part.first) {
    LearnFinals(o, bit);
    LearnNode(o, t, bit);
  }
  if (shape.log_lists >= 0) LearnLists(o, part, t, bit);
  LearnCells(o, part, t, bit);
}

}  // namespace
}  // namespace chain
}  // namespace wnn
