// The XLA FFI handlers of the chain model that learns while it reads: they check every shape and range, and then read.

#include <cstdint>
#include <string>

#include "chain_checks.h"
#include "chain_online_reader.h"

namespace wnn {
namespace chain {
namespace {

using U32Cells = ffi::Buffer<ffi::DataType::U32, 4>;
using U8 = ffi::Buffer<ffi::DataType::U8, 1>;
using F32Cube = ffi::Buffer<ffi::DataType::F32, 3>;

int64_t Padded(int64_t size, int64_t block) { return (size + block - 1) / block * block; }

// log2 of a power of two; -1 for any other number.
int LogOf(int64_t x) {
  int log = 0;
  while (log < 40 && int64_t{1} << log < x) ++log;
  return int64_t{1} << log == x ? log : -1;
}

// What the model has learnt, and its place in the text, in the form that XLA passes.
struct Buffers {
  U32Cells slots;
  U32Cube lists;
  F32Cube maps, run_maps, match_maps, recent;
  U32 recent_at;
  F32Matrix weights, sums;
  U8 visited;
  F32Matrix finals;
  U32 final_visits;
  F32Cube refined;
  I32 text;
  I32Matrix match_table;
  U32 position, registers;
  U32Cube followed;
  U32Matrix line;
};

ffi::Error MakeShape(const Buffers& buffers, const Tree& tree, const I32& view, const I32& sets, OnlineShape& shape) {
  const int64_t n = Dim(view, 0), count = Dim(sets, 0);
  WNN_REQUIRE(n >= 1 && n <= kMostNeurons,
              "a chain model has 1 to " + std::to_string(kMostNeurons) + " context neurons");
  WNN_REQUIRE(count >= 1 && count <= kWeightSetRows && sets.typed_data()[0] == kWeightSetOne,
              "the first set of weights must be the one with one row");
  int64_t rows = 0, final_rows = 0;
  for (int64_t k = 0; k < count; ++k) {
    WNN_REQUIRE(sets.typed_data()[k] >= 0 && sets.typed_data()[k] < kWeightSetRows, "a set of weights is unknown");
    rows += kSetRows[sets.typed_data()[k]];
  }
  for (int set : kFinalSets) final_rows += kSetRows[set];
  for (int64_t c = 0; c < n; ++c)
    WNN_REQUIRE(view.typed_data()[c] >= 0 && view.typed_data()[c] < 3, "a view must be 0, 1 or 2");
  const bool lists = Dim(buffers.lists, 0) > 0, runs = Dim(buffers.run_maps, 0) > 0;
  const int64_t inputs = Padded((3 + lists + runs) * n + 2 * kMatches + kRecencies + 1, kInputBlock);
  const int log_buckets = LogOf(Dim(buffers.slots, 1));
  shape = {n, count, inputs, Padded(count, kSetBlock), log_buckets + 2, lists ? LogOf(Dim(buffers.lists, 1)) : -1, runs};
  WNN_REQUIRE(Dim(buffers.slots, 0) == n && log_buckets >= 0 && log_buckets <= 26 &&
                  Dim(buffers.slots, 2) == kBucket && Dim(buffers.slots, 3) == kWideCell,
              "slots must be [neurons, a power of two up to 2^26, 4, 4]");
  if (lists)
    WNN_REQUIRE(Dim(buffers.lists, 0) == n && shape.log_lists >= 0 && shape.log_lists <= 26 &&
                    Dim(buffers.lists, 2) == kListWords,
                "lists must be [neurons, a power of two up to 2^26, 8]");
  WNN_REQUIRE(Dim(buffers.maps, 0) == n && Dim(buffers.maps, 1) == kMapStates && Dim(buffers.maps, 2) == 2 &&
                  (!runs || (Dim(buffers.run_maps, 0) == n && Dim(buffers.run_maps, 1) == kRunStates &&
                             Dim(buffers.run_maps, 2) == 2)) &&
                  Dim(buffers.match_maps, 0) == kMatches && Dim(buffers.match_maps, 1) == kMatchStates &&
                  Dim(buffers.match_maps, 2) == 2,
              "the maps have the wrong shapes");
  WNN_REQUIRE(Dim(buffers.recent, 0) == tree.nodes && Dim(buffers.recent, 1) == kRecencies &&
                  Dim(buffers.recent, 2) == 2 && Dim(buffers.recent_at, 0) == tree.nodes,
              "there must be recent counts for each node");
  WNN_REQUIRE(Dim(buffers.weights, 0) == rows && Dim(buffers.weights, 1) == inputs && Dim(buffers.sums, 0) == rows &&
                  Dim(buffers.sums, 1) == inputs && Dim(buffers.visited, 0) == rows &&
                  Dim(buffers.final_visits, 0) == final_rows &&
                  Dim(buffers.finals, 0) == final_rows && Dim(buffers.finals, 1) == shape.set_lanes,
              "the weights must be [" + std::to_string(rows) + ", " + std::to_string(inputs) + "] and [" +
                  std::to_string(final_rows) + ", " + std::to_string(shape.set_lanes) + "]");
  WNN_REQUIRE(Dim(buffers.refined, 0) == kRefinements && Dim(buffers.refined, 1) == 1 << kRefinedLog &&
                  Dim(buffers.refined, 2) == kRefineSteps,
              "the refining maps have the wrong shape");
  return ffi::Error::Success();
}

ffi::Error CheckText(const Buffers& buffers, const Tree& tree) {
  WNN_REQUIRE(Dim(buffers.text, 0) > 2 * kMatchLongest && Dim(buffers.text, 0) <= 1 << 28 &&
                  Dim(buffers.match_table, 0) == kMatches && Dim(buffers.match_table, 1) == 1 << kMatchPlacesLog &&
                  Dim(buffers.position, 0) == 1 + 2 * kMatches,
              "the parts that follow the text have the wrong shapes");
  WNN_CHECK(CheckTextState(buffers.registers, buffers.followed, buffers.line, tree.vocabulary));
  return CheckTokens(buffers.text, Dim(buffers.text, 0), tree.vocabulary);
}

// wnn_jax/chain/backend.py passes the same arguments in the same order.
#define WNN_ONLINE_PARAMETERS                                                                            \
  WNN_TREE_PARAMETERS, U32Matrix lexicon, I32Matrix connections, I32 view, I32 sets, U32Cells slots,     \
      U32Cube lists, F32Cube maps, F32Cube run_maps, F32Cube match_maps, F32Cube recent, U32 recent_at, \
      F32Matrix weights, F32Matrix sums, U8 visited, F32Matrix finals, U32 final_visits, F32Cube refined, I32 text, I32Matrix match_table, \
      U32 position, U32 registers, U32Cube followed, U32Matrix line, I32 tokens, F32Matrix chance, I32 recent_tokens, I32 count
#define WNN_ONLINE_ARGUMENTS                                                                             \
  WNN_TREE_ARGUMENTS.Arg<U32Matrix>().Arg<I32Matrix>().Arg<I32>().Arg<I32>().Arg<U32Cells>()             \
      .Arg<U32Cube>().Arg<F32Cube>().Arg<F32Cube>().Arg<F32Cube>().Arg<F32Cube>().Arg<U32>().Arg<F32Matrix>()             \
      .Arg<F32Matrix>().Arg<U8>().Arg<F32Matrix>().Arg<U32>().Arg<F32Cube>().Arg<I32>().Arg<I32Matrix>()           \
      .Arg<U32>().Arg<U32>().Arg<U32Cube>().Arg<U32Matrix>().Arg<I32>().Arg<F32Matrix>().Arg<I32>().Arg<I32>()
#define WNN_ONLINE_MOVES                                                                                 \
  ffi::Result<I32> text_out, ffi::Result<I32Matrix> match_table_out, ffi::Result<U32> position_out,      \
      ffi::Result<U32> registers_out, ffi::Result<U32Cube> followed_out, ffi::Result<U32Matrix> line_out, \
      ffi::Result<I32> read, ffi::Result<F32Matrix> ones, ffi::Result<I32> best
#define WNN_ONLINE_MOVED                                                                                 \
  .Ret<I32>().Ret<I32Matrix>().Ret<U32>().Ret<U32>().Ret<U32Cube>().Ret<U32Matrix>()                     \
      .Ret<I32>().Ret<F32Matrix>().Ret<I32>()
#define WNN_ONLINE_SETTINGS int64_t mode, int64_t argmax, WNN_DRAWING_PARAMETERS, int64_t callback, int64_t threads
#define WNN_ONLINE_ATTRIBUTES                                                                            \
  .Attr<int64_t>("mode").Attr<int64_t>("argmax") WNN_DRAWING_ATTRIBUTES.Attr<int64_t>("callback")        \
      .Attr<int64_t>("threads")
#define WNN_CHECK_ONLINE                                                                                 \
  WNN_MAKE_TREE;                                                                                         \
  WNN_CHECK(CheckNeurons(tree.vocabulary, lexicon, connections, view));                                             \
  const Buffers buffers{slots,  lists,   maps,    run_maps, match_maps, recent, recent_at, weights, sums, visited, \
                        finals, final_visits, refined, text,    match_table, position,   registers, followed,  line};  \
  OnlineShape shape;                                                                                     \
  WNN_CHECK(MakeShape(buffers, tree, view, sets, shape));                                                \
  WNN_CHECK(CheckText(buffers, tree));                                                                   \
  WNN_CHECK(SameShape(text, text_out));                                                                  \
  WNN_CHECK(SameShape(match_table, match_table_out));                                                    \
  WNN_CHECK(SameShape(position, position_out));                                                          \
  WNN_CHECK(SameShape(registers, registers_out));                                                        \
  WNN_CHECK(SameShape(followed, followed_out));                                                          \
  WNN_CHECK(SameShape(line, line_out));                                                                  \
  WNN_REQUIRE(Dim(count, 0) == 1, "count must be one number");                                           \
  WNN_REQUIRE(threads >= 1 && threads <= kMostThreads, "threads must be 1 to 16");                       \
  const Request request{tokens, chance,       recent_tokens, count.typed_data()[0],                      \
                        mode,   argmax != 0, WNN_DRAWING,   reinterpret_cast<Callback>(callback)};       \
  Reading reading{read, ones, best};                                                                     \
  WNN_CHECK(CheckRequest(request, reading, tree));                                                       \
  const Neurons neurons{connections.typed_data(), view.typed_data(), Dim(view, 0), Dim(connections, 1)}; \
  const OnlineText place{Carried(text, text_out), Carried(match_table, match_table_out),                 \
                         Carried(position, position_out), Dim(text, 0)};                                 \
  const TextFields fields(lexicon.typed_data(), TextState{Carried(registers, registers_out),              \
                                                          Carried(followed, followed_out),               \
                                                          Carried(line, line_out)})

// Reads on and learns. All parts of the memory are returned, because all may change.
ffi::Error LearnOn(WNN_ONLINE_PARAMETERS, ffi::Result<U32Cells> slots_out, ffi::Result<U32Cube> lists_out,
                   ffi::Result<F32Cube> maps_out, ffi::Result<F32Cube> run_maps_out, ffi::Result<F32Cube> match_maps_out,
                   ffi::Result<F32Cube> recent_out, ffi::Result<U32> recent_at_out,
                   ffi::Result<F32Matrix> weights_out, ffi::Result<F32Matrix> sums_out, ffi::Result<U8> visited_out,
                   ffi::Result<F32Matrix> finals_out, ffi::Result<U32> final_visits_out,
                   ffi::Result<F32Cube> refined_out, WNN_ONLINE_MOVES,
                   WNN_ONLINE_SETTINGS) {
  WNN_CHECK_ONLINE;
  WNN_CHECK(SameShape(slots, slots_out));
  WNN_CHECK(SameShape(lists, lists_out));
  WNN_CHECK(SameShape(maps, maps_out));
  WNN_CHECK(SameShape(run_maps, run_maps_out));
  WNN_CHECK(SameShape(match_maps, match_maps_out));
  WNN_CHECK(SameShape(recent, recent_out));
  WNN_CHECK(SameShape(recent_at, recent_at_out));
  WNN_CHECK(SameShape(weights, weights_out));
  WNN_CHECK(SameShape(sums, sums_out));
  WNN_CHECK(SameShape(visited, visited_out));
  WNN_CHECK(SameShape(final_visits, final_visits_out));
  WNN_CHECK(SameShape(finals, finals_out));
  WNN_CHECK(SameShape(refined, refined_out));
  const OnlineMemory memory{Carried(slots, slots_out),           Carried(lists, lists_out),
                            Carried(maps, maps_out),             Carried(run_maps, run_maps_out),     Carried(match_maps, match_maps_out),
                            Carried(recent, recent_out),         Carried(recent_at, recent_at_out),
                            Carried(weights, weights_out),       Carried(sums, sums_out),
                            Carried(visited, visited_out),       Carried(finals, finals_out),
                            Carried(final_visits, final_visits_out), Carried(refined, refined_out)};
  OnlineReader reader(tree, neurons, fields, memory, shape, sets.typed_data(), place, true, static_cast<int>(threads));
  return ReadTokens(reader, tree, request, reading);
}

// Reads on without learning. Only what follows the text is returned, because only that may change.
ffi::Error ReadFrozen(WNN_ONLINE_PARAMETERS, WNN_ONLINE_MOVES, WNN_ONLINE_SETTINGS) {
  WNN_CHECK_ONLINE;
  const OnlineMemory memory{slots.typed_data(),   lists.typed_data(),        maps.typed_data(),
                            run_maps.typed_data(), match_maps.typed_data(), recent.typed_data(),    recent_at.typed_data(),
                            weights.typed_data(), sums.typed_data(),         visited.typed_data(),
                            finals.typed_data(),  final_visits.typed_data(), refined.typed_data()};
  OnlineReader reader(tree, neurons, fields, memory, shape, sets.typed_data(), place, false, static_cast<int>(threads));
  return ReadTokens(reader, tree, request, reading);
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnChainLearnOn, LearnOn,
    ffi::Ffi::Bind() WNN_ONLINE_ARGUMENTS
        .Ret<U32Cells>().Ret<U32Cube>().Ret<F32Cube>().Ret<F32Cube>().Ret<F32Cube>().Ret<F32Cube>().Ret<U32>().Ret<F32Matrix>()
        .Ret<F32Matrix>().Ret<U8>().Ret<F32Matrix>().Ret<U32>().Ret<F32Cube>() WNN_ONLINE_MOVED WNN_ONLINE_ATTRIBUTES);

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainOnlineFrozen, ReadFrozen,
                              ffi::Ffi::Bind() WNN_ONLINE_ARGUMENTS WNN_ONLINE_MOVED WNN_ONLINE_ATTRIBUTES);

}  // namespace chain
}  // namespace wnn
