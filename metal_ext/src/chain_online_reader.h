// Reads tokens with the chain model that learns while it reads. What is done once for a token is here; what is done
// for each turn is in the kernels, which are compiled for several processors.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "chain_fields.h"
#include "chain_online.h"
#include "chain_team.h"

namespace wnn {
namespace chain {

inline const OnlineKernel& BestOnlineKernel() {
#if defined(WNN_LEVELS)
  static const OnlineKernel& best =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") ? kOnlineLevel3 : kOnlineBase;
  return best;
#else
  return kOnlineBase;
#endif
}

// The text that was read, in which matches are looked for.
struct OnlineText {
  int32_t* text;         // [room], a ring
  int32_t* match_table;  // [3, 2^kMatchPlacesLog]
  uint32_t* position;    // the number of tokens, then where each match goes on and its length
  int64_t room;
};

class OnlineReader {
 public:
  OnlineReader(const Tree& tree, const Neurons& neurons, const TextFields& fields, const OnlineMemory& memory,
               const OnlineShape& shape, const int32_t* sets, const OnlineText& text, bool learn, int threads)
      : neurons_(neurons), fields_(fields), text_(text), kernel_(BestOnlineKernel()), learn_(learn),
        online_(std::make_unique<Online>()),
        team_(static_cast<int>(std::min<int64_t>(threads, shape.neurons)), [this](int part) { Work(part); }) {
    Online& o = *online_;
    std::memset(&o, 0, sizeof(o));
    o.tree = tree;
    o.view = neurons.view;
    o.memory = memory;
    o.shape = shape;
    o.set = sets;
    o.learns = learn;
    int64_t row = 0;
    for (int64_t k = 0; k < shape.sets; ++k) {
      o.first_row[k] = row;
      row += kSetRows[sets[k]];
      for (int64_t j = 0; j < k && sets[k] == kWeightSetKindClass; ++j)
        if (sets[j] == kWeightSetKind) o.parent[k] = static_cast<int>(j);
    }
    row = 0;
    for (int k = 0; k < kFinals; ++k) {
      o.final_row[k] = row;
      row += kSetRows[kFinalSets[k]];
    }
    o.part_count = team_.size();
    const auto border = [&](int64_t count, int64_t once, int64_t p) {
      return std::max<int64_t>((count + once) * p / o.part_count - once, 0);
    };
    for (int64_t p = 0; p < o.part_count; ++p)
      o.parts[p] = {border(shape.neurons, kOnceAsNeurons, p), border(shape.neurons, kOnceAsNeurons, p + 1),
                    border(shape.sets, kOnceAsSets, p), border(shape.sets, kOnceAsSets, p + 1), !p, 0, 0};
  }

  bool learns() const { return learn_; }

  // Prepares for the next token: finds the matches, hashes its contexts, and finds what the lists expect.
  void Begin() {
    team_.Wait();
    Online& o = *online_;
    uint32_t* fields = seen_;
    fields_.Read(seen_);
    for (int m = 0; m < kMatches; ++m) BeginMatch(m);
    FillMatched(fields);
    // Rows of the weights. The lexicon's entries may be any numbers.
    o.class1 = std::min(fields[kFieldClass61], static_cast<uint32_t>(kClasses - 1));
    o.class2 = std::min(fields[kFieldClass62], static_cast<uint32_t>(kClasses - 1));
    o.class9 = std::min(fields[kFieldClass91], static_cast<uint32_t>(kSetRows[kWeightSetClass9] - 1));
    o.shape1 = std::min(fields[kFieldShape1], static_cast<uint32_t>(kShapes - 1));
    o.token1 = fields[kFieldToken1];
    o.token2 = fields[kFieldToken2];
    o.word = fields[kFieldWord];
    o.byte = fields[kFieldBytes1];
    o.byte_before = fields[kFieldBytes2] >> 8;
    o.now = text_.position[0];
    o.on_lists = nullptr;
    peeks_ = 0;
    prepared_ = false;
    Turn& next = Next(0, 0, learn_);
    stage_ = Stage::kLocated;
    Start(Job::kBegin, &next);
  }

