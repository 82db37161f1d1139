// Reads, draws or decodes tokens with any reader of the chain model: a walk from the root of the token tree to a leaf
// for each token.
//
// A reader has Begin() and End(token) for each token, Predict(node, depth) for P(bit = 1) on the way of a walk and
// Peek(node, depth) elsewhere, PeekAll(nodes, depths, count, ones) for at_once() nodes or fewer, Learn(bit) for the node
// of the last Predict, Fetch(node) for cells that may be read soon, Next(node) for the node of the next Predict, and
// learns().

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "chain_drawing.h"
#include "chain_types.h"
#include "checks.h"
#include "constants.h"

namespace wnn {
namespace chain {

// Walks from the root to a leaf. At each node choose(node, depth, P(1)) returns the bit to take, or a negative number
// to stop; a reader that learns then learns the bit. `known` says that the path is known, so that the caller fetches
// its cells. Returns the token, or a negative number.
template <typename Reader, typename Choose>
int32_t Walk(Reader& reader, const Tree& tree, bool known, Choose choose) {
  int32_t node = 0;
  for (int depth = 0; node >= 0; ++depth) {
    if (!known) FetchChildren(reader, tree, node);
    const int bit = choose(node, depth, reader.Predict(node, depth));
    if (bit < 0) break;
    if (reader.learns()) reader.Learn(bit);
    node = tree.children[2 * node + bit];
  }
  return -1 - node;
}

using Callback = int32_t (*)(float);

// A request to read, draw or decode the first `count` tokens of a block.
struct Request {
  I32 tokens;
  F32Matrix chance;
  I32 recent;
  int64_t count, mode;
  bool argmax;
  Drawing drawing;
  Callback callback;
};

// The result: one row for each token of the block.
struct Reading {
  ffi::Result<I32> tokens;
  ffi::Result<F32Matrix> ones;
  ffi::Result<I32> best;
};

template <typename Reader>
ffi::Error ReadTokens(Reader& reader, const Tree& tree, const Request& request, Reading& reading) {
  const int64_t depth = Dim(*reading.ones, 1), chances = Dim(request.chance, 1);
  int32_t *read = reading.tokens->typed_data(), *best = reading.best->typed_data();
  std::memset(reading.ones->typed_data(), 0, reading.ones->size_bytes());
  std::fill(read, read + Dim(*reading.tokens, 0), -1);
  std::fill(best, best + Dim(*reading.best, 0), -1);
  std::optional<Drawer<Reader>> drawer;
  if (request.mode == kModeSampled)
    drawer.emplace(reader, tree, request.drawing, request.recent.typed_data(), Dim(request.recent, 0), depth);
  for (int64_t t = 0; t < request.count; ++t) {
    float* one_of = reading.ones->typed_data() + t * depth;
    reader.Begin();
    if (request.argmax)
      Enumerate(
          tree,
          [&](int32_t node, int at) {
            FetchChildren(reader, tree, node);
            return static_cast<double>(reader.Peek(node, at));
          },
          [](int32_t, double mass) { return mass; },
          [&](int32_t token, double) {
            best[t] = token;
            return true;
          });
    if (drawer) {
      read[t] = drawer->Draw(request.chance.typed_data() + t * chances, chances);
      for (int32_t j = tree.start[read[t]]; j < tree.start[read[t] + 1]; ++j)
        one_of[j - tree.start[read[t]]] = drawer->One(tree.node[j], j - tree.start[read[t]]);
      drawer->Add(read[t]);
      reader.End(read[t]);
      continue;
    }
    const int32_t* path = request.mode == kModeGiven ? tree.start + request.tokens.typed_data()[t] : nullptr;
    bool failed = false;
    read[t] = Walk(reader, tree, path != nullptr, [&](int32_t, int at, float one) {
      one_of[at] = one;
      if (path) {
        const int32_t j = path[0] + at;
        if (j + 1 < path[1]) reader.Next(tree.node[j + 1]);
        return static_cast<int>(tree.bit[j]);
      }
      const int bit = request.callback(one);
      failed = bit < 0 || bit > 1;
      return failed ? -1 : bit;
    });
    if (failed) return Invalid("decoding stopped, because the callback returned no bit");
    reader.End(read[t]);
  }
  return ffi::Error::Success();
}

}  // namespace chain
}  // namespace wnn
