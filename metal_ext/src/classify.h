// The class-count layer on the CPU: reads, counts and trains tables that hold one cell for each class.
//
// classify_kernels.h does the work of a block of rows; this file spreads blocks and tables over threads.

#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "classify_types.h"
#include "parallel.h"

namespace wnn {
namespace classify {

// The kernels for this processor.
inline const Kernels& Best() {
#if defined(WNN_LEVELS)
  static const Kernels& best = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd")
                                   ? kLevel4
                               : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                                       __builtin_cpu_supports("fma")
                                   ? kLevel3
                                   : kBase;
  return best;
#else
  return kBase;
#endif
}

// Asks for large pages for memory that is about to be written for the first time: without them most of the time
// of counting goes into page faults.
inline void Advise(void* memory, int64_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t kPage = uintptr_t{1} << 21;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory), end = begin + static_cast<uintptr_t>(bytes);
  const uintptr_t first = (begin + kPage - 1) & ~(kPage - 1), last = end & ~(kPage - 1);
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

// Zeros that begin at a cache line.
template <typename T>
class Aligned {
 public:
  explicit Aligned(size_t count)
      : memory_(static_cast<T*>(::operator new[](count * sizeof(T), std::align_val_t(64)))) {
    Advise(memory_, count * sizeof(T));
    std::memset(memory_, 0, count * sizeof(T));
  }
  ~Aligned() { ::operator delete[](memory_, std::align_val_t(64)); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  T* get() { return memory_; }
  T& operator[](size_t i) { return memory_[i]; }

 private:
  T* memory_;
};

// The neurons, table by table: the cells of a table are changed by one thread, and clipped once.
struct ByTable {
  int64_t tables;
  std::vector<int32_t> neuron, begin;
  ByTable(const Neurons& neurons, int64_t tables) : tables(tables), neuron(neurons.count), begin(tables + 1) {
    for (int64_t r = 0; r < neurons.count; ++r) ++begin[neurons.table[r] + 1];
    for (int64_t m = 0; m < tables; ++m) begin[m + 1] += begin[m];
    std::vector<int32_t> next(begin.begin(), begin.end() - 1);
    for (int64_t r = 0; r < neurons.count; ++r) neuron[next[neurons.table[r]]++] = static_cast<int32_t>(r);
  }
  Groups View() const { return {neuron.data(), begin.data(), tables}; }
};

inline int64_t BlockBytes(int64_t columns) { return (columns + 7) / 8 * 8 * kRows; }

inline int64_t LanesOf(int64_t classes) { return (classes + kLanes - 1) / kLanes * kLanes; }

// Copies cells [places, classes] to rows of whole vectors.
template <typename Cell>
void Widen(const Cell* cells, int64_t places, int64_t classes, int64_t lanes, Cell* wide) {
  for (int64_t p = 0; p < places; ++p) std::memcpy(wide + p * lanes, cells + p * classes, classes * sizeof(Cell));
}

// Cells for the kernels, and the copy of their last table, which vectors may read beyond its end.
template <typename Cell>
class Padded {
 public:
  Padded(const Cell* cells, int64_t tables, int64_t entries, int64_t classes)
      : tail_(entries * classes + kLanes), view_{cells, tail_.get(), tables, classes} {
    if (tables > 0) std::copy_n(cells + (tables - 1) * entries * classes, entries * classes, tail_.get());
  }
  const Tables<Cell>& View() const { return view_; }

