// The XLA FFI handlers that all chain models use: they make tables, and read the fields of a text.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "chain_checks.h"
#include "chain_fields.h"

namespace wnn {
namespace chain {
namespace {

using Slots = ffi::Buffer<ffi::DataType::U32, 4>;

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

// Reads a text without its cells: the hash of every neuron's fields, and the shapes of the last two tokens, at each of its places.
ffi::Error Observe(U32Matrix lexicon, I32Matrix connections, I32 view, U32 registers, U32Cube followed,
                   U32Matrix line, I32 tokens, ffi::Result<U32> registers_out, ffi::Result<U32Cube> followed_out,
                   ffi::Result<U32Matrix> line_out, ffi::Result<U32Matrix> hashes,
                   ffi::Result<I32Matrix> shapes) {
  const int64_t vocabulary = Dim(lexicon, 0), length = Dim(tokens, 0);
  WNN_CHECK(CheckNeurons(vocabulary, lexicon, connections, view));
  WNN_CHECK(CheckTextState(registers, followed, line, vocabulary));
  WNN_CHECK(CheckTokens(tokens, length, vocabulary));
  WNN_CHECK(SameShape(registers, registers_out));
  WNN_CHECK(SameShape(followed, followed_out));
  WNN_CHECK(SameShape(line, line_out));
  WNN_REQUIRE(vocabulary > 0 && Dim(*hashes, 0) == Dim(view, 0) && Dim(*hashes, 1) == length &&
                  Dim(*shapes, 0) == 2 && Dim(*shapes, 1) == length,
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
      shapes->typed_data()[k * length + t] =
          static_cast<int32_t>(std::min<uint32_t>(fields[kFieldShape1 + k], kShapes - 1));
    text.Remember(tokens.typed_data()[t]);
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainZeros, Zeros, ffi::Ffi::Bind().Ret<Slots>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(WnnChainObserve, Observe,
                              ffi::Ffi::Bind().Arg<U32Matrix>().Arg<I32Matrix>().Arg<I32>().Arg<U32>()
                                  .Arg<U32Cube>().Arg<U32Matrix>().Arg<I32>().Ret<U32>().Ret<U32Cube>()
                                  .Ret<U32Matrix>().Ret<U32Matrix>().Ret<I32Matrix>());

}  // namespace chain
}  // namespace wnn