  void Fetch(int32_t node) const { kernel_.fetch(*online_, node); }

  // A reader that learns reads the next turn while it learns this one.
  void Next(int32_t node) { known_ = node; }

  float Predict(int32_t node, int depth) { return At(node, depth, learn_); }

  float Peek(int32_t node, int depth) {
    CountPeeks(1);
    return At(node, depth, false);
  }

  // Each thread peeks at some of the nodes, with all neurons.
  int at_once() const { return 4 * team_.size(); }
  void PeekAll(const int32_t* nodes, const int32_t* depths, int count, float* ones) {
    CountPeeks(count);
    asked_ = {nodes, depths, count, ones};
    PreparePeekers();
    Start(Job::kPeek);
    team_.Wait();
    stage_ = Stage::kNone;
  }

  void Learn(int bit) {
    bit_ = bit;
    Turn* next = nullptr;
    if (known_ >= 0) {
      next = &Next(known_, Now().depth + 1, true);
      stage_ = Stage::kRead;
      known_ = -1;
    }
    Start(Job::kLearn, next);
  }

  // Remembers a token after it was read.
  void End(int32_t token) {
    if (learn_ && online_->shape.log_lists >= 0) {
      token_ = token;
      Start(Job::kEnd);
    }
    uint32_t* position = text_.position;
    const uint32_t room = static_cast<uint32_t>(text_.room);
    text_.text[position[0] % room] = token;  // if the room is full, it replaces the oldest token
    position[0] += 1;
    for (int m = 0; m < kMatches; ++m) {
      uint32_t *at = position + 1 + 2 * m, *length = at + 1;
      if (!*length) continue;
      *length = text_.text[*at % room] == token ? *length + 1 : 0;
      *at += 1;
    }
    fields_.Remember(token);
  }

 private:
  enum class Job { kBegin, kRead, kWeigh, kLearn, kEnd, kPeek };
  // What the first part does once takes as long as these many neurons and sets, so it has fewer of its own.
  static constexpr int64_t kOnceAsNeurons = 6, kOnceAsSets = 1;
  enum class Stage { kNone, kLocated, kRead };  // how far the next turn is

  // Nodes at which all threads peek.
  struct Asked {
    const int32_t *nodes, *depths;
    int count;
    float* ones;
  };

  Turn& Now() { return online_->turns[at_]; }
  // Describes the next turn, which becomes the present one by At.
  Turn& Next(int32_t node, int depth, bool narrowed) { return Describe(online_->turns[1 - at_], node, depth, narrowed); }
  Turn& Describe(Turn& turn, int32_t node, int depth, bool narrowed) const {
    turn.node = node;
    turn.depth = depth;
    turn.zone = online_->tree.spelled[node];
    turn.narrowed = narrowed;
    return turn;
  }

  // Begins a job of all parts.
  void Start(Job job, Turn* next = nullptr) {
    team_.Wait();
    job_ = job;
    next_ = next;
    team_.Start();
  }

  void Work(int index) {
    Online& o = *online_;
    Part& part = o.parts[index];
    switch (job_) {
      case Job::kBegin:
        for (int64_t c = part.neuron; c < part.last_neuron; ++c) o.context[c] = HashFields(neurons_, c, seen_);
        if (o.shape.log_lists >= 0) BeginLists(part);
        kernel_.locate(o, part, *next_);
        break;
      case Job::kRead:
        if (stage_ == Stage::kNone) kernel_.locate(o, part, *next_);
        kernel_.read(o, part, *next_);
        break;
      case Job::kWeigh:
        kernel_.weigh(o, part, Now());
        break;
      case Job::kLearn:
        if (next_) kernel_.locate(o, part, *next_);
        kernel_.learn(o, part, Now(), bit_);
        if (next_) kernel_.read(o, part, *next_);
        break;
      case Job::kEnd:
        EndLists(part);
        break;
      case Job::kPeek:
        PeekOwn(index);
        break;
    }
  }

