// What all parts of the chain model know: the token tree, the context neurons, and how a hash becomes an address.
//
// Functions are static, because some of these parts are compiled for several processors: a linker that merged
// their copies could take the one that this processor cannot run.

#pragma once

#include <cstdint>

namespace wnn {
namespace chain {

static inline uint32_t Mix(uint32_t h, uint32_t x) {
  h ^= x * 0x9E3779B1u;
  h ^= h >> 15;
  h *= 0x85EBCA6Bu;
  h ^= h >> 13;
  h *= 0xC2B2AE35u;
  return h ^ (h >> 16);
}

struct Tree {
  const int32_t *children, *start, *node, *bit;
  const uint32_t* names;
  const int32_t *kind, *spelled;
  int64_t nodes, vocabulary;
};

struct Neurons {
  const int32_t *connections, *view;
  int64_t count, width;
};

// The hash of the fields that a neuron observes.
static inline uint32_t HashFields(const Neurons& neurons, int64_t neuron, const uint32_t* fields) {
  uint32_t h = static_cast<uint32_t>(neuron) + 1;
  for (int64_t i = 0; i < neurons.width; ++i) {
    const int32_t f = neurons.connections[neuron * neurons.width + i];
    if (f >= 0) h = Mix(h, fields[f]);
  }
  return h;
}

struct Address {
  int64_t bucket;  // its first slot
  uint32_t tag;
};

static inline Address AddressOf(uint32_t h, int log_slots) {
  const int64_t bucket = log_slots > 2 ? (h * 0x9E3779B1u) >> (34 - log_slots) : 0;
  const uint32_t tag = (h * 0x2545F491u) >> 16;
  return {bucket * 4, tag ? tag : 1u};
}

}  // namespace chain
}  // namespace wnn
