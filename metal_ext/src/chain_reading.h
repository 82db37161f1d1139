// Reads, draws or decodes tokens with any reader of the chain model: a walk from the root of the token tree to a leaf
// for each token.
//
// A reader has Begin() and End(token) for each token, Predict(node, depth) for P(bit = 1) on the way of a walk and
// Peek(node, depth) elsewhere, Learn(bit) for the node of the last Predict, Fetch(node) for cells that may be read soon, Next(node) for the node of the next Predict, and
// learns().

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "chain_types.h"
#include "checks.h"
#include "constants.h"

namespace wnn {
namespace chain {

// e^x for |x| <= 40, as a polynomial in doubles: exact to 1e-15, and the same on every machine.
inline double ExactExp(double x) {
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = x - k * 0.6931471805599453;
  double sum = 1.0;
  for (int i = 13; i >= 1; --i) sum = 1.0 + sum * r / i;
  return std::ldexp(sum, static_cast<int>(k));
}

// log x for x > 0, from the series of atanh.
inline double ExactLog(double x) {
  int k = 0;
  const double m = std::frexp(x, &k);  // in [0.5, 1)
  const double z = (m - 0.75) / (m + 0.75), square = z * z;
  double sum = 0.0;
  for (int i = 27; i >= 1; i -= 2) sum = sum * square + 1.0 / i;
  return 2.0 * z * sum + k * 0.6931471805599453 + -0.2876820724517809;
}

// The probability of a bit after its log-odds are divided by the temperature.
inline double WithTemperature(double one, double temperature) {
  if (temperature == 1.0) return one;
  const double odds = ExactLog(one / (1.0 - one)) / temperature;
  return 1.0 / (1.0 + ExactExp(-(odds > -30.0 ? (odds < 30.0 ? odds : 30.0) : -30.0)));
}

template <typename Reader>
void FetchChildren(Reader& reader, const Tree& tree, int32_t node) {
  for (int bit = 0; bit < 2; ++bit)
    if (tree.children[2 * node + bit] >= 0) reader.Fetch(tree.children[2 * node + bit]);
}

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

// Calls stop(token, probability) for tokens in falling order of probability, equal ones by id, until it returns true.
// The reader learns nothing. A subtree is opened only if no other token can be more probable, so the first token is
// the argmax.
template <typename Reader, typename Stop>
void Enumerate(Reader& reader, const Tree& tree, double temperature, Stop stop) {
  struct Open {
    double probability;
    int32_t node, depth;
    bool operator<(const Open& other) const {
      if (probability != other.probability) return probability < other.probability;
      // Subtrees come before leaves, so that all equal leaves are found before they are compared; then the lowest id
      // comes first.
      const bool leaf = node < 0, other_leaf = other.node < 0;
      if (leaf != other_leaf) return leaf;
      return leaf ? node < other.node : node > other.node;
    }
  };
  std::priority_queue<Open> open;
  open.push({1.0, 0, 0});
  while (!open.empty()) {
    const Open best = open.top();
    open.pop();
    if (best.node < 0) {
      if (stop(-1 - best.node, best.probability)) break;
      continue;
    }
    FetchChildren(reader, tree, best.node);
    const double one = WithTemperature(reader.Peek(best.node, best.depth), temperature);
    open.push({best.probability * (1.0 - one), tree.children[2 * best.node], best.depth + 1});
    open.push({best.probability * one, tree.children[2 * best.node + 1], best.depth + 1});
  }
}

using Callback = int32_t (*)(float);

// A request to read, draw or decode the first `count` tokens of a block.
struct Request {
  I32 tokens;
  F32Matrix chance;
  int64_t count, mode;
  bool argmax;
  float temperature, top_p;
  Callback callback;
};

// The result: one row for each token of the block.
struct Reading {
  ffi::Result<I32> tokens;
  ffi::Result<F32Matrix> ones;
  ffi::Result<I32> best;
};

// Draws a token from the nucleus: the smallest set of most probable tokens with a probability of at least `top_p` in
// all. `chance` in [0, 1) decides which.
template <typename Reader>
int32_t DrawNucleus(Reader& reader, const Tree& tree, double temperature, double top_p, double chance) {
  std::vector<std::pair<int32_t, double>> nucleus;
  double mass = 0;
  Enumerate(reader, tree, temperature, [&](int32_t token, double probability) {
    nucleus.push_back({token, probability});
    mass += probability;
    return mass >= top_p;
  });
  double left = chance * mass;
  int32_t drawn = -1;
  for (const auto& [token, probability] : nucleus) {
    drawn = token;
    left -= probability;
    if (left < 0) break;
  }
  return drawn;
}

template <typename Reader>
ffi::Error ReadTokens(Reader& reader, const Tree& tree, const Request& request, Reading& reading) {
  const int64_t depth = Dim(*reading.ones, 1);
  int32_t *read = reading.tokens->typed_data(), *best = reading.best->typed_data();
  std::memset(reading.ones->typed_data(), 0, reading.ones->size_bytes());
  std::fill(read, read + Dim(*reading.tokens, 0), -1);
  std::fill(best, best + Dim(*reading.best, 0), -1);
  for (int64_t t = 0; t < request.count; ++t) {
    float* one_of = reading.ones->typed_data() + t * depth;
    const float* chance = request.mode == kModeSampled ? request.chance.typed_data() + t * depth : nullptr;
    reader.Begin();
    if (request.argmax)
      Enumerate(reader, tree, 1.0, [&](int32_t token, double) {
        best[t] = token;
        return true;
      });
    int32_t given = request.mode == kModeGiven ? request.tokens.typed_data()[t] : -1;
    if (chance && request.top_p < 1)
      given = DrawNucleus(reader, tree, request.temperature, request.top_p, chance[0]);
    const int32_t* path = given >= 0 ? tree.start + given : nullptr;
    bool failed = false;
    read[t] = Walk(reader, tree, path != nullptr, [&](int32_t, int at, float one) {
      one_of[at] = one;
      if (path) {
        const int32_t j = path[0] + at;
        if (j + 1 < path[1]) reader.Next(tree.node[j + 1]);
        return static_cast<int>(tree.bit[j]);
      }
      if (chance) return static_cast<int>(chance[at] < WithTemperature(one, request.temperature));
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
