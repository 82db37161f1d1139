// RAM tables on an Apple GPU. The results equal those of wnn_jax/ram/xla.py bit for bit.
//
// Ternary and count cells are sums of integers, so any number of threads may add to them in any order. write_shared
// sums one neuron's row in the memory of its threadgroup; write_sums adds directly to the table, whose cells
// are 32-bit integers, as atomics need. Quad cells depend on the order of the examples, and there are no
// atomics for bytes, so in write_bytes one thread writes one neuron.
//
// Only relaxed 32-bit atomics are used, because some devices lack others. Some devices also lack grids whose
// size is not a multiple of the threadgroup's, so every kernel checks its bounds.
//
// The tests compile this file for the CPU (tests/metal/README.md).

#include <metal_stdlib>
#include "params.h"
using namespace metal;

#ifdef __METAL_VERSION__
#define SHARED(slot) [[threadgroup(slot)]]
#else
#define SHARED(slot)
#endif

constant int TERNARY = 0;
constant int COUNT = 2;
constant int TRUE_WINS = 3;
constant float UNIT = 1048576.0f;

static bool absent(device const int* connections, uint bits) {
  for (uint t = 0; t < bits; ++t)
    if (connections[t] >= 0) return false;
  return true;
}

// Connection 0 gives the most significant bit; an unused connection gives 0.
static uint address_of(device const int* connections, uint bits, device const uint* words, uint examples,
                       uint example) {
  uint address = 0;
  for (uint t = 0; t < bits; ++t) {
    const int source = connections[t];
    uint bit = 0;
    if (source >= 0) bit = (words[ulong(source >> 5) * examples + example] >> (uint(source) & 31u)) & 1u;
    address = (address << 1) | bit;
  }
  return address;
}

// The amount to add: +1 or -1, or 0 for padding and for examples that the neuron does not sample
// (`sampled` in wnn_jax/ram/cells.py).
static int amount_of(constant Params& params, uint seed, device const uchar* targets,
                     device const uchar* weight, device const uint* place, uint example) {
  if (weight[example] == 0) return 0;
  if (params.threshold != 0) {
    uint mixed = seed + place[example] * 0x9E3779B9u;
    mixed = (mixed ^ (mixed >> 16)) * 0x7FEB352Du;
    mixed = (mixed ^ (mixed >> 15)) * 0x846CA68Bu;
    mixed = mixed ^ (mixed >> 16);
    if (mixed >= params.threshold) return 0;
  }
  return targets[example] != 0 ? 1 : -1;
}

static ulong row_width(constant Params& params) {
  return ulong(params.kind == COUNT ? 2 : 1) << params.bits;
}

kernel void clear(constant Params& params [[buffer(0)]],
                  device uint* words [[buffer(1)]],
                  uint2 at [[thread_position_in_grid]]) {
  if (at.x < params.words) words[at.x] = params.fill;
}