  float At(int32_t node, int depth, bool narrowed) {
    Online& o = *online_;
    const Turn& there = o.turns[1 - at_];
    if (stage_ != Stage::kNone && (there.node != node || there.narrowed != narrowed)) {
      team_.Wait();
      stage_ = Stage::kNone;
    }
    if (stage_ != Stage::kRead) Start(Job::kRead, &Next(node, depth, narrowed));
    team_.Wait();
    at_ = 1 - at_;
    stage_ = Stage::kNone;
    Start(Job::kWeigh);
    team_.Wait();
    return kernel_.finish(o);
  }

  void CountPeeks(int count) {
    if (peeks_ < kManyPeeks && peeks_ + count >= kManyPeeks && online_->shape.log_lists >= 0) MarkLists();
    peeks_ += count;
  }

  // Gives each of several threads what is known of the token.
  void PreparePeekers() {
    if (team_.size() == 1) return;
    team_.Wait();
    if (peekers_.empty())
      for (int i = 0; i < team_.size(); ++i) peekers_.push_back(std::make_unique<Online>());
    for (std::unique_ptr<Online>& peeker : peekers_) {
      if (!prepared_) {
        *peeker = *online_;
        peeker->parts[0] = {0, peeker->shape.neurons, 0, peeker->shape.sets, true, 0, 0};
        peeker->part_count = 1;
      }
      peeker->on_lists = online_->on_lists;
    }
    prepared_ = true;
  }

  // Peeks at a thread's nodes. The cells of the next one are on their way from memory meanwhile.
  void PeekOwn(int thread) {
    const int threads = team_.size();
    Online& o = threads == 1 ? *online_ : *peekers_[thread];
    const auto locate = [&](int i) {
      kernel_.locate(o, o.parts[0], Describe(o.turns[i / threads % 2], asked_.nodes[i], asked_.depths[i], false));
    };
    if (thread < asked_.count) locate(thread);
    for (int i = thread; i < asked_.count; i += threads) {
      if (i + threads < asked_.count) locate(i + threads);
      Turn& turn = o.turns[i / threads % 2];
      kernel_.read(o, o.parts[0], turn);
      kernel_.weigh(o, o.parts[0], turn);
      asked_.ones[i] = kernel_.finish(o);
    }
  }

  // Finds an earlier place of the text after the same tokens as now: a table has the last place of each hash of some
  // last tokens. The match counts if at least those tokens agree.
  void BeginMatch(int m) {
    const uint32_t count = text_.position[0], room = static_cast<uint32_t>(text_.room);
    const uint32_t order = static_cast<uint32_t>(kMatchOrders[m]);
    uint32_t *at = text_.position + 1 + 2 * m, *length = at + 1;
    const auto back = [&](uint32_t place, uint32_t k) { return text_.text[(place - 1 - k) % room]; };
    if (count >= order) {
      uint32_t h = 7 + static_cast<uint32_t>(m);
      for (uint32_t k = 0; k < order; ++k) h = Mix(h, static_cast<uint32_t>(back(count, k)) + 1);
      int32_t& last = text_.match_table[(static_cast<int64_t>(m) << kMatchPlacesLog) + (h >> (32 - kMatchPlacesLog))];
      const uint32_t place = static_cast<uint32_t>(last);
      if (!*length && last > 0 && count - place < room) {
        uint32_t same = 0;
        while (same < static_cast<uint32_t>(kMatchLongest) && same < place && count - place + same + 1 < room &&
               back(place, same) == back(count, same))
          ++same;
        *at = place;
        *length = same >= order ? same : 0;
      }
      last = static_cast<int32_t>(count);
    }
    Online& o = *online_;
    o.guess[m] = *length ? text_.text[*at % room] : -1;
    o.match_step[m] = 0;
    for (int edge : kMatchEdges) o.match_step[m] += *length >= static_cast<uint32_t>(edge);
  }

  // Fills in the fields of the longest match, the first of the longest ones.
  void FillMatched(uint32_t* fields) const {
    const Online& o = *online_;
    int longest = -1;
    for (int m = 0; m < kMatches; ++m)
      if (o.guess[m] >= 0 && (longest < 0 || o.match_step[m] > o.match_step[longest])) longest = m;
    if (longest < 0) return;
    fields[kFieldExpected] = static_cast<uint32_t>(o.guess[longest]) + 1;
    fields[kFieldExpectedStrength] = static_cast<uint32_t>(o.match_step[longest]);
  }

