// The XLA FFI handlers: they check every shape and range, and then pass plain views to the CPU or to Metal.

#include <cstdint>
#include <cstring>
#include <string>

#include "checks.h"
#include "cpu.h"
#include "layer.h"
#include "metal.h"
#include "probe.h"

namespace wnn {
namespace {

using Values = ffi::Span<const int32_t>;

ffi::Error CheckNeurons(const I32Matrix& connections, const U32& seed, const I32& cluster, const I32& row,
                        int64_t words, int64_t clusters, int64_t rows) {
  const int64_t count = Dim(connections, 0), bits = Dim(connections, 1);
  WNN_REQUIRE(bits >= 1 && bits <= kMaxBits,
              "a neuron takes 1 to 24 address bits, got " + std::to_string(bits));
  WNN_REQUIRE(words <= kMaxWords,
              "the kernels take at most 1024 input bits, got " + std::to_string(32 * words));
  WNN_REQUIRE(Dim(seed, 0) == count && Dim(cluster, 0) == count && Dim(row, 0) == count,
              "seed, cluster and row need one entry for each neuron");
  for (int64_t i = 0; i < count * bits; ++i) {
    const int32_t source = connections.typed_data()[i];
    WNN_REQUIRE(source >= -1 && source < 32 * words,
                "connection " + std::to_string(source) + " is outside the " + std::to_string(32 * words) +
                    " input bits");
  }
  for (int64_t i = 0; i < count; ++i) {
    WNN_REQUIRE(cluster.typed_data()[i] >= 0 && cluster.typed_data()[i] < clusters,
                "a cluster out of range: give numbers of clusters that have targets");
    WNN_REQUIRE(row.typed_data()[i] >= 0 && row.typed_data()[i] < rows,
                "a row out of range: give numbers of rows of the votes");
  }
  return ffi::Error::Success();
}

ffi::Error CheckStream(const U32Matrix& words, const BoolMatrix& targets, const Bool& weight, const U32& place,
                       const I32Matrix& span) {
  const int64_t count = Dim(words, 1), clusters = Dim(targets, 0);
  WNN_REQUIRE(Dim(targets, 1) == count && Dim(weight, 0) == count && Dim(place, 0) == count,
              "words, targets, weight and place differ in the number of examples");
  WNN_REQUIRE(Dim(span, 0) == clusters && Dim(span, 1) == 2, "span needs one span for each cluster");
  for (int64_t k = 0; k < clusters; ++k) {
    const int32_t *ends = span.typed_data() + 2 * k;
    WNN_REQUIRE(ends[0] >= 0 && ends[0] <= ends[1] && ends[1] <= count,
                "a span outside the examples: give a begin and an end of them");
  }
  return ffi::Error::Success();
}

ffi::Error CheckConfig(int64_t kind, Values values, int64_t threshold, int64_t device) {
  WNN_REQUIRE(kind >= kTernary && kind <= kTrueWins, "unknown kind of cell: use 0 to 3");
  const size_t need = kind == kTernary ? 3 : kind == kCount ? 0 : 4;
  WNN_REQUIRE(values.size() == need, "wrong number of read values: this kind needs " + std::to_string(need));
  WNN_REQUIRE(threshold >= 0 && threshold <= 0xFFFFFFFF, "threshold out of range: use 0 to 2^32 - 1");
  WNN_REQUIRE(device >= metal::kNever && device <= metal::kAlways, "unknown device: use 0, 1 or 2");
  WNN_REQUIRE(device != metal::kAlways || !metal::DeviceName().empty(),
              "there is no Metal device: use device 0");
  return ffi::Error::Success();
}

ffi::Error CheckTable(const ffi::AnyBuffer& table, const Neurons& neurons, const Config& config) {
  const auto wanted = config.byte() ? ffi::DataType::S8 : ffi::DataType::S32;
  const int64_t width = config.width(neurons.bits);
  WNN_REQUIRE(table.element_type() == wanted,
              "the table has the wrong type: use int8 for quad and TRUE-wins cells, int32 for others");
  // Any shape is accepted, because XLA would copy the table to reshape it.
  WNN_REQUIRE(static_cast<int64_t>(table.element_count()) == neurons.count * width,
              "the table must hold " + std::to_string(width) + " numbers for each neuron");
  return ffi::Error::Success();
}

Neurons MakeNeurons(const I32Matrix& connections, const U32& seed, const I32& cluster, const I32& row) {
  return {connections.typed_data(), cluster.typed_data(), row.typed_data(), seed.typed_data(),
          Dim(connections, 0), Dim(connections, 1)};
}

Stream MakeStream(const U32Matrix& words, const BoolMatrix& targets, const Bool& weight, const U32& place,
                  const I32Matrix& span) {
  return {words.typed_data(), place.typed_data(), static_cast<const uint8_t*>(targets.untyped_data()),
          static_cast<const uint8_t*>(weight.untyped_data()),
          span.typed_data(), Dim(words, 1), Dim(words, 0), Dim(targets, 0)};
}

Inputs MakeInputs(const U32Matrix& words, const F32& prior) {
  return {words.typed_data(), Dim(words, 1), Dim(words, 0), prior.typed_data(), Dim(prior, 0)};
}

Config MakeConfig(int64_t kind, Values values, int64_t threshold) {
  return {static_cast<Kind>(kind), values.begin(), static_cast<uint32_t>(threshold)};
}

ffi::Error EndedOnMetal(const std::string& failure) {
  if (failure.empty()) return ffi::Error::Success();
  return ffi::Error(ffi::ErrorCode::kInternal, "wnn: Metal: " + failure);
}

ffi::Error FitAndRead(ffi::ThreadPool pool, I32Matrix connections, U32 seed, I32 cluster, I32 row,
                      U32Matrix words, BoolMatrix targets, Bool weight, U32 place, I32Matrix span, F32 prior,
                      U32Matrix evaluated, ffi::Result<I32Matrix> result, int64_t kind, Values values,
                      int64_t threshold, int64_t device) {
  WNN_CHECK(CheckConfig(kind, values, threshold, device));
  WNN_CHECK(CheckStream(words, targets, weight, place, span));
  const int64_t rows = Dim(words, 0);
  WNN_CHECK(CheckNeurons(connections, seed, cluster, row, rows, Dim(targets, 0), Dim(*result, 0)));
  WNN_REQUIRE(Dim(evaluated, 0) == rows, "training and evaluated words differ in the number of bits");
  WNN_REQUIRE(Dim(prior, 0) == Dim(targets, 0), "prior needs one prior for each cluster");
  WNN_REQUIRE(Dim(*result, 1) == Dim(evaluated, 1), "the result needs one vote for each evaluated example");

  const Neurons neurons = MakeNeurons(connections, seed, cluster, row);
  const Stream stream = MakeStream(words, targets, weight, place, span);
  const Inputs inputs = MakeInputs(evaluated, prior);
  const Config config = MakeConfig(kind, values, threshold);
  const Votes votes{result->typed_data(), Dim(*result, 0)};
  if (stream.Whole() && metal::Takes(device, neurons, config, stream.count + inputs.count, 0))
    return EndedOnMetal(metal::FitAndRead(neurons, stream, config, inputs, votes));
  return Ended(cpu::FitAndRead(pool, neurons, stream, config, inputs, votes));
}

ffi::Error Write(ffi::ThreadPool pool, ffi::AnyBuffer table, I32Matrix connections, U32 seed, I32 cluster,
                 I32 row, U32Matrix words, BoolMatrix targets, Bool weight, U32 place, I32Matrix span,
                 ffi::Result<ffi::AnyBuffer> result, int64_t kind, Values values, int64_t threshold,
                 int64_t device) {
  WNN_CHECK(CheckConfig(kind, values, threshold, device));
  WNN_CHECK(CheckStream(words, targets, weight, place, span));
  WNN_CHECK(CheckNeurons(connections, seed, cluster, row, Dim(words, 0), Dim(targets, 0), Dim(targets, 0)));
  const Neurons neurons = MakeNeurons(connections, seed, cluster, row);
  const Stream stream = MakeStream(words, targets, weight, place, span);
  const Config config = MakeConfig(kind, values, threshold);
  WNN_CHECK(CheckTable(table, neurons, config));
  WNN_CHECK(CheckTable(*result, neurons, config));
  void* cells = result->untyped_data();
  if (cells != table.untyped_data()) std::memcpy(cells, table.untyped_data(), table.size_bytes());
  if (stream.Whole() && metal::Takes(device, neurons, config, stream.count, table.size_bytes()))
    return EndedOnMetal(metal::Write(neurons, stream, config, cells));
  return Ended(cpu::Write(pool, neurons, stream, config, cells));
}

ffi::Error Read(ffi::ThreadPool pool, ffi::AnyBuffer table, I32Matrix connections, U32 seed, I32 cluster,
                I32 row, F32 prior, U32Matrix words, ffi::Result<I32Matrix> result, int64_t kind,
                Values values, int64_t threshold, int64_t device) {
  WNN_CHECK(CheckConfig(kind, values, threshold, device));
  WNN_CHECK(CheckNeurons(connections, seed, cluster, row, Dim(words, 0), Dim(prior, 0), Dim(*result, 0)));
  WNN_REQUIRE(Dim(*result, 1) == Dim(words, 1), "the result needs one vote for each example");
  const Neurons neurons = MakeNeurons(connections, seed, cluster, row);
  const Inputs inputs = MakeInputs(words, prior);
  const Config config = MakeConfig(kind, values, 0);
  const Votes votes{result->typed_data(), Dim(*result, 0)};
  WNN_CHECK(CheckTable(table, neurons, config));
  if (metal::Takes(device, neurons, config, inputs.count, table.size_bytes()))
    return EndedOnMetal(metal::Read(neurons, inputs, config, table.untyped_data(), votes));
  return Ended(cpu::Read(pool, neurons, inputs, config, table.untyped_data(), votes));
}

ffi::Error Probe(ffi::ThreadPool pool, ffi::Result<U32> result, int64_t row_bytes, int64_t touches) {
  WNN_REQUIRE(row_bytes >= 1 && row_bytes <= int64_t{1} << 32, "row_bytes must be 1 to 2^32");
  WNN_REQUIRE(touches >= 0, "touches must be 0 or more");
  return Ended(probe::Touch(pool, row_bytes, touches, result->typed_data(), Dim(*result, 0)));
}

}  // namespace
}  // namespace wnn

