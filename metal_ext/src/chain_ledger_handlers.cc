// The XLA FFI handlers of the ledger of a static chain model: they check every shape, and then compare or forget.

#include <cstdint>
#include <string>

#include "chain_checks.h"
#include "chain_ledger.h"
#include "parallel.h"

namespace wnn {
namespace chain {
namespace {

using Slots = StaticSlots;

ffi::Error CheckLedger(const U32Matrix& hashes, const U32Matrix& longer, const I32Matrix& tokens,
                       const I32Matrix& counts, int64_t rows) {
  const int64_t room = Dim(hashes, 1);
  WNN_REQUIRE(Dim(hashes, 0) == rows && Dim(tokens, 0) == rows && Dim(tokens, 1) == room &&
                  Dim(counts, 0) == rows && Dim(counts, 1) == room && Dim(longer, 0) == kOrders - 1 &&
                  Dim(longer, 1) == room && rows >= kOrders,
              "the arrays of a ledger differ in their rows or lengths");
  return ffi::Error::Success();
}

KnownEntries RowOf(const U32Matrix& hashes, const U32Matrix& longer, const I32Matrix& tokens,
                   const I32Matrix& counts, int64_t c) {
  const int64_t room = Dim(hashes, 1);
  const uint32_t* more = c + 1 < kOrders ? longer.typed_data() + c * room : nullptr;
  return EntriesOf<const uint32_t, const int32_t>(hashes.typed_data() + c * room, more,
                                                  tokens.typed_data() + c * room, counts.typed_data() + c * room,
                                                  room);
}

ffi::Error LackingEntries(ffi::ThreadPool pool, U32Matrix hashes, U32Matrix longer, I32Matrix tokens, I32Matrix counts,
                   U32Matrix part_hashes, U32Matrix part_longer, I32Matrix part_tokens, I32Matrix part_counts,
                   ffi::Result<I32> result) {
  const int64_t rows = Dim(counts, 0);
  WNN_CHECK(CheckLedger(hashes, longer, tokens, counts, rows));
  WNN_CHECK(CheckLedger(part_hashes, part_longer, part_tokens, part_counts, rows));
  WNN_REQUIRE(Dim(*result, 0) == rows, "the result needs room for one number for each row");
  return Ended(Parallel(pool, rows, [&] {
    return [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c)
        result->typed_data()[c] = Lacking(RowOf(hashes, longer, tokens, counts, c),
                                          RowOf(part_hashes, part_longer, part_tokens, part_counts, c));
    };
  }));
}

// wnn_jax/chain/backend.py passes the same arguments in the same order.
ffi::Error AuditRows(ffi::ThreadPool pool, WNN_TREE_PARAMETERS, I32 view, Slots slots, Slots lost, I32 first,
                     U32Matrix hashes, I32Matrix tokens, I32Matrix counts, U32Matrix discounts,
                     ffi::Result<Slots> lost_out, ffi::Result<U32Cube> spill, ffi::Result<I32> sizes,
                     int64_t log_slots) {
  WNN_MAKE_TREE;
  WNN_CHECK(CheckStaticSlots(slots, view, log_slots));
  const int64_t rows = Dim(hashes, 0), length = Dim(hashes, 1), room = Dim(*spill, 1);
  WNN_CHECK(CheckFollowers(tree, view, first, hashes, tokens, counts, discounts));
  WNN_CHECK(SameShape(lost, lost_out));
  WNN_REQUIRE(Dim(lost, 0) == Dim(slots, 0) && Dim(lost, 1) == Dim(slots, 1) && Dim(lost, 2) == kBucket &&
                  Dim(lost, 3) == 2 && Dim(*spill, 0) == rows && Dim(*spill, 2) == kSpilled && room > 0 &&
                  Dim(*sizes, 0) == rows,
              "the results need room for two numbers for each cell, and for the spill");
  uint32_t* const out = Carried(lost, lost_out);
  return Ended(Parallel(pool, rows, [&] {
    return [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t c = first.typed_data()[0] + i;
        sizes->typed_data()[i] = static_cast<int32_t>(
            Audit(tree, hashes.typed_data() + i * length, tokens.typed_data() + i * length,
                  counts.typed_data() + i * length, length, view.typed_data()[c], static_cast<int>(log_slots),
                  discounts.typed_data() + 3 * i, slots.typed_data() + (c << log_slots) * kStaticCell,
                  out + (c << log_slots) * 2, spill->typed_data() + i * room * kSpilled, room));
      }
    };
  }));
}

ffi::Error ForgetPart(ffi::ThreadPool pool, WNN_TREE_PARAMETERS, I32 view, U32Matrix discounts, Slots slots,
                      U32Matrix hashes, U32Matrix longer, I32Matrix tokens, I32Matrix counts, Slots lost,
                      U32Cube spill, U32Matrix part_hashes, U32Matrix part_longer, I32Matrix part_tokens,
                      I32Matrix part_counts, ffi::Result<Slots> slots_out, ffi::Result<U32Matrix> hashes_out,
                      ffi::Result<U32Matrix> longer_out, ffi::Result<I32Matrix> tokens_out,
                      ffi::Result<I32Matrix> counts_out, ffi::Result<Slots> lost_out,
                      ffi::Result<U32Cube> spill_out, ffi::Result<I32Matrix> sizes, int64_t log_slots) {
  WNN_MAKE_TREE;
  WNN_CHECK(CheckStaticSlots(slots, view, log_slots));
  const int64_t rows = Dim(view, 0), room = Dim(hashes, 1), spill_room = Dim(spill, 1);
  WNN_CHECK(CheckLedger(hashes, longer, tokens, counts, rows));
  WNN_CHECK(CheckLedger(part_hashes, part_longer, part_tokens, part_counts, rows));
  WNN_REQUIRE(Dim(discounts, 0) == rows && Dim(discounts, 1) == 3 && Dim(*sizes, 0) == 2 && Dim(*sizes, 1) == rows,
              "there must be three discounts and two sizes for each row");
  WNN_REQUIRE(Dim(lost, 0) == rows && Dim(lost, 1) == Dim(slots, 1) && Dim(lost, 2) == kBucket &&
                  Dim(lost, 3) == 2 && Dim(spill, 0) == rows && Dim(spill, 2) == kSpilled,
              "lost must have two numbers for each cell, and the spill six for each of its own");
  WNN_CHECK(SameShape(slots, slots_out));
  WNN_CHECK(SameShape(hashes, hashes_out));
  WNN_CHECK(SameShape(longer, longer_out));
  WNN_CHECK(SameShape(tokens, tokens_out));
  WNN_CHECK(SameShape(counts, counts_out));
  WNN_CHECK(SameShape(lost, lost_out));
  WNN_CHECK(SameShape(spill, spill_out));
  uint32_t* const cells = Carried(slots, slots_out);
  uint32_t* const own_hashes = Carried(hashes, hashes_out);
  uint32_t* const own_longer = Carried(longer, longer_out);
  int32_t* const own_tokens = Carried(tokens, tokens_out);
  int32_t* const own_counts = Carried(counts, counts_out);
  uint32_t* const own_lost = Carried(lost, lost_out);
  uint32_t* const own_spill = Carried(spill, spill_out);
  return Ended(Parallel(pool, rows, [&] {
    return [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const bool continued = c + 1 < kOrders;
        OwnEntries all = EntriesOf<uint32_t, int32_t>(
            own_hashes + c * room, continued ? own_longer + c * room : nullptr, own_tokens + c * room,
            own_counts + c * room, room);
        Spill spilled = Spill::Of(own_spill + c * spill_room * kSpilled, spill_room, Dim(slots, 1));
        Forget(tree, view.typed_data()[c], static_cast<int>(log_slots), discounts.typed_data() + 3 * c,
               RowOf(part_hashes, part_longer, part_tokens, part_counts, c), continued, all,
               cells + (c << log_slots) * kStaticCell, own_lost + (c << log_slots) * 2, spilled);
        sizes->typed_data()[c] = static_cast<int32_t>(all.size);
        sizes->typed_data()[rows + c] = static_cast<int32_t>(spilled.size);
      }
    };
  }));
}

}  // namespace