  uint32_t* ListOf(int64_t c, uint32_t& key) const {
    const Online& o = *online_;
    key = Mix(o.context[c], kListKey);
    const int64_t place = o.shape.log_lists ? key >> (32 - o.shape.log_lists) : 0;
    return o.memory.lists + ((c << o.shape.log_lists) + place) * kListWords;
  }

  void BeginLists(const Part& part) {
    Online& o = *online_;
    uint32_t key[kMostNeurons];
    for (int64_t c = part.neuron; c < part.last_neuron; ++c) {
      o.list[c] = ListOf(c, key[c]);
      __builtin_prefetch(o.list[c]);
    }
    for (int64_t c = part.neuron; c < part.last_neuron; ++c) {
      o.alive[c] = 0;
      if (o.list[c][0] != (key[c] | 1)) continue;
      for (int i = 0; i < kListed; ++i) {
        const uint32_t id = o.list[c][1 + i] >> 8;
        if (!(o.list[c][1 + i] & kListMost) || id >= o.tree.vocabulary) continue;
        o.alive[c] |= static_cast<uint8_t>(1 << i);
        o.listed[c][i] = o.tree.start[id];
        o.listed_end[c][i] = o.tree.start[id + 1];
      }
    }
  }

  // Marks the nodes of the listed tokens: most other nodes need not look at the lists.
  void MarkLists() {
    team_.Wait();
    Online& o = *online_;
    marks_.resize(o.tree.nodes);
    for (int64_t c = 0; c < o.shape.neurons; ++c)
      for (uint32_t left = o.alive[c]; left; left &= left - 1) {
        const int i = __builtin_ctz(left);
        for (int32_t j = o.listed[c][i]; j < o.listed_end[c][i]; ++j) marks_[o.tree.node[j]] = o.now + 1;
      }
    o.on_lists = marks_.data();
  }

  // Moves the token to the front of the lists of the part's contexts.
  void EndLists(const Part& part) {
    for (int64_t c = part.neuron; c < part.last_neuron; ++c) {
      uint32_t key;
      uint32_t* list = ListOf(c, key);
      if (list[0] != (key | 1)) {
        std::memset(list, 0, sizeof(uint32_t) * kListWords);
        list[0] = key | 1;
      }
      uint32_t* first = list + 1;
      const uint32_t id = static_cast<uint32_t>(token_);
      int i = 0;
      while (i < kListed && (first[i] & kListMost) && first[i] >> 8 != id) ++i;
      uint32_t count = 1;
      if (i < kListed && (first[i] & kListMost)) count = std::min((first[i] & kListMost) + 1, uint32_t{kListMost});
      if (i == kListed) i = kListed - 1;  // the token that came longest ago makes room
      std::memmove(first + 1, first, sizeof(uint32_t) * static_cast<size_t>(i));
      first[0] = id << 8 | count;
    }
  }

  Neurons neurons_;
  TextFields fields_;
  OnlineText text_;
  const OnlineKernel& kernel_;
  bool learn_;
  std::unique_ptr<Online> online_;
  // The job that the team does, and what it needs.
  Job job_ = Job::kBegin;
  Turn* next_ = nullptr;
  int at_ = 0;  // the place in `turns` of the present turn
  Stage stage_ = Stage::kNone;
  int32_t known_ = -1, token_ = 0;  // known: the node of the next Predict, or negative
  int bit_ = 0;
  static constexpr int kManyPeeks = 24;  // from here on it pays to mark the nodes of the lists
  int peeks_ = 0;
  std::vector<uint32_t> marks_;                   // [M]
  Asked asked_ = {};
  std::vector<std::unique_ptr<Online>> peekers_;  // one for each of several threads
  bool prepared_ = false;                         // whether they know the token
  uint32_t seen_[kFieldRows];
  Team team_;  // last: its threads end before what they read
};

}  // namespace chain
}  // namespace wnn
