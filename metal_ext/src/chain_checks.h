// Checks that the FFI handlers of the chain model share, and the operands that all of them have.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "chain_reading.h"
#include "chain_types.h"
#include "checks.h"
#include "constants.h"

namespace wnn {
namespace chain {

using U32Cube = ffi::Buffer<ffi::DataType::U32, 3>;
using StaticSlots = ffi::Buffer<ffi::DataType::U32, 4>;

inline ffi::Error CheckTree(const Tree& tree, int64_t bits) {
  WNN_REQUIRE(tree.nodes >= 1 && tree.vocabulary == tree.nodes + 1,
              "a token tree of V ids must have V - 1 inner nodes");
  WNN_REQUIRE(tree.start[0] == 0, "the first path must begin at entry 0");
  // A child comes after its parent, so the tree has no cycle. Every path must follow the children.
  for (int64_t i = 0; i < 2 * tree.nodes; ++i)
    WNN_REQUIRE(tree.children[i] >= -tree.vocabulary && tree.children[i] < tree.nodes &&
                    (tree.children[i] < 0 || tree.children[i] > i / 2),
                "a child in the token tree must be a later node, or -1 - id of a leaf");
  for (int64_t v = 0; v < tree.vocabulary; ++v) {
    int32_t at = 0;
    WNN_REQUIRE(tree.start[v] < tree.start[v + 1] && tree.start[v + 1] <= bits,
                "every id needs a path of at least 1 bit");
    for (int32_t j = tree.start[v]; j < tree.start[v + 1]; ++j) {
      WNN_REQUIRE(at >= 0 && tree.node[j] == at && (tree.bit[j] | 1) == 1,
                  "every path must follow the token tree");
      at = tree.children[2 * at + tree.bit[j]];
    }
    WNN_REQUIRE(at == -1 - v, "the path of an id must end at its leaf");
  }
  for (int64_t i = 0; i < tree.nodes; ++i)
    WNN_REQUIRE(tree.kind[i] >= 0 && tree.kind[i] < kKinds && (tree.spelled[i] | 1) == 1,
                "the kind of a node is out of range");
  return ffi::Error::Success();
}

template <typename Buffer>
ffi::Error CheckTokens(const Buffer& tokens, int64_t count, int64_t vocabulary) {
  for (int64_t t = 0; t < count; ++t)
    WNN_REQUIRE(tokens.typed_data()[t] >= 0 && tokens.typed_data()[t] < vocabulary,
                "a token is outside the vocabulary");
  return ffi::Error::Success();
}

#define WNN_TREE_PARAMETERS                                                                        \
  I32Matrix children, I32 start, I32 node, I32 bit, U32Matrix names, I32 kind, I32 spelled
#define WNN_TREE_ARGUMENTS                                                                         \
  .Arg<I32Matrix>().Arg<I32>().Arg<I32>().Arg<I32>().Arg<U32Matrix>().Arg<I32>().Arg<I32>()
#define WNN_MAKE_TREE                                                                              \
  const Tree tree{children.typed_data(), start.typed_data(),   node.typed_data(),                  \
                  bit.typed_data(),      names.typed_data(),   kind.typed_data(),                  \
                  spelled.typed_data(),  Dim(children, 0),     Dim(start, 0) - 1};                 \
  WNN_REQUIRE(Dim(children, 1) == 2 && Dim(names, 0) == 3 && Dim(names, 1) == tree.nodes &&        \
                  Dim(kind, 0) == tree.nodes && Dim(spelled, 0) == tree.nodes,                     \
              "the arrays of the tree differ in the number of nodes");                             \
  WNN_REQUIRE(Dim(bit, 0) == Dim(node, 0), "node and bit must have the same length");               \
  WNN_CHECK(CheckTree(tree, Dim(node, 0)))

#define WNN_DRAWING_PARAMETERS float temperature, float top_p, float min_p, float weight, int64_t top_k
#define WNN_DRAWING_ATTRIBUTES                                                                     \
  .Attr<float>("temperature").Attr<float>("top_p").Attr<float>("min_p").Attr<float>("weight")      \
      .Attr<int64_t>("top_k")
#define WNN_DRAWING Drawing{temperature, top_p, min_p, weight, top_k}

// A result that begins as a copy of an operand; XLA may have given both the same memory.
template <typename In, typename Out>
auto* Carried(const In& in, Out& out) {
  if (out->untyped_data() != in.untyped_data()) std::memcpy(out->untyped_data(), in.untyped_data(), in.size_bytes());
  return out->typed_data();
}

template <typename In, typename Out>
ffi::Error SameShape(const In& in, Out& out) {
  const auto one = in.dimensions(), other = out->dimensions();
  WNN_REQUIRE(std::equal(one.begin(), one.end(), other.begin(), other.end()),
              "a result that begins as a copy of an operand must have its shape");
  return ffi::Error::Success();
}

inline ffi::Error CheckNeurons(int64_t vocabulary, const U32Matrix& lexicon, const I32Matrix& connections,
                               const I32& view) {
  WNN_REQUIRE(Dim(lexicon, 0) == vocabulary && Dim(lexicon, 1) == kLexiconRows,
              "the lexicon and the tree must have the same vocabulary");
  WNN_REQUIRE(Dim(connections, 0) == Dim(view, 0), "connections and views differ in the number of neurons");
  for (int64_t i = 0; i < Dim(view, 0) * Dim(connections, 1); ++i)
    WNN_REQUIRE(connections.typed_data()[i] >= -1 && connections.typed_data()[i] < kFieldRows,
                "a connection must be -1 or the number of a field");
  return ffi::Error::Success();
}

// Any content of these arrays is safe, except tokens that do not exist.
inline ffi::Error CheckTextState(const U32& registers, const U32Cube& followed, const U32Matrix& line,
                          int64_t vocabulary) {
  WNN_REQUIRE(Dim(registers, 0) == kRegisterRows,
              "there must be " + std::to_string(kRegisterRows) + " registers");
  for (int k = 0; k < kRecent; ++k)
    WNN_REQUIRE(registers.typed_data()[k] <= vocabulary, "a token in the registers is outside the vocabulary");
  WNN_REQUIRE(Dim(followed, 0) == kFollowedKeys && Dim(followed, 1) == 1 << kFollowedLog &&
                  Dim(followed, 2) == 2 && Dim(line, 0) == 2 && Dim(line, 1) == kLineBytes,
              "followed and line have the wrong shapes");
  return ffi::Error::Success();
}

inline ffi::Error CheckRequest(const Request& request, Reading& reading, const Tree& tree) {
  const int64_t block = Dim(*reading.tokens, 0), depth = Dim(*reading.ones, 1);
  WNN_REQUIRE(Dim(*reading.best, 0) == block && Dim(*reading.ones, 0) == block,
              "the results must have one row for each token of the block");
  WNN_REQUIRE(request.count >= 0 && request.count <= block, "count must be 0 to " + std::to_string(block));
  for (int64_t v = 0; v < tree.vocabulary; ++v)
    WNN_REQUIRE(tree.start[v + 1] - tree.start[v] <= depth, "the results need room for the longest path");
  const Drawing& drawing = request.drawing;
  WNN_REQUIRE(request.mode >= kModeGiven && request.mode < kModeRows && drawing.temperature > 0 &&
                  drawing.top_p > 0 && drawing.min_p >= 0 && drawing.min_p <= 1 && drawing.weight > 0 &&
                  drawing.weight <= 1 && drawing.top_k >= 0,
              "mode, temperature, top_p, min_p, weight or top_k is out of range");
  if (request.mode == kModeGiven) {
    WNN_REQUIRE(Dim(request.tokens, 0) == block, "tokens must have the length of the block");
    WNN_CHECK(CheckTokens(request.tokens, request.count, tree.vocabulary));
  }
  if (request.mode == kModeSampled) {
    WNN_REQUIRE(Dim(request.chance, 0) == block && Dim(request.chance, 1) >= depth,
                "chance must have a number for each bit of a path");
    for (int64_t i = 0; i < Dim(request.recent, 0); ++i)
      WNN_REQUIRE(request.recent.typed_data()[i] >= -1 && request.recent.typed_data()[i] < tree.vocabulary,
                  "a recent token must be -1 or an id");
  }
  if (request.mode == kModeDecoded) WNN_REQUIRE(request.callback != nullptr, "decoding needs a callback");
  return ffi::Error::Success();
}

inline ffi::Error CheckStaticSlots(const StaticSlots& slots, const I32& view, int64_t log_slots) {
  WNN_REQUIRE(log_slots >= 2 && log_slots <= 28,
              "log_slots must be 2 to 28, got " + std::to_string(log_slots));
  WNN_REQUIRE(Dim(slots, 0) == Dim(view, 0) && Dim(slots, 1) == int64_t{1} << (log_slots - 2) &&
                  Dim(slots, 2) == kBucket && Dim(slots, 3) == kStaticCell,
              "slots must be [neurons, 2^log_slots / 4, 4, 4]");
  for (int64_t c = 0; c < Dim(view, 0); ++c)
    WNN_REQUIRE(view.typed_data()[c] >= 0 && view.typed_data()[c] < 3, "a view must be 0, 1 or 2");
  return ffi::Error::Success();
}

// The followers of the contexts of some rows of a table, the first of which is `first`.
inline ffi::Error CheckFollowers(const Tree& tree, const I32& view, const I32& first, const U32Matrix& hashes,
                                 const I32Matrix& tokens, const I32Matrix& counts, const U32Matrix& discounts) {
  const int64_t rows = Dim(hashes, 0), length = Dim(hashes, 1);
  WNN_REQUIRE(Dim(first, 0) == 1 && first.typed_data()[0] >= 0 && first.typed_data()[0] + rows <= Dim(view, 0),
              "the rows must be rows of the table");
  WNN_REQUIRE(Dim(tokens, 0) == rows && Dim(tokens, 1) == length && Dim(counts, 0) == rows &&
                  Dim(counts, 1) == length && Dim(discounts, 0) == rows && Dim(discounts, 1) == 3,
              "hashes, tokens, counts and discounts differ in their rows or lengths");
  WNN_CHECK(CheckTokens(tokens, rows * length, tree.vocabulary));
  for (int64_t i = 0; i < rows * length; ++i)
    WNN_REQUIRE(counts.typed_data()[i] >= 0, "a count must be at least 0");
  return ffi::Error::Success();
}

}  // namespace chain
}  // namespace wnn