#define WNN_LEDGER_ARGUMENTS .Arg<U32Matrix>().Arg<U32Matrix>().Arg<I32Matrix>().Arg<I32Matrix>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainLacking, LackingEntries,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_LEDGER_ARGUMENTS WNN_LEDGER_ARGUMENTS
                                  .Ret<I32>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainAudit, AuditRows,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_TREE_ARGUMENTS.Arg<I32>().Arg<Slots>()
                                  .Arg<Slots>().Arg<I32>().Arg<U32Matrix>().Arg<I32Matrix>().Arg<I32Matrix>().Arg<U32Matrix>()
                                  .Ret<Slots>().Ret<U32Cube>().Ret<I32>().Attr<int64_t>("log_slots"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainForget, ForgetPart,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_TREE_ARGUMENTS.Arg<I32>().Arg<U32Matrix>()
                                  .Arg<Slots>() WNN_LEDGER_ARGUMENTS.Arg<Slots>().Arg<U32Cube>()
                                  WNN_LEDGER_ARGUMENTS.Ret<Slots>().Ret<U32Matrix>().Ret<U32Matrix>()
                                  .Ret<I32Matrix>().Ret<I32Matrix>().Ret<Slots>().Ret<U32Cube>().Ret<I32Matrix>()
                                  .Attr<int64_t>("log_slots"));

}  // namespace chain
}  // namespace wnn
