// RAM tables on the CPU. The results equal those of wnn_jax/ram/xla.py bit for bit.
//
// A thread takes one neuron and passes all examples over its row. The fused kernel keeps no table, so the row
// has a form of its own: net votes in 16 bits, count pairs in 2 x 16, other cells in 2 bits, and addresses
// with their bits in the order in which the processor extracts them. Write and Read use XLA's tables and
// XLA's addresses. All three return false if memory ran out.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>

#include "addresses.h"
#include "layer.h"
#include "parallel.h"
#include "row.h"

namespace wnn {
namespace cpu {

// Computes the amounts (-1, 0 or 1) that one neuron writes for a block of examples; `buffer` has kBlock
// entries.
inline void BlockAmounts(const Stream& stream, const Config& config, int64_t cluster, uint32_t seed,
                         int64_t begin, int64_t size, int8_t* buffer) {
  Amounts(stream.targets + cluster * stream.count + begin, stream.weight + begin, size, buffer);
  if (config.threshold) Sample(seed, config.threshold, stream.place + begin, size, buffer, buffer);
}

template <typename Pool>
bool FitAndRead(Pool& pool, const Neurons& neurons, const Stream& stream, const Config& config,
                const Inputs& inputs, const Votes& votes) {
  std::fill_n(votes.data, votes.rows * inputs.count, 0);
  std::mutex mutex;
  return Parallel(pool, neurons.count, [&] {
    return [&, cells = std::make_unique<Row>(config.kind, neurons.bits),
            ballot = std::make_unique<Ballot>(votes.data, inputs.count, &mutex)](int64_t begin, int64_t end) {
      alignas(64) uint32_t address[kBlock + kAhead] = {};
      alignas(64) int8_t amount[kBlock];
      for (int64_t j = begin; j < end; ++j) {
        if (neurons.absent(j)) continue;
        // The row has no room for unused connections, so it may be shorter than the rows of other neurons.
        int32_t used[kMaxBits];
        const int64_t bits = std::copy_if(neurons.of(j), neurons.of(j) + neurons.bits, used,
                                          [](int32_t source) { return source >= 0; }) - used;
        const Extraction extraction(used, bits);
        const bool extract = extraction.Pays(bits);
        auto form = [&](const uint32_t* words, int64_t stride, int64_t at, int64_t size) {
          if (extract)
            ExtractedAddresses(words, stride, stream.rows, extraction, at, size, address);
          else
            OrderedAddresses(words, stride, used, bits, at, size, address);
        };
        cells->Clear(extract ? extraction.bits : bits);
        const int32_t* span = stream.span + 2 * neurons.cluster[j];
        for (int64_t at = span[0]; at < span[1]; at += kBlock) {
          const int64_t size = std::min(kBlock, span[1] - at);
          form(stream.words, stream.count, at, size);
          BlockAmounts(stream, config, neurons.cluster[j], neurons.seed[j], at, size, amount);
          cells->Write(address, amount, size);
        }
        cells->Finish();
        int32_t* mine = ballot->For(neurons.row[j]);
        for (int64_t at = 0; at < inputs.count; at += kBlock) {
          const int64_t size = std::min(kBlock, inputs.count - at);
          form(inputs.words, inputs.count, at, size);
          cells->Read(address, size, config, inputs.prior[neurons.cluster[j]], mine + at);
        }
      }
    };
  });
}

template <typename Pool>
bool Write(Pool& pool, const Neurons& neurons, const Stream& stream, const Config& config, void* table) {
  const int64_t width = config.width(neurons.bits);
  return Parallel(pool, neurons.count, [&] {
    return [&](int64_t begin, int64_t end) {
      alignas(64) uint32_t address[kBlock];
      alignas(64) int8_t amount[kBlock];
      for (int64_t j = begin; j < end; ++j) {
        if (neurons.absent(j)) continue;
        int32_t* wide = static_cast<int32_t*>(table) + j * width;
        int8_t* byte = static_cast<int8_t*>(table) + j * width;
        const int32_t* span = stream.span + 2 * neurons.cluster[j];
        for (int64_t at = span[0]; at < span[1]; at += kBlock) {
          const int64_t size = std::min(kBlock, span[1] - at);
          OrderedAddresses(stream.words, stream.count, neurons.of(j), neurons.bits, at, size, address);
          BlockAmounts(stream, config, neurons.cluster[j], neurons.seed[j], at, size, amount);
          for (int64_t i = 0; i < size; ++i) {
            if (config.kind == kTernary)
              wide[address[i]] = Sum(wide[address[i]], amount[i]);
            else if (config.kind == kCount) {
              int32_t& cell = wide[2 * address[i] + (amount[i] > 0)];
              cell = Sum(cell, amount[i] != 0);
            } else
              byte[address[i]] = static_cast<int8_t>(Nudge(config.kind, byte[address[i]], amount[i]));
          }
        }
      }
    };
  });
}

template <typename Pool>
bool Read(Pool& pool, const Neurons& neurons, const Inputs& inputs, const Config& config, const void* table,
          const Votes& votes) {
  const int64_t width = config.width(neurons.bits);
  std::fill_n(votes.data, votes.rows * inputs.count, 0);
  std::mutex mutex;
  return Parallel(pool, neurons.count, [&] {
    return [&, ballot = std::make_unique<Ballot>(votes.data, inputs.count, &mutex)](int64_t begin,
                                                                                  int64_t end) {
      alignas(64) uint32_t address[kBlock];
      alignas(64) int32_t zeros[kBlock], ones[kBlock];
      for (int64_t j = begin; j < end; ++j) {
        if (neurons.absent(j)) continue;
        const int32_t* wide = static_cast<const int32_t*>(table) + j * width;
        const int8_t* byte = static_cast<const int8_t*>(table) + j * width;
        int32_t* mine = ballot->For(neurons.row[j]);
        for (int64_t at = 0; at < inputs.count; at += kBlock) {
          const int64_t size = std::min(kBlock, inputs.count - at);
          OrderedAddresses(inputs.words, inputs.count, neurons.of(j), neurons.bits, at, size, address);
          if (config.kind == kCount) {
            for (int64_t i = 0; i < size; ++i) {
              zeros[i] = wide[2 * address[i]];
              ones[i] = wide[2 * address[i] + 1];
            }
            AddCountVotes(zeros, ones, inputs.prior[neurons.cluster[j]], size, mine + at);
          } else {
            for (int64_t i = 0; i < size; ++i) {
              const int vote = config.kind == kTernary ? wide[address[i]] : 0;
              const int cell = config.kind == kTernary ? (vote > 0) - (vote < 0) + 1 : byte[address[i]] & 3;
              mine[at + i] = Sum(mine[at + i], config.values[cell]);
            }
          }
        }
      }
    };
  });
}

}  // namespace cpu
}  // namespace wnn
