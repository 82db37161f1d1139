// The XLA FFI handlers of the class-count layer: they check every shape and range, and then read, add or train.

#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "checks.h"
#include "classify.h"

namespace wnn {
namespace classify {
namespace {

using U8Matrix = ffi::Buffer<ffi::DataType::U8, 2>;
using I32Cube = ffi::Buffer<ffi::DataType::S32, 3>;

ffi::Error CheckNeurons(const I32Matrix& column, const U8Matrix& level, const I32& table,
                        const U32Matrix& hashes, int64_t columns, int64_t tables, int64_t entries) {
  const int64_t count = Dim(column, 0), pins = Dim(column, 1);
  WNN_REQUIRE(Dim(level, 0) == count && Dim(level, 1) == pins && Dim(table, 0) == count,
              "level and table need the shape of column");
  WNN_REQUIRE(pins >= 1 && pins <= 64, "a neuron has 1 to 64 pins, got " + std::to_string(pins));
  WNN_REQUIRE(Dim(hashes, 1) == pins, "hashes need one number for each pin");
  WNN_REQUIRE(Dim(hashes, 0) >= 1 && Dim(hashes, 0) <= kMaxHashes, "a table has 1 to 8 hashes");
  WNN_REQUIRE(entries >= 1 && tables * entries < int64_t{1} << 31, "the tables need fewer than 2^31 entries");
  for (int64_t i = 0; i < count * pins; ++i)
    WNN_REQUIRE(column.typed_data()[i] >= 0 && column.typed_data()[i] < columns,
                "column " + std::to_string(column.typed_data()[i]) + " is outside the " +
                    std::to_string(columns) + " columns");
  for (int64_t r = 0; r < count; ++r)
    WNN_REQUIRE(table.typed_data()[r] >= 0 && table.typed_data()[r] < tables, "a table is out of range");
  for (int64_t h = 0; h < Dim(hashes, 0); ++h) {
    // The largest entry that this row can give: all its bits.
    uint64_t all = 0;
    for (int64_t t = 0; t < pins; ++t) all |= hashes.typed_data()[h * pins + t];
    WNN_REQUIRE(all < static_cast<uint64_t>(entries), "a hash is larger than the table");
  }
  return ffi::Error::Success();
}

ffi::Error CheckRows(const I32& row, const I32& offset, int64_t count) {
  WNN_REQUIRE(Dim(offset, 0) == Dim(row, 0), "row and offset differ in length");
  for (int64_t i = 0; i < Dim(row, 0); ++i)
    WNN_REQUIRE(row.typed_data()[i] >= 0 && row.typed_data()[i] < count, "a row is out of range");
  return ffi::Error::Success();
}

ffi::Error CheckLabels(const I32& label, int64_t count, int64_t classes) {
  WNN_REQUIRE(Dim(label, 0) == count, "label needs one class for each row");
  for (int64_t i = 0; i < count; ++i)
    WNN_REQUIRE(label.typed_data()[i] >= 0 && label.typed_data()[i] < classes, "a label is out of range");
  return ffi::Error::Success();
}

Neurons MakeNeurons(const I32Matrix& column, const U8Matrix& level, const I32& table, const U32Matrix& hashes,
                    int64_t entries) {
  return {column.typed_data(), level.typed_data(), table.typed_data(), hashes.typed_data(),
          Dim(column, 0),      Dim(column, 1),     Dim(hashes, 0),     entries,
          entries <= 1 << 8    ? 1
          : entries <= 1 << 16 ? 2
                               : 4};
}

// Runs work that allocates memory.
template <typename Work>
ffi::Error Guarded(const Work& work) {
  try {
    return Ended(work());
  } catch (const std::bad_alloc&) {
    return Ended(false);
  }
}

ffi::Error ReadTables(ffi::ThreadPool pool, I32Matrix column, U8Matrix level, I32 table, U32Matrix hashes,
                      ffi::AnyBuffer cells, U8Matrix levels, ffi::Result<I32Matrix> result) {
  WNN_REQUIRE(cells.dimensions().size() == 3, "cells need three axes");
  const int64_t tables = cells.dimensions()[0], entries = cells.dimensions()[1], classes = cells.dimensions()[2];
  WNN_CHECK(CheckNeurons(column, level, table, hashes, Dim(levels, 1), tables, entries));
  WNN_REQUIRE(Dim(*result, 0) == Dim(levels, 0) && Dim(*result, 1) == classes, "the result has another shape");
  const Neurons neurons = MakeNeurons(column, level, table, hashes, entries);
  const Rows rows{levels.typed_data(), nullptr, nullptr, Dim(levels, 1), Dim(levels, 0)};
  int32_t* scores = result->typed_data();
  if (cells.element_type() == ffi::DataType::S8)
    return Guarded([&] {
      const auto* bytes = static_cast<const int8_t*>(cells.untyped_data());
      return Read(pool, neurons, bytes, tables, classes, rows, scores);
    });
  WNN_REQUIRE(cells.element_type() == ffi::DataType::S32, "cells must be int8 or int32");
  return Guarded([&] {
    const auto* words = static_cast<const int32_t*>(cells.untyped_data());
    return Read(pool, neurons, words, tables, classes, rows, scores);
  });
}

// Empty `cells` [0, S, K] are tables that have counted no row.
ffi::Error Count(ffi::ThreadPool pool, I32Matrix column, U8Matrix level, I32 table, U32Matrix hashes,
                 I32Cube cells, U8Matrix levels, I32 label, I32 weight, ffi::Result<I32Cube> result) {
  const int64_t tables = Dim(*result, 0), entries = Dim(*result, 1), classes = Dim(*result, 2);
  WNN_CHECK(CheckNeurons(column, level, table, hashes, Dim(levels, 1), tables, entries));
  WNN_CHECK(CheckLabels(label, Dim(levels, 0), classes));
  WNN_REQUIRE(Dim(weight, 0) == Dim(levels, 0), "weight needs one number for each row");
  WNN_REQUIRE((Dim(cells, 0) == tables || Dim(cells, 0) == 0) && Dim(cells, 1) == entries && Dim(cells, 2) == classes,
              "the result has another shape");
  const Rows rows{levels.typed_data(), nullptr, nullptr, Dim(levels, 1), Dim(levels, 0)};
  const Added added{nullptr, label.typed_data(), weight.typed_data()};
  const Neurons neurons = MakeNeurons(column, level, table, hashes, entries);
  const int32_t* from = Dim(cells, 0) ? cells.typed_data() : nullptr;
  return Guarded([&] { return Add(pool, neurons, rows, added, classes, tables, from, result->typed_data()); });
}

constexpr int64_t kMaxThresholds = 256;

ffi::Error VotesWithout(ffi::ThreadPool pool, I32Matrix column, U8Matrix level, I32 table, U32Matrix hashes,
                        I32Cube cells, U8Matrix levels, I32 label, I32 weight, I32 threshold,
                        ffi::Result<I32Cube> result) {
  const int64_t tables = Dim(cells, 0), entries = Dim(cells, 1), classes = Dim(cells, 2), count = Dim(levels, 0);
  WNN_CHECK(CheckNeurons(column, level, table, hashes, Dim(levels, 1), tables, entries));
  WNN_CHECK(CheckLabels(label, count, classes));
  WNN_REQUIRE(Dim(weight, 0) == count, "weight needs one number for each row");
  WNN_REQUIRE(Dim(threshold, 0) <= kMaxThresholds, "there are at most 256 thresholds");
  for (int64_t b = 0; b < Dim(threshold, 0); ++b)
    WNN_REQUIRE(threshold.typed_data()[b] >= 1, "a threshold is below 1");
  WNN_REQUIRE(Dim(*result, 0) == Dim(threshold, 0) && Dim(*result, 1) == count && Dim(*result, 2) == classes,
              "the result has another shape");
  const Rows rows{levels.typed_data(), nullptr, nullptr, Dim(levels, 1), count};
  const Neurons neurons = MakeNeurons(column, level, table, hashes, entries);
  const LeftOut how{label.typed_data(), weight.typed_data(), threshold.typed_data(), Dim(threshold, 0), 0};
  return Guarded([&] {
    return VotesLeftOut(pool, neurons, cells.typed_data(), tables, classes, rows, how, result->typed_data());
  });
}

ffi::Error Sum(ffi::ThreadPool pool, I32Matrix column, U8Matrix level, I32 table, U32Matrix hashes,
               U8Matrix levels, I32 row, I32 offset, I32Matrix values, ffi::Result<I32Cube> result) {
  const int64_t tables = Dim(*result, 0), entries = Dim(*result, 1), classes = Dim(*result, 2);
  const int64_t count = Dim(row, 0), lanes = LanesOf(classes);
  WNN_CHECK(CheckNeurons(column, level, table, hashes, Dim(levels, 1), tables, entries));
  WNN_CHECK(CheckRows(row, offset, Dim(levels, 0)));
  WNN_REQUIRE(Dim(values, 0) == count && Dim(values, 1) == classes, "values need a number for each row and class");
  const Neurons neurons = MakeNeurons(column, level, table, hashes, entries);
  const Rows rows{levels.typed_data(), row.typed_data(), offset.typed_data(), Dim(levels, 1), count};
  return Guarded([&] {
    Aligned<int32_t> wide(count * lanes + 1), cells(tables * entries * lanes + 1);
    Widen(values.typed_data(), count, classes, lanes, wide.get());
    const Added added{wide.get(), nullptr, nullptr};
    if (!Add(pool, neurons, rows, added, lanes, tables, cells.get(), cells.get())) return false;
    for (int64_t p = 0; p < tables * entries; ++p)
      std::memcpy(result->typed_data() + p * classes, cells.get() + p * lanes, classes * sizeof(int32_t));
    return true;
  });
}

ffi::Error TrainTables(I32Matrix column, U8Matrix level, I32 table, U32Matrix hashes, I32Cube cells,
                       U8Matrix levels, I32 label, I32 row, I32 offset, I32 share,
                       BoolMatrix serves, I32 rate, U32 drop,
                       ffi::Result<I32Cube> result, ffi::Result<I32> right, int64_t batch, int64_t bits) {
  const int64_t tables = Dim(cells, 0), entries = Dim(cells, 1), classes = Dim(cells, 2);
  WNN_CHECK(CheckNeurons(column, level, table, hashes, Dim(levels, 1), tables, entries));
  WNN_CHECK(CheckRows(row, offset, Dim(levels, 0)));
  WNN_CHECK(CheckLabels(label, Dim(levels, 0), classes));
  WNN_REQUIRE(Dim(hashes, 0) == 1, "a trained table has one hash");
  WNN_REQUIRE(classes >= 1 && classes <= kMaxClasses, "the kernels train 1 to 256 classes");
  WNN_REQUIRE(batch >= 1 && batch <= kRows && bits >= 1 && bits <= 8, "batch must be 1 to 64, and bits 1 to 8");
  WNN_REQUIRE(Dim(rate, 0) == 1 && Dim(drop, 0) == 2 && Dim(*right, 0) == 1, "rate, drop or right has another length");
  WNN_REQUIRE(rate.typed_data()[0] >= 0 && rate.typed_data()[0] <= 1 << 15, "rate must be 0 to 1/2");
  WNN_REQUIRE(Dim(serves, 1) == classes && (Dim(serves, 0) == tables || Dim(serves, 0) == 0),
              "serves needs a row for each table, or none");
  for (int64_t i = 0; i < Dim(share, 0); ++i)
    WNN_REQUIRE(share.typed_data()[i] >= 0 && share.typed_data()[i] <= 1 << kOne, "a share is out of range");
  WNN_REQUIRE(Dim(share, 0) >= 1 && share.typed_data()[0] == 1 << kOne, "the first share must be 1");
  int32_t* out = result->typed_data();
  if (out != cells.typed_data()) std::memcpy(out, cells.typed_data(), cells.size_bytes());
  const Rows rows{levels.typed_data(), row.typed_data(), offset.typed_data(), Dim(levels, 1), Dim(row, 0)};
  const uint8_t* served = Dim(serves, 0) ? static_cast<const uint8_t*>(serves.untyped_data()) : nullptr;
  const Training how{label.typed_data(), share.typed_data(), served, Dim(share, 0), batch, classes, 0,
                     rate.typed_data()[0], static_cast<int>(bits), drop.typed_data()[0], drop.typed_data()[1]};
  return Ended(Train(MakeNeurons(column, level, table, hashes, entries), rows, how, tables, out,
                     right->typed_data()));
}

}  // namespace
}  // namespace classify
}  // namespace wnn

