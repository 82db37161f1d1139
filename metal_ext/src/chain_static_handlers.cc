// The XLA FFI handlers of the static chain model: they check every shape and range, and then count or read.

#include <cstdint>
#include <string>

#include "chain_checks.h"
#include "chain_static_reader.h"
#include "parallel.h"

namespace wnn {
namespace chain {
namespace {

using Slots = StaticSlots;

ffi::Error Followers(ffi::ThreadPool pool, WNN_TREE_PARAMETERS, I32 view, Slots slots, I32 first, U32Matrix hashes,
                     I32Matrix tokens, I32Matrix counts, U32Matrix discounts, ffi::Result<Slots> result,
                     int64_t log_slots) {
  WNN_MAKE_TREE;
  WNN_CHECK(CheckStaticSlots(slots, view, log_slots));
  WNN_CHECK(SameShape(slots, result));
  const int64_t rows = Dim(hashes, 0), length = Dim(hashes, 1);
  WNN_CHECK(CheckFollowers(tree, view, first, hashes, tokens, counts, discounts));
  uint32_t* out = Carried(slots, result);
  return Ended(Parallel(pool, rows, [&] {
    return [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t c = first.typed_data()[0] + i;
        CountFollowers(tree, hashes.typed_data() + i * length, tokens.typed_data() + i * length,
                       counts.typed_data() + i * length, length, view.typed_data()[c], static_cast<int>(log_slots),
                       discounts.typed_data() + 3 * i, out + (c << log_slots) * kStaticCell);
      }
    };
  }));
}

ffi::Error StaticCells(ffi::ThreadPool pool, WNN_TREE_PARAMETERS, I32 view, Slots slots, U32Matrix hashes,
                       I32 tokens, ffi::Result<U32Matrix> zeros, ffi::Result<U32Matrix> ones,
                       ffi::Result<U32Matrix> shares, int64_t log_slots) {
  WNN_MAKE_TREE;
  WNN_CHECK(CheckStaticSlots(slots, view, log_slots));
  WNN_CHECK(CheckTokens(tokens, Dim(tokens, 0), tree.vocabulary));
  const int64_t rows = Dim(view, 0), length = Dim(tokens, 0), room = Dim(*zeros, 1);
  WNN_REQUIRE(Dim(hashes, 0) == rows && Dim(hashes, 1) == length,
              "there must be one hash for each neuron and token");
  int64_t bits = 0;
  for (int64_t t = 0; t < length; ++t)
    bits += tree.start[tokens.typed_data()[t] + 1] - tree.start[tokens.typed_data()[t]];
  for (auto* found : {&zeros, &ones, &shares}) {
    WNN_REQUIRE(Dim(**found, 0) == rows && Dim(**found, 1) == room && room >= bits,
                "the results need room for one number for each neuron and bit");
    std::memset((*found)->untyped_data(), 0, (*found)->size_bytes());
  }
  return Ended(Parallel(pool, rows, [&] {
    return [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        uint32_t* const found[3] = {zeros->typed_data() + c * room, ones->typed_data() + c * room,
                                    shares->typed_data() + c * room};
        ReadCounts(tree, hashes.typed_data() + c * length, tokens.typed_data(), length, view.typed_data()[c],
                   static_cast<int>(log_slots), slots.typed_data() + (c << log_slots) * kStaticCell, found);
      }
    };
  }));
}

// wnn_jax/chain/backend.py passes the same arguments in the same order.
ffi::Error ReadStatic(WNN_TREE_PARAMETERS, U32Matrix lexicon, I32Matrix connections, I32 view, Slots slots,
                      F32Matrix weights, F32Matrix finals, U32 registers, U32Cube followed, U32Matrix line,
                      I32 tokens, F32Matrix chance, I32 recent, I32 count, ffi::Result<U32> registers_out,
                      ffi::Result<U32Cube> followed_out, ffi::Result<U32Matrix> line_out, ffi::Result<I32> read,
                      ffi::Result<F32Matrix> ones, ffi::Result<I32> best, int64_t log_slots, int64_t mode,
                      int64_t argmax, WNN_DRAWING_PARAMETERS, int64_t callback) {
  WNN_MAKE_TREE;
  WNN_CHECK(CheckStaticSlots(slots, view, log_slots));
  WNN_CHECK(CheckNeurons(tree.vocabulary, lexicon, connections, view));
  WNN_CHECK(CheckTextState(registers, followed, line, tree.vocabulary));
  WNN_CHECK(SameShape(registers, registers_out));
  WNN_CHECK(SameShape(followed, followed_out));
  WNN_CHECK(SameShape(line, line_out));
  const int64_t neurons_count = Dim(view, 0);
  WNN_REQUIRE(neurons_count > kOrders, "a static model needs a neuron beside the orders of Kneser-Ney");
  int64_t rows = 0, final_rows = 0;
  for (int k = 0; k < kStaticSetRows; ++k) rows += kStaticRows[k];
  for (int set : kStaticFinals) final_rows += kStaticRows[set];
  const int64_t inputs = 2 * (neurons_count - kOrders) + kOrders + 1;
  WNN_REQUIRE(Dim(weights, 0) == rows && Dim(weights, 1) == inputs && Dim(finals, 0) == final_rows &&
                  Dim(finals, 1) == kStaticSetRows,
              "the weights must be [" + std::to_string(rows) + ", " + std::to_string(inputs) + "] and [" +
                  std::to_string(final_rows) + ", " + std::to_string(kStaticSetRows) + "]");
  WNN_REQUIRE(Dim(count, 0) == 1, "count must be one number");
  const Request request{tokens, chance,      recent,      count.typed_data()[0],
                        mode,   argmax != 0, WNN_DRAWING, reinterpret_cast<Callback>(callback)};
  Reading reading{read, ones, best};
  WNN_CHECK(CheckRequest(request, reading, tree));
  const Neurons neurons{connections.typed_data(), view.typed_data(), neurons_count, Dim(connections, 1)};
  const TextFields fields(lexicon.typed_data(), TextState{Carried(registers, registers_out),
                                                          Carried(followed, followed_out),
                                                          Carried(line, line_out)});
  const StaticMemory memory{slots.typed_data(), weights.typed_data(), finals.typed_data(),
                            static_cast<int>(log_slots)};
  StaticReader reader(tree, neurons, fields, memory);
  return ReadTokens(reader, tree, request, reading);
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainFollowers, Followers,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_TREE_ARGUMENTS.Arg<I32>().Arg<Slots>()
                                  .Arg<I32>().Arg<U32Matrix>().Arg<I32Matrix>().Arg<I32Matrix>().Arg<U32Matrix>()
                                  .Ret<Slots>().Attr<int64_t>("log_slots"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainStaticCells, StaticCells,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_TREE_ARGUMENTS.Arg<I32>().Arg<Slots>()
                                  .Arg<U32Matrix>().Arg<I32>().Ret<U32Matrix>().Ret<U32Matrix>().Ret<U32Matrix>()
                                  .Attr<int64_t>("log_slots"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainReadStatic, ReadStatic,
                              ffi::Ffi::Bind() WNN_TREE_ARGUMENTS.Arg<U32Matrix>().Arg<I32Matrix>().Arg<I32>()
                                  .Arg<Slots>().Arg<F32Matrix>().Arg<F32Matrix>().Arg<U32>().Arg<U32Cube>()
                                  .Arg<U32Matrix>().Arg<I32>().Arg<F32Matrix>().Arg<I32>().Arg<I32>().Ret<U32>()
                                  .Ret<U32Cube>().Ret<U32Matrix>().Ret<I32>().Ret<F32Matrix>().Ret<I32>()
                                  .Attr<int64_t>("log_slots").Attr<int64_t>("mode")
                                  .Attr<int64_t>("argmax") WNN_DRAWING_ATTRIBUTES.Attr<int64_t>("callback"));

}  // namespace chain
}  // namespace wnn