// Returns the name of the Metal device, or "". wnn_jax asks for it before it forces Metal.
extern "C" __attribute__((visibility("default"))) const char* WnnMetalDevice() {
  static const std::string name = wnn::metal::DeviceName();
  return name.c_str();
}

#define WNN_NEURONS .Arg<wnn::I32Matrix>().Arg<wnn::U32>().Arg<wnn::I32>().Arg<wnn::I32>()
#define WNN_STREAM \
  .Arg<wnn::U32Matrix>().Arg<wnn::BoolMatrix>().Arg<wnn::Bool>().Arg<wnn::U32>().Arg<wnn::I32Matrix>()
#define WNN_INPUTS .Arg<wnn::F32>().Arg<wnn::U32Matrix>()
#define WNN_CONFIG \
  .Attr<int64_t>("kind").Attr<wnn::Values>("values").Attr<int64_t>("threshold").Attr<int64_t>("device")

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnFitAndRead, wnn::FitAndRead,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() WNN_NEURONS WNN_STREAM WNN_INPUTS.Ret<wnn::I32Matrix>() WNN_CONFIG);

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnWrite, wnn::Write,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<ffi::AnyBuffer>() WNN_NEURONS WNN_STREAM.Ret<ffi::AnyBuffer>()
        WNN_CONFIG);

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnRead, wnn::Read,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<ffi::AnyBuffer>() WNN_NEURONS WNN_INPUTS.Ret<wnn::I32Matrix>()
        WNN_CONFIG);

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    WnnProbe, wnn::Probe,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Ret<wnn::U32>().Attr<int64_t>("row_bytes").Attr<int64_t>("touches"));
