// Draws tokens from a reader of the chain model: from all tokens, or from the most probable ones alone. A token's
// weighted probability is the product of its turns, divided by the repetition penalty if the window has the token.
// wnn_jax/chain/drawing.py explains the rules, and does the same with all probabilities at hand.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

#include "chain_types.h"

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

// Calls stop(token, weighted) for tokens in falling order of weighted probability, equal ones by id, until it returns
// true. turn(node, depth) is P(bit = 1), and weigh(token, probability) is at most the probability. A subtree is opened
// only if no other token can weigh more, so the first token is the argmax.
template <typename Turn, typename Weigh, typename Stop>
void Enumerate(const Tree& tree, Turn turn, Weigh weigh, Stop stop) {
  struct Open {
    double mass;
    int32_t node, depth;
    bool operator<(const Open& other) const {
      if (mass != other.mass) return mass < other.mass;
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
      if (stop(-1 - best.node, best.mass)) break;
      continue;
    }
    const double one = turn(best.node, best.depth);
    for (int bit = 0; bit < 2; ++bit) {
      const int32_t child = tree.children[2 * best.node + bit];
      const double mass = best.mass * (bit ? one : 1.0 - one);
      open.push({child < 0 ? weigh(-1 - child, mass) : mass, child, best.depth + 1});
    }
  }
}

// The settings of drawing.
struct Drawing {
  double temperature, top_p, min_p, weight;  // weight: what a token of the window is multiplied by, at most 1
  int64_t top_k;                             // 0: all

  bool cuts() const { return top_k > 0 || top_p < 1 || min_p > 0; }
};

// The last tokens of the text, and how many of them hang below each node.
class Window {
 public:
  Window(const Tree& tree, const int32_t* recent, int64_t size) : tree_(tree), recent_(recent, recent + size) {
    if (!size) return;
    tokens_.resize(tree.vocabulary);
    nodes_.resize(tree.nodes);
    for (int32_t token : recent_) Count(token, 1);
  }

  bool Has(int32_t token) const { return !tokens_.empty() && tokens_[token] > 0; }
  bool Below(int32_t node) const { return !nodes_.empty() && nodes_[node] > 0; }

  // Each token of the window once.
  std::vector<int32_t> Tokens() const {
    std::vector<int32_t> tokens(recent_);
    std::sort(tokens.begin(), tokens.end());
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    return tokens.size() && tokens[0] < 0 ? std::vector<int32_t>(tokens.begin() + 1, tokens.end()) : tokens;
  }

  // Adds a token, which replaces the oldest one.
  void Add(int32_t token) {
    if (recent_.empty()) return;
    Count(recent_[oldest_], -1);
    Count(token, 1);
    recent_[oldest_] = token;
    oldest_ = (oldest_ + 1) % recent_.size();
  }

 private:
  void Count(int32_t token, int by) {
    if (token < 0) return;
    tokens_[token] += by;
    for (int32_t j = tree_.start[token]; j < tree_.start[token + 1]; ++j) nodes_[tree_.node[j]] += by;
  }

  Tree tree_;
  std::vector<int32_t> recent_;  // -1 where there is no token yet
  std::vector<int32_t> tokens_, nodes_;
  size_t oldest_ = 0;
};

template <typename Reader>
class Drawer {
 public:
  Drawer(Reader& reader, const Tree& tree, const Drawing& drawing, const int32_t* recent, int64_t size, int64_t depth)
      : reader_(reader), tree_(tree), drawing_(drawing), window_(tree, recent, size), depth_(depth),
        turns_(tree.nodes), leaves_(2 * tree.nodes) {
    // A child comes after its parent.
    for (int64_t i = 2 * tree.nodes - 1; i >= 0; --i) {
      const int32_t child = tree.children[i];
      leaves_[i] = child < 0 ? 1 : leaves_[2 * child] + leaves_[2 * child + 1];
    }
  }

  // Draws a token after `reader.Begin()`. A token is proposed turn by turn, each with the next of the chances; one more
  // decides whether a token of the window stays. The first proposal that the rules keep is the token, and its
  // distribution is that of the kept tokens. If too few chances are left for a proposal, or both top_k and top_p cut,
  // the last chance chooses among the kept tokens, in falling order of their weighted probabilities.
  int32_t Draw(const float* chance, int64_t count) {
    ++token_;
    const bool plain = !drawing_.cuts() && drawing_.weight == 1;
    int64_t at = 0;
    while (plain || (at + depth_ + 2 <= count && !(drawing_.top_k && drawing_.top_p < 1))) {
      int32_t node = 0;
      double mass = 1.0;
      for (int depth = 0; node >= 0; ++depth) {
        const double one = OnWay(node, depth);
        const bool bit = chance[at++] < one;
        mass *= bit ? one : 1.0 - one;
        node = tree_.children[2 * node + bit];
      }
      const int32_t token = -1 - node;
      if (plain) return token;
      if (window_.Has(token) && !(chance[at++] < drawing_.weight)) continue;
      if (!drawing_.cuts() || Kept(token, Weigh(token, mass))) return token;
    }
    return Listed(chance[count - 1]);
  }

