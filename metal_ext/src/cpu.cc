// RAM tables on the CPU, as XLA FFI handlers. The contract is wnn_jax/kernels.py, bit for bit.
//
// One thread holds one neuron's row while all examples pass. The fused kernel keeps no table, so it may
// store the row as it likes: net votes in 16 bits, count pairs in 2 x 16, quad cells in 2 bits, and
// addresses in the order in which the processor extracts bits. write and read work on XLA's tables and
// form XLA's addresses.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include "addresses.h"
#include "parallel.h"
#include "row.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace wnn {
namespace {

struct Neurons {
  const int32_t *connections, *cluster, *row;
  const uint32_t* seed;
  int64_t count, bits;

  const int32_t* of(int64_t neuron) const { return connections + neuron * bits; }
  bool absent(int64_t neuron) const {
    return std::all_of(of(neuron), of(neuron) + bits, [](int32_t c) { return c < 0; });
  }
};

struct Stream {
  const uint32_t *words, *place;
  const bool *targets, *weight;
  int64_t count;
};

struct Inputs {
  const uint32_t* words;
  int64_t count;
};

using I32 = ffi::Buffer<ffi::DataType::S32, 1>;
using U32 = ffi::Buffer<ffi::DataType::U32, 1>;
using Bool = ffi::Buffer<ffi::DataType::PRED, 1>;
using F32 = ffi::Buffer<ffi::DataType::F32, 1>;
using I32Matrix = ffi::Buffer<ffi::DataType::S32, 2>;
using U32Matrix = ffi::Buffer<ffi::DataType::U32, 2>;
using BoolMatrix = ffi::Buffer<ffi::DataType::PRED, 2>;
using Values = ffi::Span<const int32_t>;

ffi::Error Invalid(const std::string& message) {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "wnn: " + message);
}

#define WNN_REQUIRE(condition, message) \
  if (!(condition)) return Invalid(message)

template <typename Buffer>
int64_t Dim(const Buffer& buffer, int axis) {
  return buffer.dimensions()[axis];
}

ffi::Error CheckNeurons(const I32Matrix& connections, const U32& seed, const I32& cluster, const I32& row,
                        int64_t words, int64_t clusters, int64_t rows) {
  const int64_t count = Dim(connections, 0), bits = Dim(connections, 1);
  WNN_REQUIRE(bits >= 1 && bits <= kMaxBits, "1 to 24 address bits, got " + std::to_string(bits));
  WNN_REQUIRE(words <= kMaxWords, "at most 1024 input bits, got " + std::to_string(32 * words));
  WNN_REQUIRE(Dim(seed, 0) == count && Dim(cluster, 0) == count && Dim(row, 0) == count,
              "seed, cluster and row need one entry a neuron");
  for (int64_t i = 0; i < count * bits; ++i) {
    const int32_t source = connections.typed_data()[i];
    WNN_REQUIRE(source >= -1 && source < 32 * words,
                "connection " + std::to_string(source) + " outside " + std::to_string(32 * words) + " bits");
  }
  for (int64_t i = 0; i < count; ++i) {
    WNN_REQUIRE(cluster.typed_data()[i] >= 0 && cluster.typed_data()[i] < clusters, "cluster out of range");
    WNN_REQUIRE(row.typed_data()[i] >= 0 && row.typed_data()[i] < rows, "row out of range");
  }
  return ffi::Error::Success();
}

ffi::Error CheckStream(const U32Matrix& words, const BoolMatrix& targets, const Bool& weight, const U32& place) {
  const int64_t count = Dim(words, 1);
  WNN_REQUIRE(Dim(targets, 1) == count && Dim(weight, 0) == count && Dim(place, 0) == count,
              "words, targets, weight and place differ in their examples");
  return ffi::Error::Success();
}

