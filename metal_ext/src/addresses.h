// Computes the addresses that a neuron forms from packed input bits, one block of examples at a time.

#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "layer.h"

// One build serves every processor: at load time the clone with the widest vectors is chosen (AArch64 always
// has NEON). Sanitizers cannot run code that is chosen so, so their builds define WNN_CLONES as nothing.
#if defined(WNN_CLONES)
#elif defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define WNN_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WNN_CLONES
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace wnn {

constexpr int64_t kBlock = 2048;  // examples whose addresses stay in L1
constexpr int64_t kAhead = 16;    // cells are prefetched 16 examples ahead; addresses past a block are 0

// Forms the same addresses as XLA: connection 0 is the most significant bit, an unused connection is 0.
WNN_CLONES inline void OrderedAddresses(const uint32_t* words, int64_t stride, const int32_t* connections,
                                 int64_t bits, int64_t begin, int64_t size, uint32_t* out) {
  std::memset(out, 0, size * sizeof(uint32_t));
  for (int64_t t = 0; t < bits; ++t) {
    const int32_t source = connections[t];
    if (source < 0) continue;
    const uint32_t* word = words + (source / 32) * stride + begin;
    const int shift = source % 32;
    const int place = static_cast<int>(bits - 1 - t);
    for (int64_t i = 0; i < size; ++i) out[i] |= ((word[i] >> shift) & 1u) << place;
  }
}

// Whether this processor extracts bits in one fast instruction.
inline bool FastExtract() {
#if defined(__x86_64__)
  // The first two generations of Zen do it in microcode, which takes tens of cycles.
  static const bool fast = __builtin_cpu_supports("bmi2") && !__builtin_cpu_is("znver1") && !__builtin_cpu_is("znver2");
  return fast;
#else
  return false;
#endif
}

// The distinct input bits of a neuron, as masks over pairs of words (64 bits).
struct Extraction {
  struct Part {
    int64_t word;
    uint64_t mask;
    int shift;
  };
  std::vector<Part> parts;
  int64_t bits = 0;

  Extraction(const int32_t* connections, int64_t count) {
    uint64_t masks[kMaxWords / 2] = {};
    for (int64_t t = 0; t < count; ++t)
      if (connections[t] >= 0) masks[connections[t] / 64] |= uint64_t{1} << (connections[t] % 64);
    for (int64_t p = 0; p < kMaxWords / 2; ++p) {
      if (!masks[p]) continue;
      parts.push_back({2 * p, masks[p], static_cast<int>(bits)});
      bits += __builtin_popcountll(masks[p]);
    }
  }

  // Whether extraction is faster than OrderedAddresses: a part costs about as much as five bits. (Look-up
  // tables with 256 entries for each byte were slower than both: 2.3 ns against 1.6 ns, with AVX2, for 20 of
  // 64 bits.)
  bool Pays(int64_t count) const { return FastExtract() && 5 * static_cast<int64_t>(parts.size()) <= count; }
};

#if defined(__x86_64__)
__attribute__((target("bmi2"))) inline void ExtractedAddresses(const uint32_t* words, int64_t stride,
                                                        int64_t rows, const Extraction& extraction,
                                                        int64_t begin, int64_t size, uint32_t* out) {
  bool first = true;
  for (const Extraction::Part& part : extraction.parts) {
    const uint32_t* low = words + part.word * stride + begin;
    const uint32_t* high = part.word + 1 < rows ? low + stride : nullptr;
    const uint64_t mask = part.mask;
    if (first && high) {
      for (int64_t i = 0; i < size; ++i)
        out[i] = static_cast<uint32_t>(_pext_u64(low[i] | uint64_t{high[i]} << 32, mask));
    } else {
      if (first) std::memset(out, 0, size * sizeof(uint32_t));
      for (int64_t i = 0; i < size; ++i) {
        const uint64_t pair = low[i] | (high ? uint64_t{high[i]} << 32 : 0);
        out[i] |= static_cast<uint32_t>(_pext_u64(pair, mask)) << part.shift;
      }
    }
    first = false;
  }
}
#else
inline void ExtractedAddresses(const uint32_t*, int64_t, int64_t, const Extraction&, int64_t, int64_t, uint32_t*) {}
#endif

}  // namespace wnn
