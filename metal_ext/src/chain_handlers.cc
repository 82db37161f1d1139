// The XLA FFI handlers of the chain model: they check every shape and range, and then read, count or write.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "chain.h"
#include "chain_checks.h"
#include "checks.h"
#include "parallel.h"

namespace wnn {
namespace chain {
namespace {

using Slots = ffi::Buffer<ffi::DataType::U32, 4>;
using F32Cube = ffi::Buffer<ffi::DataType::F32, 3>;

ffi::Error CheckSlots(const Slots& slots, const I32& view, int64_t log_slots) {
  WNN_REQUIRE(log_slots >= 2 && log_slots <= 28,
              "log_slots must be 2 to 28, got " + std::to_string(log_slots));
  WNN_REQUIRE(Dim(slots, 0) == Dim(view, 0) && Dim(slots, 1) == int64_t{1} << (log_slots - 2) &&
                  Dim(slots, 2) == kBucket && Dim(slots, 3) == kCell,
              "slots must be [neurons, 2^log_slots / 4, 4, 3]");
  for (int64_t c = 0; c < Dim(view, 0); ++c)
    WNN_REQUIRE(view.typed_data()[c] >= 0 && view.typed_data()[c] < 3, "a view must be 0, 1 or 2");
  return ffi::Error::Success();
}

// Makes zeros on the largest pages that the system gives. Cells are read in random order, and with pages of 4
// KiB most of the time would be spent on translating their addresses.
ffi::Error Zeros(ffi::Result<Slots> result) {
  void* data = result->untyped_data();
  const size_t bytes = result->size_bytes();
#ifdef __linux__
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
  std::memset(data, 0, bytes);
  return ffi::Error::Success();
}

ffi::Error CountStream(ffi::ThreadPool pool, WNN_TREE_PARAMETERS, I32 view, Slots slots, U32Matrix context,
                       I32 tokens, ffi::Result<Slots> result, int64_t log_slots, int64_t sign) {
  WNN_MAKE_TREE;
  WNN_CHECK(CheckSlots(slots, view, log_slots));
  WNN_CHECK(CheckTokens(tokens, Dim(tokens, 0), tree.vocabulary));
  WNN_REQUIRE(Dim(context, 0) == Dim(view, 0) && Dim(context, 1) == Dim(tokens, 0),
              "context must have one hash for each neuron and token");
  WNN_REQUIRE(sign == 1 || sign == -1, "sign must be 1 or -1, got " + std::to_string(sign));
  WNN_CHECK(SameShape(slots, result));
  uint32_t* out = Carried(slots, result);
  const int64_t length = Dim(tokens, 0);
  return Ended(Parallel(pool, Dim(view, 0), [&] {
    return [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c)
        Count(tree, context.typed_data() + c * length, tokens.typed_data(), length, view.typed_data()[c], log_slots,
              static_cast<uint32_t>(sign), out + (c << log_slots) * kCell);
    };
  }));
}

ffi::Error ReadStream(ffi::ThreadPool pool, WNN_TREE_PARAMETERS, I32 view, Slots slots, U32Matrix context,
                      I32 tokens, ffi::Result<I32Matrix> zeros, ffi::Result<I32Matrix> ones, int64_t log_slots) {
  WNN_MAKE_TREE;
  WNN_CHECK(CheckSlots(slots, view, log_slots));
  WNN_CHECK(CheckTokens(tokens, Dim(tokens, 0), tree.vocabulary));
  WNN_REQUIRE(Dim(context, 0) == Dim(view, 0) && Dim(context, 1) == Dim(tokens, 0),
              "context must have one hash for each neuron and token");
  const int64_t length = Dim(tokens, 0);
  int64_t bits = 0;
  for (int64_t t = 0; t < length; ++t)
    bits += tree.start[tokens.typed_data()[t] + 1] - tree.start[tokens.typed_data()[t]];
  const int64_t room = Dim(*zeros, 1);  // a round number, so that texts of several lengths share a program
  WNN_REQUIRE(Dim(*zeros, 0) == Dim(view, 0) && Dim(*ones, 0) == Dim(view, 0) && room >= bits && Dim(*ones, 1) == room,
              "the results need room for one count for each neuron and bit");
  std::memset(zeros->typed_data(), 0, zeros->size_bytes());
  std::memset(ones->typed_data(), 0, ones->size_bytes());
  return Ended(Parallel(pool, Dim(view, 0), [&] {
    return [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c)
        Read(tree, context.typed_data() + c * length, tokens.typed_data(), length, view.typed_data()[c], log_slots,
             slots.typed_data() + (c << log_slots) * kCell, zeros->typed_data() + c * room,
             ones->typed_data() + c * room);
    };
  }));
}

// A memory in the form that XLA passes. A memory that does not learn may lack the sums (gain_sum,
// offset_sum). A static memory may also lack the parts that only an online memory has.
struct MemoryBuffers {
  Slots slots;
  F32Matrix gain, gain_sum, offset, offset_sum, match_share, match_gain;
  F32Cube refined;
  I32 text, match_table;
  U32 registers;
  U32Cube followed;
  U32Matrix line;
};

ffi::Error CheckMemory(const MemoryBuffers& memory, const Tree& tree, int64_t neurons, bool online, bool learn) {
  const int64_t inputs = (neurons * (online ? 2 : 1) + kLanes - 1) / kLanes * kLanes;
  WNN_REQUIRE(Dim(memory.gain, 0) == kGainRows && Dim(memory.gain, 1) == inputs &&
                  Dim(memory.offset, 0) == 2 * kStates && Dim(memory.offset, 1) == inputs,
              "gain and offset must have " + std::to_string(inputs) + " inputs, as the neurons need");
  if (learn)
    WNN_REQUIRE(Dim(memory.gain_sum, 0) == kGainRows && Dim(memory.gain_sum, 1) == inputs &&
                    Dim(memory.offset_sum, 0) == 2 * kStates && Dim(memory.offset_sum, 1) == inputs,
                "gain_sum and offset_sum must have the shapes of gain and offset");
  if (online)
    WNN_REQUIRE(Dim(memory.match_share, 0) == 2 && Dim(memory.match_share, 1) == kMatchLengths &&
                    Dim(memory.match_gain, 0) == 2 && Dim(memory.match_gain, 1) == kMatchLengths &&
                    Dim(memory.refined, 0) == 2 && Dim(memory.refined, 1) == 1 << kRefineLog &&
                    Dim(memory.refined, 2) == kRefineSteps && Dim(memory.match_table, 0) == 1 << kMatchLog &&
                    Dim(memory.text, 0) > 2 * kMatchLengths,
                "the parts of an online memory have the wrong shapes");
  WNN_CHECK(CheckTextState(memory.registers, memory.followed, memory.line, tree.vocabulary));
  if (online) WNN_CHECK(CheckTokens(memory.text, Dim(memory.text, 0), tree.vocabulary));
  return ffi::Error::Success();
}

// Reads a text without its cells: the hash of every neuron's fields, and the classes, at each of its places.
ffi::Error Observe(U32Matrix lexicon, I32Matrix connections, I32 view, U32 registers, U32Cube followed,
                   U32Matrix line, I32 tokens, ffi::Result<U32> registers_out, ffi::Result<U32Cube> followed_out,
                   ffi::Result<U32Matrix> line_out, ffi::Result<U32Matrix> hashes,
                   ffi::Result<I32Matrix> classes) {
  const int64_t vocabulary = Dim(lexicon, 0), length = Dim(tokens, 0);
  WNN_CHECK(CheckNeurons(vocabulary, lexicon, connections, view));
  WNN_CHECK(CheckTextState(registers, followed, line, vocabulary));
  WNN_CHECK(CheckTokens(tokens, length, vocabulary));
  WNN_CHECK(SameShape(registers, registers_out));
  WNN_CHECK(SameShape(followed, followed_out));
  WNN_CHECK(SameShape(line, line_out));
  WNN_REQUIRE(vocabulary > 0 && Dim(*hashes, 0) == Dim(view, 0) && Dim(*hashes, 1) == length &&
                  Dim(*classes, 0) == 2 && Dim(*classes, 1) == length,
              "the results need room for one hash for each neuron and token");
  const TextState state{Carried(registers, registers_out), Carried(followed, followed_out),
                        Carried(line, line_out)};
  const Neurons neurons{connections.typed_data(), view.typed_data(), Dim(view, 0), Dim(connections, 1)};
  TextFields text(lexicon.typed_data(), state);
  uint32_t fields[kFieldRows];
  for (int64_t t = 0; t < length; ++t) {
    text.Read(fields);
    for (int64_t c = 0; c < neurons.count; ++c)
      hashes->typed_data()[c * length + t] = HashFields(neurons, c, fields);
    for (int k = 0; k < 2; ++k)
      classes->typed_data()[k * length + t] = static_cast<int32_t>(fields[kFieldClass61 + k]);
    text.Remember(tokens.typed_data()[t]);
  }
  return ffi::Error::Success();
}

// wnn_jax/chain/backend.py passes the same arguments in the same order.
#define WNN_READ_PARAMETERS                                                                             \
  WNN_TREE_PARAMETERS, U32Matrix lexicon, I32Matrix connections, I32 view, Slots slots, F32Matrix gain, \
      F32Matrix gain_sum, F32Matrix offset, F32Matrix offset_sum, F32Matrix match_share,                \
      F32Matrix match_gain, F32Cube refined, I32 text, I32 match_table, U32 registers, U32Cube followed, \
      U32Matrix line, I32 tokens, F32Matrix chance, I32 count
#define WNN_READ_ARGUMENTS                                                                              \
  WNN_TREE_ARGUMENTS.Arg<U32Matrix>().Arg<I32Matrix>().Arg<I32>().Arg<Slots>().Arg<F32Matrix>()         \
      .Arg<F32Matrix>().Arg<F32Matrix>().Arg<F32Matrix>().Arg<F32Matrix>().Arg<F32Matrix>()             \
      .Arg<F32Cube>().Arg<I32>().Arg<I32>().Arg<U32>().Arg<U32Cube>().Arg<U32Matrix>().Arg<I32>()      \
      .Arg<F32Matrix>().Arg<I32>()
#define WNN_READ_SETTINGS                                                                               \
  int64_t log_slots, int64_t online, int64_t mode, int64_t argmax, float temperature, float top_p,      \
      int64_t callback, float rate
#define WNN_READ_ATTRIBUTES                                                                             \
  .Attr<int64_t>("log_slots").Attr<int64_t>("online").Attr<int64_t>("mode").Attr<int64_t>("argmax")     \
      .Attr<float>("temperature").Attr<float>("top_p").Attr<int64_t>("callback").Attr<float>("rate")
#define WNN_CHECK_READ(learn)                                                                           \
  WNN_MAKE_TREE;                                                                                        \
  WNN_CHECK(CheckSlots(slots, view, log_slots));                                                        \
  WNN_CHECK(CheckNeurons(tree.vocabulary, lexicon, connections, view));                                            \
  const MemoryBuffers buffers{slots,       gain,       gain_sum, offset, offset_sum, match_share,       \
                              match_gain, refined,    text,     match_table, registers,   followed, line};              \
  WNN_CHECK(CheckMemory(buffers, tree, Dim(view, 0), online != 0, learn));                              \
  WNN_REQUIRE(Dim(count, 0) == 1 && rate >= 0 && rate <= 1, "count must be one number, and rate 0 to 1"); \
  const Request request{tokens,      chance, count.typed_data()[0], mode, argmax != 0, temperature,     \
                        top_p, reinterpret_cast<Callback>(callback)};                                   \
  WNN_CHECK(CheckRequest(request, reading, tree));                                                      \
  const Neurons neurons{connections.typed_data(), view.typed_data(), Dim(view, 0), Dim(connections, 1)}; \
  const Settings settings{static_cast<int>(log_slots), online != 0, learn, rate}

#define WNN_MOVED_RESULTS                                                                               \
  ffi::Result<I32> text_out, ffi::Result<I32> match_table_out, ffi::Result<U32> registers_out,          \
      ffi::Result<U32Cube> followed_out, ffi::Result<U32Matrix> line_out
#define WNN_MOVED .Ret<I32>().Ret<I32>().Ret<U32>().Ret<U32Cube>().Ret<U32Matrix>()
#define WNN_CHECK_MOVED                                                                                 \
  WNN_CHECK(SameShape(text, text_out));                                                                 \
  WNN_CHECK(SameShape(match_table, match_table_out));                                                   \
  WNN_CHECK(SameShape(registers, registers_out));                                                       \
  WNN_CHECK(SameShape(followed, followed_out));                                                         \
  WNN_CHECK(SameShape(line, line_out));                                                                 \
  const TextState state{Carried(registers, registers_out), Carried(followed, followed_out),             \
                        Carried(line, line_out)}

// Reads on and learns. All parts of the online memory are returned, because all may change.
ffi::Error ReadOn(WNN_READ_PARAMETERS, ffi::Result<Slots> slots_out, ffi::Result<F32Matrix> gain_out,
                  ffi::Result<F32Matrix> gain_sum_out, ffi::Result<F32Matrix> offset_out,
                  ffi::Result<F32Matrix> offset_sum_out, ffi::Result<F32Matrix> match_share_out,
                  ffi::Result<F32Matrix> match_gain_out, ffi::Result<F32Cube> refined_out, WNN_MOVED_RESULTS,
                  ffi::Result<I32> read, ffi::Result<F32Matrix> ones, ffi::Result<I32> best, WNN_READ_SETTINGS) {
  Reading reading{read, ones, best};
  WNN_REQUIRE(online, "a static memory does not learn as it reads");
  WNN_CHECK_READ(true);
  WNN_CHECK(SameShape(slots, slots_out));
  WNN_CHECK(SameShape(gain, gain_out));
  WNN_CHECK(SameShape(gain_sum, gain_sum_out));
  WNN_CHECK(SameShape(offset, offset_out));
  WNN_CHECK(SameShape(offset_sum, offset_sum_out));
  WNN_CHECK(SameShape(match_share, match_share_out));
  WNN_CHECK(SameShape(match_gain, match_gain_out));
  WNN_CHECK(SameShape(refined, refined_out));
  WNN_CHECK_MOVED;
  const Memory memory{Carried(slots, slots_out),
                      Carried(gain, gain_out),
                      Carried(gain_sum, gain_sum_out),
                      Carried(offset, offset_out),
                      Carried(offset_sum, offset_sum_out),
                      Carried(match_share, match_share_out),
                      Carried(match_gain, match_gain_out),
                      Carried(refined, refined_out),
                      Carried(text, text_out),
                      Carried(match_table, match_table_out),
                      state,
                      Dim(text, 0)};
  Reader reader(tree, lexicon.typed_data(), neurons, memory, settings);
  return ReadTokens(reader, tree, request, reading);
}

// Reads on without learning. Only the text and its state are returned, because only they may change.
ffi::Error ReadFrozen(WNN_READ_PARAMETERS, WNN_MOVED_RESULTS, ffi::Result<I32> read,
                      ffi::Result<F32Matrix> ones, ffi::Result<I32> best, WNN_READ_SETTINGS) {
  Reading reading{read, ones, best};
  WNN_CHECK_READ(false);
  WNN_CHECK_MOVED;
  const Memory memory{slots.typed_data(),
                      gain.typed_data(),
                      gain_sum.typed_data(),
                      offset.typed_data(),
                      offset_sum.typed_data(),
                      match_share.typed_data(),
                      match_gain.typed_data(),
                      refined.typed_data(),
                      Carried(text, text_out),
                      Carried(match_table, match_table_out),
                      state,
                      Dim(text, 0)};
  Reader reader(tree, lexicon.typed_data(), neurons, memory, settings);
  return ReadTokens(reader, tree, request, reading);
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainZeros, Zeros, ffi::Ffi::Bind().Ret<Slots>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainObserve, Observe,
                              ffi::Ffi::Bind().Arg<U32Matrix>().Arg<I32Matrix>().Arg<I32>().Arg<U32>()
                                  .Arg<U32Cube>().Arg<U32Matrix>().Arg<I32>().Ret<U32>().Ret<U32Cube>()
                                  .Ret<U32Matrix>().Ret<U32Matrix>().Ret<I32Matrix>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainCount, CountStream,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_TREE_ARGUMENTS.Arg<I32>()
                                  .Arg<Slots>().Arg<U32Matrix>().Arg<I32>().Ret<Slots>()
                                  .Attr<int64_t>("log_slots").Attr<int64_t>("sign"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainRead, ReadStream,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_TREE_ARGUMENTS.Arg<I32>()
                                  .Arg<Slots>().Arg<U32Matrix>().Arg<I32>().Ret<I32Matrix>().Ret<I32Matrix>()
                                  .Attr<int64_t>("log_slots"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnChainReadOn, ReadOn,
    ffi::Ffi::Bind() WNN_READ_ARGUMENTS
        .Ret<Slots>().Ret<F32Matrix>().Ret<F32Matrix>().Ret<F32Matrix>().Ret<F32Matrix>().Ret<F32Matrix>()
        .Ret<F32Matrix>().Ret<F32Cube>() WNN_MOVED.Ret<I32>().Ret<F32Matrix>().Ret<I32>()
        WNN_READ_ATTRIBUTES);

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainReadFrozen, ReadFrozen,
                              ffi::Ffi::Bind() WNN_READ_ARGUMENTS WNN_MOVED.Ret<I32>().Ret<F32Matrix>()
                                  .Ret<I32>() WNN_READ_ATTRIBUTES);

}  // namespace chain
}  // namespace wnn