ffi::Error CheckConfig(int64_t kind, Values values, int64_t threshold) {
  WNN_REQUIRE(kind >= kTernary && kind <= kCount, "unknown kind of cell");
  const size_t need = kind == kTernary ? 3 : kind == kQuad ? 4 : 0;
  WNN_REQUIRE(values.size() == need, "wrong number of read values");
  WNN_REQUIRE(threshold >= 0 && threshold <= 0xFFFFFFFF, "threshold out of range");
  return ffi::Error::Success();
}

#define WNN_CHECK(expression) \
  if (ffi::Error error = (expression); error.failure()) return error

Neurons MakeNeurons(const I32Matrix& connections, const U32& seed, const I32& cluster, const I32& row) {
  return {connections.typed_data(), cluster.typed_data(), row.typed_data(), seed.typed_data(),
          Dim(connections, 0), Dim(connections, 1)};
}

Stream MakeStream(const U32Matrix& words, const BoolMatrix& targets, const Bool& weight, const U32& place) {
  return {words.typed_data(), place.typed_data(), targets.typed_data(), weight.typed_data(), Dim(words, 1)};
}

// The signed amounts of one block for one neuron; `buffer` is kBlock long.
void BlockAmounts(const Stream& stream, const Config& config, int64_t cluster, uint32_t seed, int64_t begin,
                  int64_t size, int8_t* buffer) {
  Amounts(stream.targets + cluster * stream.count + begin, stream.weight + begin, size, buffer);
  if (config.threshold) Sample(seed, config.threshold, stream.place + begin, size, buffer, buffer);
}

// ------------------------------------------------------------------------------------------- handlers

ffi::Error FitAndRead(ffi::ThreadPool pool, I32Matrix connections, U32 seed, I32 cluster, I32 row,
                      U32Matrix words, BoolMatrix targets, Bool weight, U32 place, F32 prior,
                      U32Matrix evaluated, ffi::Result<I32Matrix> votes, int64_t kind, Values values,
                      int64_t threshold) {
  WNN_CHECK(CheckConfig(kind, values, threshold));
  WNN_CHECK(CheckStream(words, targets, weight, place));
  const int64_t rows = Dim(words, 0);
  WNN_CHECK(CheckNeurons(connections, seed, cluster, row, rows, Dim(targets, 0), Dim(*votes, 0)));
  WNN_REQUIRE(Dim(evaluated, 0) == rows, "training and evaluated words differ in their bits");
  WNN_REQUIRE(Dim(prior, 0) == Dim(targets, 0), "one prior a cluster");
  WNN_REQUIRE(Dim(*votes, 1) == Dim(evaluated, 1), "one vote an evaluated example");

  const Neurons neurons = MakeNeurons(connections, seed, cluster, row);
  const Stream stream = MakeStream(words, targets, weight, place);
  const Inputs inputs{evaluated.typed_data(), Dim(evaluated, 1)};
  const Config config{static_cast<Kind>(kind), values.begin(), static_cast<uint32_t>(threshold)};
  const float* priors = prior.typed_data();
  int32_t* out = votes->typed_data();
  std::memset(out, 0, votes->size_bytes());
  std::mutex mutex;
  const bool extract = FastExtract();

  return Parallel(pool, neurons.count, [&] {
    return [&, cells = std::make_unique<Row>(config.kind, neurons.bits),
            ballot = std::make_unique<Ballot>(out, inputs.count, &mutex)](int64_t begin, int64_t end) {
      alignas(64) uint32_t address[kBlock + kAhead] = {};
      alignas(64) int8_t amount[kBlock];
      for (int64_t j = begin; j < end; ++j) {
        if (neurons.absent(j)) continue;
        const Extraction extraction(neurons.of(j), neurons.bits);
        auto form = [&](const uint32_t* words, int64_t stride, int64_t at, int64_t size) {
          if (extract)
            ExtractedAddresses(words, stride, rows, extraction, at, size, address);
          else
            OrderedAddresses(words, stride, neurons.of(j), neurons.bits, at, size, address);
        };
        cells->Clear(extract ? extraction.bits : neurons.bits);
        for (int64_t at = 0; at < stream.count; at += kBlock) {
          const int64_t size = std::min(kBlock, stream.count - at);
          form(stream.words, stream.count, at, size);
          BlockAmounts(stream, config, neurons.cluster[j], neurons.seed[j], at, size, amount);
          cells->Write(address, amount, size);
        }
        cells->Finish();
        int32_t* mine = ballot->For(neurons.row[j]);
        for (int64_t at = 0; at < inputs.count; at += kBlock) {
          const int64_t size = std::min(kBlock, inputs.count - at);
          form(inputs.words, inputs.count, at, size);
          cells->Read(address, size, config, priors[neurons.cluster[j]], mine + at);
        }
      }
    };
  });
}