  // P(bit = 1) at a node, without the temperature.
  float One(int32_t node, int depth) {
    Turn(node, depth);
    return turns_[node].one;
  }

  void Add(int32_t token) { window_.Add(token); }

 private:
  // What was predicted at a node for a token.
  struct Predicted {
    uint32_t token = 0;
    float one = 0;
    double drawn = 0;  // with the temperature
  };

  // A subtree that is not opened. What its tokens add to the sums of `Kept` lies within bounds.
  struct Subtree {
    double density, mass, least, most;  // density: mass a token; least, most: of `nucleus`
    int64_t above;                      // the most tokens that weigh more
    bool refutes;                       // whether a token may weigh so much that min_p drops the proposal
    int32_t node, depth;
    bool operator<(const Subtree& other) const { return density < other.density; }
  };

  // P(bit = 1) at a node of which a child is needed next.
  double OnWay(int32_t node, int depth) {
    if (turns_[node].token != token_) FetchChildren(reader_, tree_, node);
    return Turn(node, depth);
  }

  double Turn(int32_t node, int depth) {
    Predicted& turn = turns_[node];
    if (turn.token != token_) {
      const float one = reader_.Peek(node, depth);
      turn = {token_, one, WithTemperature(one, drawing_.temperature)};
    }
    return turn.drawn;
  }

  double Weigh(int32_t token, double mass) const { return window_.Has(token) ? mass * drawing_.weight : mass; }

  // Whether the rules keep a token. Its own weight decides which others matter. They are looked for in subtrees that
  // may change the answer, those of the largest mean weight first (by measurement, it takes the fewest nodes), and no
  // longer than it takes to be sure. Some nodes are read at once, which takes less time than one after the other.
  //
  // A token is in the nucleus if the tokens above it have less than top_p of all weight, which is the same as
  // top_p * (the weight of itself and of all tokens below it) - (1 - top_p) * (the weight above it) > 0: `nucleus`.
  bool Kept(int32_t token, double weight) {
    sums_ = {};
    open_.clear();
    opened_.clear();
    size_t ready = 0;
    double mass = 1.0;
    for (int32_t j = tree_.start[token]; j < tree_.start[token + 1]; ++j) {  // its own turns are known
      const int depth = j - tree_.start[token];
      const double one = Turn(tree_.node[j], depth);
      const int bit = tree_.bit[j];
      Meet(2 * tree_.node[j] + 1 - bit, mass * (bit ? 1.0 - one : one), depth + 1, token, weight);
      mass *= bit ? one : 1.0 - one;
    }
    sums_.least += drawing_.top_p * weight;
    sums_.most += drawing_.top_p * weight;
    while (true) {
      if (sums_.dropped || (drawing_.top_k && sums_.above >= drawing_.top_k)) return false;
      if (drawing_.top_p < 1 && sums_.most <= 0) return false;
      const bool ranked = !drawing_.top_k || sums_.above + sums_.unsure_above < drawing_.top_k;
      if (ranked && (drawing_.top_p >= 1 || sums_.least > 0) && !sums_.refuters) return true;
      if (ready == opened_.size()) {
        if (open_.empty()) return drawing_.top_p >= 1 || sums_.least > 0;
        OpenSome();
        ready = 0;
      }
      const Subtree best = opened_[ready++];
      sums_.least -= best.least;
      sums_.most -= best.most;
      sums_.unsure_above -= best.above;
      sums_.refuters -= best.refutes;
      const double one = Turn(best.node, best.depth);
      for (int bit = 0; bit < 2; ++bit)
        Meet(2 * best.node + bit, best.mass * (bit ? one : 1.0 - one), best.depth + 1, token, weight);
    }
  }