#define WNN_MAPPING \
  .Arg<wnn::I32Matrix>().Arg<wnn::classify::U8Matrix>().Arg<wnn::I32>().Arg<wnn::U32Matrix>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnClassRead, wnn::classify::ReadTables,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_MAPPING.Arg<ffi::AnyBuffer>().Arg<wnn::classify::U8Matrix>()
        .Ret<wnn::I32Matrix>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnClassCount, wnn::classify::Count,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_MAPPING.Arg<wnn::classify::I32Cube>()
        .Arg<wnn::classify::U8Matrix>().Arg<wnn::I32>().Arg<wnn::I32>().Ret<wnn::classify::I32Cube>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnClassLeftOut, wnn::classify::VotesWithout,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_MAPPING.Arg<wnn::classify::I32Cube>()
        .Arg<wnn::classify::U8Matrix>().Arg<wnn::I32>().Arg<wnn::I32>().Arg<wnn::I32>()
        .Ret<wnn::classify::I32Cube>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnClassSum, wnn::classify::Sum,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_MAPPING.Arg<wnn::classify::U8Matrix>().Arg<wnn::I32>()
        .Arg<wnn::I32>().Arg<wnn::I32Matrix>().Ret<wnn::classify::I32Cube>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnClassTrain, wnn::classify::TrainTables,
    ffi::Ffi::Bind() WNN_MAPPING.Arg<wnn::classify::I32Cube>().Arg<wnn::classify::U8Matrix>().Arg<wnn::I32>()
        .Arg<wnn::I32>().Arg<wnn::I32>().Arg<wnn::I32>().Arg<wnn::BoolMatrix>()
        .Arg<wnn::I32>().Arg<wnn::U32>().Ret<wnn::classify::I32Cube>().Ret<wnn::I32>()
        .Attr<int64_t>("batch").Attr<int64_t>("bits"));
