// The chain model that learns while it reads: what its kernels share with their caller. wnn_jax/chain explains each
// step.

#pragma once

#include <cstdint>

#include "chain_types.h"
#include "constants.h"

namespace wnn {
namespace chain {

constexpr int kMostInputs = 5 * kMostNeurons + 32;
constexpr int kInputBlock = 16;  // inputs are padded to whole blocks of this
constexpr int kSetBlock = 8;     // sets are padded to whole blocks of this
constexpr int kMostThreads = 16;

// The parts of a model that change while it learns.
struct OnlineMemory {
  uint32_t* slots;      // [n, S, 4]
  uint32_t* lists;      // [n, lists, 8], or nothing
  float* maps;          // [n, kMapStates, 2]: a probability and its visits
  float* run_maps;      // [n, kRunStates, 2], or nothing
  float* match_maps;    // [3, kMatchStates, 2]
  float* recent;        // [M, 3, 2]
  uint32_t* recent_at;  // [M]
  float* weights;       // [rows, inputs]
  float* sums;          // [rows, inputs]
  uint8_t* visited;     // [rows]: 0 or 1
  float* finals;        // [final rows, sets]
  uint32_t* final_visits;  // [final rows]
  float* refined;       // [5, 2^kRefinedLog, kRefineSteps]
};

struct OnlineShape {
  int64_t neurons, sets, inputs, set_lanes;  // the last two with their padding
  int log_slots, log_lists;                  // log_lists: -1 without lists
  bool runs;
};

// What one thread does of each turn: a range of the neurons and a range of the weight sets. No number depends on how
// many threads there are, because no sum crosses a border. The first part also does what is done once.
struct Part {
  int64_t neuron, last_neuron, set, last_set;
  bool first;
  // What it found at the last turn: how many of its contexts were seen, and which of the hit neurons.
  int seen, hits;
};

// A turn that is predicted: its node, where the cells of the neurons are, and what these and all else say.
struct Turn {
  int32_t node, depth, zone;
  bool narrowed;  // whether `alive` has only tokens whose paths reach the node
  uint32_t bucket[kMostNeurons], tag[kMostNeurons];
  float x[kMostInputs];
};

// What a model knows while it predicts the turns of one token.
struct Online {
  Tree tree;
  const int32_t* view;
  OnlineMemory memory;
  OnlineShape shape;
  const int32_t* set;               // [sets]
  int64_t first_row[kWeightSetRows];  // the first row of the weights of each chosen set
  int parent[kWeightSetRows];         // an earlier set, whose row stands for a row that was never visited
  int64_t final_row[kFinals];
  bool learns;
  Part parts[kMostThreads];
  int part_count;

  // The token.
  uint32_t now;                     // the number of tokens that were read
  uint32_t context[kMostNeurons];
  int32_t guess[kMatches], match_step[kMatches];
  uint32_t class1, class2, class9, shape1, token1, token2, word, byte, byte_before;
  uint32_t* list[kMostNeurons];
  uint8_t alive[kMostNeurons];
  int32_t listed[kMostNeurons][kListed], listed_end[kMostNeurons][kListed];  // the paths of the listed tokens
  const uint32_t* on_lists;         // [M]: `now` + 1 at the nodes of listed tokens, or null if they are not marked

  // The turn and the next one, by turns.
  Turn turns[2];
  uint32_t* cell[kMostNeurons];
  float* map[kMostNeurons];         // null where the context is unknown
  float* run_map[kMostNeurons];     // null where both bits came, or none
  float* match_map[kMatches];
  int32_t expected[kMatches];       // -1 where a match does not reach the node
  int longest;                      // the longest match that does, or -1
  int64_t row[kWeightSetRows];
  const float* used[kWeightSetRows];  // the weights that predicted
  float begun[kWeightSetRows][kMostInputs];  // those of a row that was never visited, while the model learns
  float logit[kWeightSetRows + kSetBlock], one[kWeightSetRows + kSetBlock];
  int64_t last_row[kFinals];
  float last_one[kFinals];
  float* refine[kRefinements];
  float fraction;
};

// The work of a turn. A team does the functions of a part at once, and `finish` after all of them. A part may read the
// next turn after it has learnt this one: what it knows of the turn is of its own neurons, or the first part's alone.
struct OnlineKernel {
  // Computes where the cells of the turn's node are, and fetches them.
  void (*locate)(const Online&, const Part&, Turn&);
  // Fetches the cells of a node.
  void (*fetch)(const Online&, int32_t node);
  // Reads what the part's neurons know at the node.
  void (*read)(Online&, Part&, Turn&);
  // Weighs what all parts read, once for each of the part's sets.
  void (*weigh)(Online&, const Part&, const Turn&);
  // P(bit = 1) at the node.
  float (*finish)(Online&);
  // Learns the bit at the node.
  void (*learn)(Online&, const Part&, const Turn&, int bit);
};

extern const OnlineKernel kOnlineBase, kOnlineLevel3;

}  // namespace chain
}  // namespace wnn