  // Takes the first of the open subtrees, and predicts at their nodes.
  void OpenSome() {
    opened_.clear();
    nodes_.clear();
    depths_.clear();
    while (!open_.empty() && opened_.size() < static_cast<size_t>(reader_.at_once())) {
      std::pop_heap(open_.begin(), open_.end());
      opened_.push_back(open_.back());
      open_.pop_back();
      const Subtree& last = opened_.back();
      if (turns_[last.node].token == token_) continue;
      nodes_.push_back(last.node);
      depths_.push_back(last.depth);
    }
    ones_.resize(nodes_.size());
    reader_.PeekAll(nodes_.data(), depths_.data(), static_cast<int>(nodes_.size()), ones_.data());
    for (size_t i = 0; i < nodes_.size(); ++i)
      turns_[nodes_[i]] = {token_, ones_[i], WithTemperature(ones_[i], drawing_.temperature)};
  }

  // Adds the child at a place of `children` to the sums: exactly, or by its bounds until it is opened.
  void Meet(int64_t place, double mass, int depth, int32_t token, double weight) {
    const int32_t node = tree_.children[place];
    const double top_p = drawing_.top_p;
    if (node < 0) {
      const int32_t other = -1 - node;
      const double own = Weigh(other, mass);
      const bool above = own > weight || (own == weight && other < token);
      const double part = above ? (top_p - 1) * own : top_p * own;
      sums_.least += part;
      sums_.most += part;
      sums_.above += above;
      sums_.dropped |= drawing_.min_p * own > weight;
      return;
    }
    const double leaves = static_cast<double>(leaves_[place]);
    const double lightest = window_.Below(node) ? mass * drawing_.weight : mass;
    Subtree found{mass / leaves, mass, top_p * lightest, top_p * mass, 0, false, node, depth};
    if (mass > weight) {
      const double below = std::min(mass, leaves * weight);
      found.least = (top_p - 1) * mass;
      found.most = top_p * below - (1 - top_p) * std::max(lightest - below, 0.0);
      found.above = static_cast<int64_t>(std::min(leaves, mass / weight));
      found.refutes = drawing_.min_p * mass > weight;
    }
    sums_.least += found.least;
    sums_.most += found.most;
    sums_.unsure_above += found.above;
    sums_.refuters += found.refutes;
    if (mass <= weight && lightest == mass) return;  // nothing of it is unsure
    open_.push_back(found);
    std::push_heap(open_.begin(), open_.end());
  }

  // Chooses among all kept tokens.
  int32_t Listed(double chance) {
    std::vector<std::pair<int32_t, double>> kept;
    const bool both = drawing_.top_k && drawing_.top_p < 1;
    const double enough = drawing_.top_k || drawing_.top_p >= 1 ? 2.0 : drawing_.top_p * Whole();
    double sum = 0;
    Enumerate(
        tree_, [this](int32_t node, int depth) { return OnWay(node, depth); },
        [this](int32_t token, double mass) { return Weigh(token, mass); },
        [&](int32_t token, double weight) {
          if (!both && kept.size() && weight < drawing_.min_p * kept[0].second) return true;
          kept.push_back({token, weight});
          sum += weight;
          return sum >= enough || static_cast<int64_t>(kept.size()) == drawing_.top_k;
        });
    if (both) {
      const double limit = drawing_.top_p * sum;
      size_t size = 0;
      for (sum = 0; size < kept.size() && sum < limit; ++size) {
        if (size && kept[size].second < drawing_.min_p * kept[0].second) break;
        sum += kept[size].second;
      }
      kept.resize(size);
    }
    double left = chance * sum;
    int32_t drawn = -1;
    for (const auto& [token, weight] : kept) {
      drawn = token;
      left -= weight;
      if (left < 0) break;
    }
    return drawn;
  }

  // The weighted probabilities of all tokens together.
  double Whole() {
    double whole = 1.0;
    for (int32_t token : window_.Tokens()) {
      double mass = 1.0;
      for (int32_t j = tree_.start[token]; j < tree_.start[token + 1]; ++j) {
        const double one = Turn(tree_.node[j], j - tree_.start[token]);
        mass *= tree_.bit[j] ? one : 1.0 - one;
      }
      whole -= mass * (1.0 - drawing_.weight);
    }
    return whole;
  }

  // What `Kept` knows: bounds of `nucleus`, the number of tokens above the proposal, and what subtrees may add to it.
  struct Sums {
    double least = 0, most = 0;
    int64_t above = 0, unsure_above = 0, refuters = 0;
    bool dropped = false;
  };

  Reader& reader_;
  Tree tree_;
  Drawing drawing_;
  Window window_;
  int64_t depth_;
  uint32_t token_ = 0;
  std::vector<Predicted> turns_;  // [nodes]
  std::vector<int32_t> leaves_;   // [2 * nodes], of each child
  std::vector<Subtree> open_, opened_;
  std::vector<int32_t> nodes_, depths_;
  std::vector<float> ones_;
  Sums sums_;
};

}  // namespace chain
}  // namespace wnn