// One threadgroup for each neuron; `sums` holds its whole row.
kernel void write_shared(constant Params& params [[buffer(0)]],
                         device const int* connections [[buffer(1)]],
                         device const uint* seed [[buffer(2)]],
                         device const int* cluster [[buffer(3)]],
                         device const uint* words [[buffer(4)]],
                         device const uchar* targets [[buffer(5)]],
                         device const uchar* weight [[buffer(6)]],
                         device const uint* place [[buffer(7)]],
                         device int* table [[buffer(8)]],
                         threadgroup atomic_int* sums SHARED(0),
                         uint2 group [[threadgroup_position_in_grid]],
                         uint2 lane [[thread_position_in_threadgroup]],
                         uint2 lanes [[threads_per_threadgroup]]) {
  const uint neuron = params.first + group.y;
  device const int* mine = connections + ulong(neuron) * params.bits;
  const uint width = uint(row_width(params));
  for (uint cell = lane.x; cell < width; cell += lanes.x)
    atomic_store_explicit(&sums[cell], 0, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (!absent(mine, params.bits)) {
    device const uchar* wanted = targets + ulong(cluster[neuron]) * params.examples;
    for (uint i = params.begin + lane.x; i < params.end; i += lanes.x) {
      const int amount = amount_of(params, seed[neuron], wanted, weight, place, i);
      if (amount == 0) continue;
      const uint address = address_of(mine, params.bits, words, params.examples, i);
      if (params.kind == COUNT)
        atomic_fetch_add_explicit(&sums[2 * address + uint(amount > 0)], 1, memory_order_relaxed);
      else
        atomic_fetch_add_explicit(&sums[address], amount, memory_order_relaxed);
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  device int* row = table + ulong(group.y) * width;
  for (uint cell = lane.x; cell < width; cell += lanes.x)
    row[cell] += atomic_load_explicit(&sums[cell], memory_order_relaxed);
}

// One thread for each pair of an example and a neuron.
kernel void write_sums(constant Params& params [[buffer(0)]],
                       device const int* connections [[buffer(1)]],
                       device const uint* seed [[buffer(2)]],
                       device const int* cluster [[buffer(3)]],
                       device const uint* words [[buffer(4)]],
                       device const uchar* targets [[buffer(5)]],
                       device const uchar* weight [[buffer(6)]],
                       device const uint* place [[buffer(7)]],
                       device atomic_int* table [[buffer(8)]],
                       uint2 at [[thread_position_in_grid]]) {
  const uint neuron = params.first + at.y;
  const uint example = params.begin + at.x;
  if (at.y >= params.neurons || example >= params.end) return;
  device const int* mine = connections + ulong(neuron) * params.bits;
  device const uchar* wanted = targets + ulong(cluster[neuron]) * params.examples;
  const int amount = amount_of(params, seed[neuron], wanted, weight, place, example);
  if (amount == 0 || absent(mine, params.bits)) return;
  device atomic_int* row = table + ulong(at.y) * row_width(params);
  const uint address = address_of(mine, params.bits, words, params.examples, example);
  if (params.kind == COUNT)
    atomic_fetch_add_explicit(&row[2 * address + uint(amount > 0)], 1, memory_order_relaxed);
  else
    atomic_fetch_add_explicit(&row[address], amount, memory_order_relaxed);
}

// One thread for each neuron, which takes the examples in their order.
kernel void write_bytes(constant Params& params [[buffer(0)]],
                       device const int* connections [[buffer(1)]],
                       device const uint* seed [[buffer(2)]],
                       device const int* cluster [[buffer(3)]],
                       device const uint* words [[buffer(4)]],
                       device const uchar* targets [[buffer(5)]],
                       device const uchar* weight [[buffer(6)]],
                       device const uint* place [[buffer(7)]],
                       device char* table [[buffer(8)]],
                       uint2 at [[thread_position_in_grid]]) {
  if (at.x >= params.neurons) return;
  const uint neuron = params.first + at.x;
  device const int* mine = connections + ulong(neuron) * params.bits;
  if (absent(mine, params.bits)) return;
  device const uchar* wanted = targets + ulong(cluster[neuron]) * params.examples;
  device char* row = table + (ulong(at.x) << params.bits);
  for (uint i = params.begin; i < params.end; ++i) {
    const int amount = amount_of(params, seed[neuron], wanted, weight, place, i);
    const uint address = address_of(mine, params.bits, words, params.examples, i);
    const int state = int(row[address]);
    // A quad cell moves by 1 and saturates; a TRUE-wins cell only rises, to FALSE (1) or TRUE (2).
    if (params.kind == TRUE_WINS)
      row[address] = char(amount > 0 ? 2 : amount < 0 && state == 0 ? 1 : state);
    else
      row[address] = char(clamp(state + amount, 0, 3));
  }
}

// One thread for each pair of an example and a neuron. Votes are integers, so they may be added in any order.
// `values` has the value that a cell reads, by sign (ternary) or state (one byte). The kernel is compiled
// without fast math, because the division must round as XLA's does.
kernel void read_cells(constant Params& params [[buffer(0)]],
                       device const int* connections [[buffer(1)]],
                       device const int* cluster [[buffer(2)]],
                       device const int* output [[buffer(3)]],
                       device const float* prior [[buffer(4)]],
                       device const int* values [[buffer(5)]],
                       device const uint* words [[buffer(6)]],
                       device const char* table [[buffer(7)]],
                       device atomic_int* votes [[buffer(8)]],
                       uint2 at [[thread_position_in_grid]]) {
  const uint neuron = params.first + at.y;
  const uint example = params.begin + at.x;
  if (at.y >= params.neurons || example >= params.end) return;
  device const int* mine = connections + ulong(neuron) * params.bits;
  if (absent(mine, params.bits)) return;
  const uint address = address_of(mine, params.bits, words, params.examples, example);
  const ulong row = ulong(at.y) * row_width(params);
  int vote = 0;
  if (params.kind == COUNT) {
    device const int* pair = (device const int*)table + row + 2 * address;
    const float zeros = float(pair[0]), ones = float(pair[1]);
    const float value = rint((ones + prior[cluster[neuron]]) / (zeros + ones + 1.0f) * UNIT);
    // As in row.h: a number beyond the range of integers must not be converted, whatever the table holds.
    vote = int(value > 0.0f ? (value < UNIT ? value : UNIT) : 0.0f);
  } else if (params.kind == TERNARY) {
    const int net = ((device const int*)table)[row + address];
    vote = values[net > 0 ? 2 : net < 0 ? 0 : 1];
  } else {
    vote = values[table[row + address] & 3];
  }
  atomic_fetch_add_explicit(&votes[ulong(output[neuron]) * params.examples + example], vote,
                            memory_order_relaxed);
}