 private:
  Aligned<Cell> tail_;
  Tables<Cell> view_;
};

inline void ReadRows(const Neurons& neurons, bool dense, const Tables<int8_t>& tables, int64_t lanes,
                     const uint8_t* block, int64_t size, int32_t* scores) {
  Best().read_bytes(neurons, dense, tables, lanes, block, size, scores);
}
inline void ReadRows(const Neurons& neurons, bool dense, const Tables<int32_t>& tables, int64_t lanes,
                     const uint8_t* block, int64_t size, int32_t* scores) {
  Best().read_words(neurons, dense, tables, lanes, block, size, scores);
}

template <typename Pool, typename Cell>
bool Read(Pool& pool, const Neurons& neurons, const Cell* cells, int64_t tables, int64_t classes, const Rows& rows,
          int32_t* scores) {
  // One class needs no vector.
  const int64_t lanes = classes == 1 ? 1 : LanesOf(classes);
  const Padded<Cell> padded(cells, tables, neurons.entries, classes);
  const bool dense = neurons.Dense();
  return Parallel(pool, (rows.count + kRows - 1) / kRows, [&] {
    auto block = std::make_shared<Aligned<uint8_t>>(BlockBytes(rows.columns));
    auto sums = std::make_shared<Aligned<int32_t>>(kRows * lanes);
    return [&, block, sums](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * kRows, size = std::min(kRows, rows.count - first);
        std::memset(sums->get(), 0, kRows * lanes * sizeof(int32_t));
        Best().gather(rows, first, size, block->get(), BlockBytes(rows.columns));
        ReadRows(neurons, dense, padded.View(), lanes, block->get(), size, sums->get());
        for (int64_t i = 0; i < size; ++i)
          std::memcpy(scores + (first + i) * classes, sums->get() + i * lanes, classes * sizeof(int32_t));
      }
    };
  });
}

// Writes `votes` [thresholds, rows, classes]: for each row and class the neurons whose counts without the row
// reach the threshold.
template <typename Pool>
bool VotesLeftOut(Pool& pool, const Neurons& neurons, const int32_t* cells, int64_t tables, int64_t classes,
                  const Rows& rows, LeftOut how, int32_t* votes) {
  how.lanes = LanesOf(classes);
  const Padded<int32_t> padded(cells, tables, neurons.entries, classes);
  const ByTable groups(neurons, tables);
  int64_t most = 0;
  for (int64_t m = 0; m < tables; ++m) most = std::max<int64_t>(most, groups.begin[m + 1] - groups.begin[m]);
  const bool dense = neurons.Dense();
  const int64_t each = how.thresholds * how.lanes;
  return Parallel(pool, (rows.count + kRows - 1) / kRows, [&] {
    auto block = std::make_shared<Aligned<uint8_t>>(BlockBytes(rows.columns));
    auto sums = std::make_shared<Aligned<int32_t>>(kRows * each);
    auto room = std::make_shared<Aligned<uint32_t>>(most * neurons.hashed * kRows);
    return [&, block, sums, room](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = b * kRows, size = std::min(kRows, rows.count - first);
        std::memset(sums->get(), 0, kRows * each * sizeof(int32_t));
        Best().gather(rows, first, size, block->get(), BlockBytes(rows.columns));
        Best().left_out(neurons, dense, groups.View(), padded.View(), how, block->get(), first, size, room->get(),
                        sums->get());
        for (int64_t t = 0; t < how.thresholds; ++t)
          for (int64_t i = 0; i < size; ++i)
            std::memcpy(votes + (t * rows.count + first + i) * classes, sums->get() + i * each + t * how.lanes,
                        classes * sizeof(int32_t));
      }
    };
  });
}

// Adds rows to `tables` tables of rows of `lanes` cells, which begin as copies of `from`, or empty where `from` is
// null. The rows go by in chunks, so that their levels stay in cache.
template <typename Pool>
bool Add(Pool& pool, const Neurons& neurons, const Rows& rows, const Added& added, int64_t lanes, int64_t tables,
         const int32_t* from, int32_t* cells) {
  const ByTable groups(neurons, tables);
  const bool dense = neurons.Dense();
  const int64_t stride = BlockBytes(rows.columns), size_of_table = neurons.entries * lanes;
  const int64_t chunk = std::max<int64_t>(1, (int64_t{1} << 20) / std::max<int64_t>(stride, 1)) * kRows;
  const int64_t many = std::min(chunk, (rows.count + kRows - 1) / kRows * kRows);
  Advise(cells, tables * size_of_table * sizeof(int32_t));
  Aligned<uint8_t> blocks(many / kRows * stride);
  int64_t first = 0;
  do {
    const int64_t size = std::min(chunk, rows.count - first);
    Best().gather(rows, first, size, blocks.get(), stride);
    const bool enough = Parallel(pool, tables, [&] {
      return [&](int64_t begin, int64_t end) {
        for (int64_t m = begin; m < end; ++m) {
          int32_t* table = cells + m * size_of_table;
          if (first == 0 && !from) std::memset(table, 0, size_of_table * sizeof(int32_t));
          if (first == 0 && from && from != cells)
            std::memcpy(table, from + m * size_of_table, size_of_table * sizeof(int32_t));
          Best().add(neurons, dense, groups.neuron.data() + groups.begin[m], groups.begin[m + 1] - groups.begin[m],
                     added, lanes, blocks.get(), stride, first, size, table);
        }
      };
    });
    if (!enough) return false;
    first += chunk;
  } while (first < rows.count);
  return true;
}

constexpr int64_t kMaxClasses = 16 * kLanes;

// Trains `cells` [tables, entries, classes] by one pass over the rows. Sets `right` to the number of rows whose
// class had the best score before their step.
inline bool Train(const Neurons& neurons, const Rows& rows, Training how, int64_t tables, int32_t* cells,
                  int32_t* right) {
  int64_t blocks = 1;
  while (blocks * kLanes < how.classes) blocks *= 2;
  how.lanes = blocks * kLanes;
  const int64_t places = tables * neurons.entries, lanes = how.lanes;
  try {
    Aligned<int32_t> wide((places + 1) * lanes), sums(kRows * lanes);
    Aligned<uint8_t> block(BlockBytes(rows.columns));
    Aligned<int32_t> masks(how.serves ? tables * lanes : 1);
    Widen(cells, places, how.classes, lanes, wide.get());
    if (how.serves)
      for (int64_t m = 0; m < tables; ++m)
        for (int64_t k = 0; k < how.classes; ++k) masks[m * lanes + k] = -how.serves[m * how.classes + k];
    const ByTable groups(neurons, tables);
    const bool dense = neurons.Dense();
    int64_t good = 0;
    for (int64_t first = 0; first < rows.count; first += how.batch)
      good += Best().train(neurons, dense, groups.View(), how, how.serves ? masks.get() : nullptr, rows, first,
                        std::min(how.batch, rows.count - first), block.get(), sums.get(), wide.get(),
                        static_cast<uint32_t>(places));
    for (int64_t p = 0; p < places; ++p)
      std::memcpy(cells + p * how.classes, wide.get() + p * lanes, how.classes * sizeof(int32_t));
    *right = static_cast<int32_t>(good);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

}  // namespace classify
}  // namespace wnn