ffi::Error CheckTable(const ffi::AnyBuffer& table, const Neurons& neurons, Kind kind) {
  const auto wanted = kind == kQuad ? ffi::DataType::S8 : ffi::DataType::S32;
  const int64_t width = (kind == kCount ? 2 : 1) * (int64_t{1} << neurons.bits);
  WNN_REQUIRE(table.element_type() == wanted, "the table has the wrong type");
  // In whatever shape it has: reshaping it first would cost XLA a copy.
  WNN_REQUIRE(static_cast<int64_t>(table.element_count()) == neurons.count * width,
              "the table must hold " + std::to_string(width) + " numbers a neuron");
  return ffi::Error::Success();
}

ffi::Error Write(ffi::ThreadPool pool, ffi::AnyBuffer table, I32Matrix connections, U32 seed, I32 cluster,
                 I32 row, U32Matrix words, BoolMatrix targets, Bool weight, U32 place,
                 ffi::Result<ffi::AnyBuffer> result, int64_t kind, Values values, int64_t threshold) {
  WNN_CHECK(CheckConfig(kind, values, threshold));
  WNN_CHECK(CheckStream(words, targets, weight, place));
  WNN_CHECK(CheckNeurons(connections, seed, cluster, row, Dim(words, 0), Dim(targets, 0), Dim(targets, 0)));
  const Neurons neurons = MakeNeurons(connections, seed, cluster, row);
  const Stream stream = MakeStream(words, targets, weight, place);
  const Config config{static_cast<Kind>(kind), values.begin(), static_cast<uint32_t>(threshold)};
  WNN_CHECK(CheckTable(table, neurons, config.kind));
  WNN_CHECK(CheckTable(*result, neurons, config.kind));
  if (result->untyped_data() != table.untyped_data())
    std::memcpy(result->untyped_data(), table.untyped_data(), table.size_bytes());

  return Parallel(pool, neurons.count, [&] {
    return [&](int64_t begin, int64_t end) {
      alignas(64) uint32_t address[kBlock];
      alignas(64) int8_t amount[kBlock];
      for (int64_t j = begin; j < end; ++j) {
        if (neurons.absent(j)) continue;
        int32_t* wide = static_cast<int32_t*>(result->untyped_data()) +
                        j * ((config.kind == kCount ? 2 : 1) * (int64_t{1} << neurons.bits));
        int8_t* quad = static_cast<int8_t*>(result->untyped_data()) + j * (int64_t{1} << neurons.bits);
        for (int64_t at = 0; at < stream.count; at += kBlock) {
          const int64_t size = std::min(kBlock, stream.count - at);
          OrderedAddresses(stream.words, stream.count, neurons.of(j), neurons.bits, at, size, address);
          BlockAmounts(stream, config, neurons.cluster[j], neurons.seed[j], at, size, amount);
          for (int64_t i = 0; i < size; ++i) {
            if (config.kind == kTernary)
              wide[address[i]] += amount[i];
            else if (config.kind == kCount)
              wide[2 * address[i] + (amount[i] > 0)] += amount[i] != 0;
            else
              quad[address[i]] = static_cast<int8_t>(Nudge(quad[address[i]], amount[i]));
          }
        }
      }
    };
  });
}

