// Forgetting of a static chain model: entries are taken out of a ledger, and what they wrote out of the cells.
// wnn_jax/chain/ledger.py and audit.py explain what is held.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "chain_static.h"
#include "chain_types.h"

namespace wnn {
namespace chain {

// The entries of a row of a ledger; behind them counts are 0. `longer` is null for a row without one.
template <typename U, typename I>
struct Entries {
  U *hashes, *longer;
  I *tokens, *counts;
  int64_t size;

  uint32_t Longer(int64_t i) const { return longer ? longer[i] : 0; }
};
using KnownEntries = Entries<const uint32_t, const int32_t>;
using OwnEntries = Entries<uint32_t, int32_t>;

template <typename U, typename I>
Entries<U, I> EntriesOf(U* hashes, U* longer, I* tokens, I* counts, int64_t room) {
  const auto end = std::partition_point(counts, counts + room, [](int32_t count) { return count > 0; });
  return {hashes, longer, tokens, counts, end - counts};
}

// Below 0, 0 or above 0: the order of an entry of one ledger and an entry of another.
template <typename One, typename Other>
int Compare(const One& one, int64_t i, const Other& other, int64_t j) {
  if (one.hashes[i] != other.hashes[j]) return one.hashes[i] < other.hashes[j] ? -1 : 1;
  if (one.tokens[i] != other.tokens[j]) return one.tokens[i] < other.tokens[j] ? -1 : 1;
  const uint32_t a = one.Longer(i), b = other.Longer(j);
  return a == b ? 0 : a < b ? -1 : 1;
}

// The first of some places of which `before` is false; it is true of all places below that one.
template <typename Before>
int64_t FirstNot(int64_t low, int64_t high, Before before) {
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (before(middle))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// The same, for a place that is near `low`: it looks farther and farther ahead, and then between.
template <typename Before>
int64_t FirstNotFrom(int64_t low, int64_t size, Before before) {
  int64_t high = low;
  for (int64_t step = 1; high < size && before(high); step *= 2) {
    low = high + 1;
    high += step;
  }
  return FirstNot(low, std::min(high, size), before);
}

// Takes some of `size` items out, which are given in ascending order; zeros follow the others.
template <typename Value>
void Close(Value* values, int64_t size, const std::vector<int64_t>& gone, int64_t width = 1) {
  if (!values || gone.empty()) return;
  int64_t kept = gone[0];
  for (size_t k = 0; k < gone.size(); ++k) {
    const int64_t begin = gone[k] + 1, end = k + 1 < gone.size() ? gone[k + 1] : size;
    std::memmove(values + kept * width, values + begin * width, sizeof(Value) * width * (end - begin));
    kept += end - begin;
  }
  std::memset(values + kept * width, 0, sizeof(Value) * width * gone.size());
}

// The first entry from `from` on that does not stand before entry j of a part, which is much smaller than a ledger.
template <typename All>
int64_t Seek(const All& all, int64_t from, const KnownEntries& part, int64_t j) {
  return FirstNotFrom(from, all.size, [&](int64_t i) { return Compare(all, i, part, j) < 0; });
}

// The number of entries of a part that a ledger has not, or not as often.
inline int32_t Lacking(const KnownEntries& all, const KnownEntries& part) {
  int32_t lacking = 0;
  for (int64_t i = 0, j = 0; j < part.size; ++j) {
    i = Seek(all, i, part, j);
    const bool there = i < all.size && Compare(all, i, part, j) == 0;
    lacking += !there || all.counts[i] < part.counts[j];
  }
  return lacking;
}

// Takes the counts of a part out of a ledger. Calls change(hash, token, before, after) for each pair of the part, with
// its counts; in a continued row these are the numbers of entries of the pair. The entries that are empty then leave
// the ledger, and zeros follow the others.
template <typename Change>
void Subtract(OwnEntries& all, const KnownEntries& part, bool continued, Change change) {
  std::vector<int64_t> empty;
  int64_t i = 0;
  for (int64_t j = 0, next; j < part.size; j = next) {
    const uint32_t hash = part.hashes[j];
    const int32_t token = part.tokens[j];
    const auto pair = [&](const auto& entries, int64_t k) {
      return k < entries.size && entries.hashes[k] == hash && entries.tokens[k] == token;
    };
    for (next = j + 1; pair(part, next);) ++next;
    i = Seek(all, i, part, j);
    while (i > 0 && pair(all, i - 1)) --i;  // the pair begins where its shortest longer hash stands
    int64_t before = 0, after = 0;
    bool met = false;
    for (int64_t k = j; pair(all, i); ++i) {
      int64_t count = std::max(all.counts[i], 0);
      before += continued ? 1 : count;
      while (k < next && Compare(all, i, part, k) > 0) ++k;
      if (k < next && Compare(all, i, part, k) == 0) {
        count -= Within<int64_t>(part.counts[k], 0, count);
        all.counts[i] = static_cast<int32_t>(count);
        met = true;
      }
      if (count > 0)
        after += continued ? 1 : count;
      else if (empty.empty() || empty.back() < i)  // in a ledger that is not sorted, a pair may be met again
        empty.push_back(i);
    }
    if (met && before != after) change(hash, token, before, after);
  }
  Close(all.hashes, all.size, empty);
  Close(all.longer, all.size, empty);
  Close(all.tokens, all.size, empty);
  Close(all.counts, all.size, empty);
  all.size -= static_cast<int64_t>(empty.size());
}

// Cells that found no place in their full buckets: ascending by bucket, and then the highest tag first. They end at
// the first tag of 0.
constexpr int kSpilled = 6;  // the bucket, the tag, zeros, ones, and what both lost

struct Spill {
  uint32_t* cells;
  int64_t size, buckets;
  std::vector<int64_t> empty;  // cells that have no counts any more; some may stand there twice

  static Spill Of(uint32_t* cells, int64_t room, int64_t buckets) {
    const int64_t size = FirstNot(0, room, [&](int64_t i) { return cells[i * kSpilled + 1] != 0; });
    return {cells, size, buckets, {}};
  }
  uint32_t* At(int64_t i) const { return cells + i * kSpilled; }
  // About where the cells of a bucket stand: buckets come from a hash, so a bucket's share of all buckets says it.
  int64_t Guess(uint32_t bucket) const {
    const double share = static_cast<double>(bucket) / static_cast<double>(buckets);
    return Within<int64_t>(static_cast<int64_t>(share * static_cast<double>(size)), 0, size - 1);
  }
  void Fetch(uint32_t bucket) const {
    if (size) __builtin_prefetch(At(Guess(bucket)));
  }
  // The first cell that does not stand before a cell of a bucket and a tag. It is looked for from the guess, farther
  // and farther away, after the buckets that stand there have told twice how far the guess is off.
  int64_t Find(uint32_t bucket, uint32_t tag) const {
    if (!size) return 0;
    const auto before = [&](int64_t i) {
      const uint32_t* cell = At(i);
      return cell[0] < bucket || (cell[0] == bucket && cell[1] > tag);
    };
    int64_t at = Guess(bucket);
    for (int k = 0; k < 2; ++k) {
      const double off = (static_cast<double>(bucket) - At(at)[0]) / static_cast<double>(buckets);
      at = Within<int64_t>(at + static_cast<int64_t>(off * static_cast<double>(size)), 0, size - 1);
    }
    if (before(at)) return FirstNotFrom(at + 1, size, before);
    int64_t low = at, high = at;
    for (int64_t step = 1; low > 0 && !before(low - 1); step *= 2) {
      high = low - 1;
      low = std::max<int64_t>(low - 1 - step, 0);
    }
    return FirstNot(low, high, before);
  }
  // Drops the empty cells; zeros follow the others.
  void Shrink() {
    std::sort(empty.begin(), empty.end());
    empty.erase(std::unique(empty.begin(), empty.end()), empty.end());
    Close(cells, size, empty, kSpilled);
    size -= static_cast<int64_t>(empty.size());
  }
};

// Writes what the counts of a row's cells lost, and the cells that found no place; returns the number of the latter.
inline int64_t Audit(const Tree& tree, const uint32_t* hashes, const int32_t* tokens, const int32_t* counts,
                     int64_t length, int view, int log_slots, const uint32_t* discounts, const uint32_t* row,
                     uint32_t* lost, uint32_t* spill, int64_t room) {
  length = std::find(counts, counts + length, 0) - counts;
  std::memset(lost, 0, sizeof(uint32_t) * (int64_t{2} << log_slots));
  std::memset(spill, 0, sizeof(uint32_t) * kSpilled * room);
  struct Turn {
    uint64_t key;
    uint32_t count, lost;
    int32_t bit;
  };
  std::vector<Turn> spilled;
  ForEachTurn(tree, hashes, tokens, length, view, log_slots, row, [&](Address a, int32_t bit, int64_t t) {
    const uint32_t discount = discounts[std::min(counts[t], 3) - 1];
    if (const uint32_t* cell = FindCounts(row, a))
      lost[(cell - row) / kStaticCell * 2 + bit] += discount;
    else
      spilled.push_back({static_cast<uint64_t>(a.bucket / kBucket) << 16 | (0xFFFF - a.tag),
                         static_cast<uint32_t>(counts[t]), discount, bit});
  });
  std::sort(spilled.begin(), spilled.end(), [](const Turn& a, const Turn& b) { return a.key < b.key; });
  int64_t size = 0;
  for (size_t i = 0; i < spilled.size(); ++i) {
    size += i == 0 || spilled[i].key != spilled[i - 1].key;
    if (size > room) continue;
    uint32_t* cell = spill + (size - 1) * kSpilled;
    cell[0] = static_cast<uint32_t>(spilled[i].key >> 16);
    cell[1] = 0xFFFF - static_cast<uint32_t>(spilled[i].key & 0xFFFF);
    cell[2 + spilled[i].bit] += spilled[i].count;
    cell[4 + spilled[i].bit] += spilled[i].lost;
  }
  return size;
}

// Drops the cells of a bucket that have no counts any more, and puts cells of the spill into their places. Counts only
// fall, so a bucket may be settled while other turns of it are still to come.
inline void Settle(int64_t bucket, uint32_t* row, uint32_t* lost, Spill& spill) {
  uint32_t* cells = row + bucket * kBucket * kStaticCell;
  uint32_t* gone = lost + bucket * kBucket * 2;
  int kept = 0;
  const bool full = cells[(kBucket - 1) * kStaticCell] != 0;
  for (int k = 0; k < kBucket; ++k) {
    if (!(cells[k * kStaticCell + 1] | cells[k * kStaticCell + 2])) continue;
    if (kept < k) {
      std::memcpy(cells + kept * kStaticCell, cells + k * kStaticCell, sizeof(uint32_t) * kStaticCell);
      std::memcpy(gone + kept * 2, gone + k * 2, sizeof(uint32_t) * 2);
    }
    ++kept;
  }
  int64_t i = full && kept < kBucket ? spill.Find(static_cast<uint32_t>(bucket), 0xFFFF) : spill.size;
  for (; kept < kBucket && i < spill.size && spill.At(i)[0] == bucket; ++i) {
    uint32_t* found = spill.At(i);
    if (!(found[2] | found[3])) continue;
    std::memcpy(cells + kept * kStaticCell, found + 1, sizeof(uint32_t) * 3);
    std::memcpy(gone + kept * 2, found + 4, sizeof(uint32_t) * 2);
    cells[kept * kStaticCell + 3] = ShareOf(found[2], found[4]) << 16 | ShareOf(found[3], found[5]);
    found[2] = found[3] = 0;
    spill.empty.push_back(i);
    ++kept;
  }
  std::memset(cells + kept * kStaticCell, 0, sizeof(uint32_t) * kStaticCell * (kBucket - kept));
  std::memset(gone + kept * 2, 0, sizeof(uint32_t) * 2 * (kBucket - kept));
}

// Takes a part out of a row's ledger and out of its cells.
inline void Forget(const Tree& tree, int view, int log_slots, const uint32_t* discounts, const KnownEntries& part,
                   bool continued, OwnEntries& all, uint32_t* row, uint32_t* lost, Spill& spill) {
  struct Turn {
    Address address;
    int32_t bit;
    uint32_t count, lost;  // what is taken away
  };
  constexpr size_t kAhead = 128;  // turns whose cells are fetched before they are changed
  std::vector<Turn> turns, elsewhere;
  std::vector<int64_t> emptied;
  const auto take = [&] {
    for (const Turn& turn : turns) {
      const Address a = turn.address;
      if (const uint32_t* found = FindCounts(row, a)) {
        uint32_t* cell = row + (found - row);
        const uint32_t count = cell[1 + turn.bit] -= turn.count;
        const uint32_t gone = lost[(found - row) / kStaticCell * 2 + turn.bit] -= turn.lost;
        const int shift = turn.bit ? 0 : 16;
        cell[3] = (cell[3] & ~(0xFFFFu << shift)) | ShareOf(count, gone) << shift;
        if (!(cell[1] | cell[2])) emptied.push_back(a.bucket / kBucket);
        continue;
      }
      spill.Fetch(static_cast<uint32_t>(a.bucket / kBucket));
      elsewhere.push_back(turn);
    }
    for (const Turn& turn : elsewhere) {
      const Address a = turn.address;
      const uint32_t bucket = static_cast<uint32_t>(a.bucket / kBucket);
      const int64_t i = spill.Find(bucket, a.tag);
      if (i == spill.size || spill.At(i)[0] != bucket || spill.At(i)[1] != a.tag) continue;
      spill.At(i)[2 + turn.bit] -= turn.count;
      spill.At(i)[4 + turn.bit] -= turn.lost;
      if (!(spill.At(i)[2] | spill.At(i)[3])) spill.empty.push_back(i);
    }
    for (int64_t bucket : emptied) Settle(bucket, row, lost, spill);
    turns.clear();
    elsewhere.clear();
    emptied.clear();
  };
  const uint32_t* names = tree.names + view * tree.nodes;
  const auto discount = [&](int64_t count) { return count > 0 ? discounts[std::min<int64_t>(count, 3) - 1] : 0; };
  Subtract(all, part, continued, [&](uint32_t hash, int32_t token, int64_t before, int64_t after) {
    const uint32_t count = static_cast<uint32_t>(before - after), less = discount(before) - discount(after);
    token = Within<int32_t>(token, 0, static_cast<int32_t>(tree.vocabulary - 1));
    for (int32_t j = tree.start[token]; j < tree.start[token + 1]; ++j) {
      const Address a = AddressOf(Mix(hash, names[tree.node[j]]), log_slots);
      __builtin_prefetch(row + a.bucket * kStaticCell, 1);
      __builtin_prefetch(lost + a.bucket * 2, 1);
      turns.push_back({a, tree.bit[j], count, less});
    }
    if (turns.size() >= kAhead) take();
  });
  take();
  spill.Shrink();
}

}  // namespace chain
}  // namespace wnn