ffi::Error Read(ffi::ThreadPool pool, ffi::AnyBuffer table, I32Matrix connections, U32 seed, I32 cluster,
                I32 row, F32 prior, U32Matrix words, ffi::Result<I32Matrix> votes, int64_t kind,
                Values values, int64_t threshold) {
  WNN_CHECK(CheckConfig(kind, values, threshold));
  WNN_CHECK(
      CheckNeurons(connections, seed, cluster, row, Dim(words, 0), Dim(prior, 0), Dim(*votes, 0)));
  WNN_REQUIRE(Dim(*votes, 1) == Dim(words, 1), "one vote an example");
  const Neurons neurons = MakeNeurons(connections, seed, cluster, row);
  const Config config{static_cast<Kind>(kind), values.begin(), 0};
  WNN_CHECK(CheckTable(table, neurons, config.kind));
  const Inputs inputs{words.typed_data(), Dim(words, 1)};
  const float* priors = prior.typed_data();
  int32_t* out = votes->typed_data();
  std::memset(out, 0, votes->size_bytes());
  std::mutex mutex;

  return Parallel(pool, neurons.count, [&] {
    return [&, ballot = std::make_unique<Ballot>(out, inputs.count, &mutex)](int64_t begin, int64_t end) {
      alignas(64) uint32_t address[kBlock];
      alignas(64) int32_t zeros[kBlock], ones[kBlock];
      for (int64_t j = begin; j < end; ++j) {
        if (neurons.absent(j)) continue;
        const int32_t* wide = static_cast<const int32_t*>(table.untyped_data()) +
                              j * ((config.kind == kCount ? 2 : 1) * (int64_t{1} << neurons.bits));
        const int8_t* quad = static_cast<const int8_t*>(table.untyped_data()) + j * (int64_t{1} << neurons.bits);
        int32_t* mine = ballot->For(neurons.row[j]);
        for (int64_t at = 0; at < inputs.count; at += kBlock) {
          const int64_t size = std::min(kBlock, inputs.count - at);
          OrderedAddresses(inputs.words, inputs.count, neurons.of(j), neurons.bits, at, size, address);
          if (config.kind == kCount) {
            for (int64_t i = 0; i < size; ++i) {
              zeros[i] = wide[2 * address[i]];
              ones[i] = wide[2 * address[i] + 1];
            }
            AddCountVotes(zeros, ones, priors[neurons.cluster[j]], size, mine + at);
          } else {
            for (int64_t i = 0; i < size; ++i) {
              const int vote = config.kind == kTernary ? wide[address[i]] : 0;
              const int cell = config.kind == kTernary ? (vote > 0) - (vote < 0) + 1 : quad[address[i]] & 3;
              mine[at + i] += config.values[cell];
            }
          }
        }
      }
    };
  });
}

}  // namespace
}  // namespace wnn

#define WNN_NEURONS .Arg<wnn::I32Matrix>().Arg<wnn::U32>().Arg<wnn::I32>().Arg<wnn::I32>()
#define WNN_STREAM .Arg<wnn::U32Matrix>().Arg<wnn::BoolMatrix>().Arg<wnn::Bool>().Arg<wnn::U32>()
#define WNN_CONFIG .Attr<int64_t>("kind").Attr<wnn::Values>("values").Attr<int64_t>("threshold")

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnFitAndRead, wnn::FitAndRead,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_NEURONS WNN_STREAM.Arg<wnn::F32>().Arg<wnn::U32Matrix>().Ret<wnn::I32Matrix>()
        WNN_CONFIG);

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnWrite, wnn::Write,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<ffi::AnyBuffer>() WNN_NEURONS WNN_STREAM.Ret<ffi::AnyBuffer>()
        WNN_CONFIG);

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnRead, wnn::Read,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<ffi::AnyBuffer>() WNN_NEURONS.Arg<wnn::F32>().Arg<wnn::U32Matrix>().Ret<wnn::I32Matrix>()
        WNN_CONFIG);
