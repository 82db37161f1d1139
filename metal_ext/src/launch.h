// Turns a call into launches of the kernels in tables.metal.
//
// On a Mac a Device is that of metal.mm. In the tests it is CPU threads, so the tests check all but the calls
// of Apple's framework. A Device has
//   Buffer Input(const void*, bytes), Output(void*, bytes) (read and written), Scratch(bytes);
//   void Run(Kernel, const Params&, std::vector<Buffer>, width, height, shared), which launches a kernel
//     after the earlier ones: on a grid of width x height threads, or for kWriteShared on `height`
//     threadgroups that share `shared` bytes each. The grid may be larger than asked for;
//   std::string Finish(), which waits, copies every Output back, and returns an error message or an empty
//   string.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "layer.h"

namespace wnn {
namespace metal {

using uint = uint32_t;
#include "params.h"

enum Kernel { kClear, kWriteShared, kWriteSums, kWriteBytes, kReadCells, kKernels };
constexpr const char* kKernelNames[kKernels] = {"clear", "write_shared", "write_sums", "write_bytes",
                                                "read_cells"};

// These numbers are guesses: none was measured on a Mac.
constexpr int64_t kSharedBytes = 16 << 10;     // lets two threadgroups run on a core
constexpr int64_t kScratchBytes = 512 << 20;   // memory for the rows of one chunk of neurons
constexpr int64_t kByteExamples = 64 << 10;    // examples of one launch; a GPU stops one that takes seconds

template <typename Device>
class Launches {
  using Buffer = typename Device::Buffer;

 public:
  Launches(Device& device, const Neurons& neurons, const Config& config)
      : device_(device), config_(config), bits_(neurons.bits) {
    connections_ = device.Input(neurons.connections, neurons.count * neurons.bits * 4);
    seed_ = device.Input(neurons.seed, neurons.count * 4);
    cluster_ = device.Input(neurons.cluster, neurons.count * 4);
    row_ = device.Input(neurons.row, neurons.count * 4);
  }

  // Writes the stream into the rows of neurons [first, first + count), which begin at `table`.
  void Write(const Stream& stream, Buffer table, int64_t first, int64_t count) {
    if (words_ == Buffer{}) {
      words_ = device_.Input(stream.words, stream.rows * stream.count * 4);
      targets_ = device_.Input(stream.targets, stream.clusters * stream.count);
      weight_ = device_.Input(stream.weight, stream.count);
      place_ = device_.Input(stream.place, stream.count * 4);
    }
    const std::vector<Buffer> buffers = {connections_, seed_, cluster_, words_, targets_, weight_, place_, table};
    Params params = Launch(first, count, stream.count);
    const int64_t row_bytes = config_.row_bytes(bits_);
    if (config_.byte()) {
      for (int64_t at = 0; at < stream.count; at += kByteExamples) {
        params.begin = static_cast<uint>(at);
        params.end = static_cast<uint>(std::min(stream.count, at + kByteExamples));
        device_.Run(kWriteBytes, params, buffers, count, 1, 0);
      }
    } else if (row_bytes <= kSharedBytes) {
      device_.Run(kWriteShared, params, buffers, 1, count, row_bytes);
    } else {
      device_.Run(kWriteSums, params, buffers, stream.count, count, 0);
    }
  }

  // Adds the votes of neurons [first, first + count), whose rows begin at `table`.
  void Read(const Inputs& inputs, Buffer table, const Votes& votes, int64_t first, int64_t count) {
    if (votes_ == Buffer{}) {
      prior_ = device_.Input(inputs.prior, inputs.clusters * 4);
      values_ = device_.Input(config_.values, config_.kind == kTernary ? 12 : config_.kind == kCount ? 0 : 16);
      evaluated_ = device_.Input(inputs.words, inputs.rows * inputs.count * 4);
      std::memset(votes.data, 0, votes.rows * inputs.count * 4);
      votes_ = device_.Output(votes.data, votes.rows * inputs.count * 4);
    }
    device_.Run(kReadCells, Launch(first, count, inputs.count),
                {connections_, cluster_, row_, prior_, values_, evaluated_, table, votes_}, inputs.count, count, 0);
  }

  void Clear(Buffer table, int64_t count) {
    Params params = {};
    params.words = static_cast<uint>((count * config_.row_bytes(bits_) + 3) / 4);
    params.fill = config_.kind == kQuad ? 0x01010101u : 0;
    device_.Run(kClear, params, {table}, params.words, 1, 0);
  }

 private:
  Params Launch(int64_t first, int64_t count, int64_t examples) const {
    Params params = {};
    params.kind = static_cast<int>(config_.kind);
    params.bits = static_cast<uint>(bits_);
    params.neurons = static_cast<uint>(count);
    params.first = static_cast<uint>(first);
    params.examples = params.end = static_cast<uint>(examples);
    params.threshold = config_.threshold;
    return params;
  }

  Device& device_;
  const Config config_;
  const int64_t bits_;
  Buffer connections_{}, seed_{}, cluster_{}, row_{};
  Buffer words_{}, targets_{}, weight_{}, place_{};
  Buffer prior_{}, values_{}, evaluated_{}, votes_{};
};

template <typename Device>
void LaunchFitAndRead(Device& device, const Neurons& neurons, const Stream& stream, const Config& config,
                      const Inputs& inputs, const Votes& votes, int64_t scratch_bytes = kScratchBytes) {
  Launches<Device> launches(device, neurons, config);
  const int64_t chunk = std::max<int64_t>(1, scratch_bytes / config.row_bytes(neurons.bits));
  const int64_t rows = std::min(chunk, neurons.count);
  const auto table = device.Scratch((rows * config.row_bytes(neurons.bits) + 3) / 4 * 4);
  for (int64_t first = 0; first < neurons.count; first += rows) {
    const int64_t count = std::min(rows, neurons.count - first);
    launches.Clear(table, count);
    launches.Write(stream, table, first, count);
    launches.Read(inputs, table, votes, first, count);
  }
}

template <typename Device>
void LaunchWrite(Device& device, const Neurons& neurons, const Stream& stream, const Config& config, void* cells) {
  const auto table = device.Output(cells, neurons.count * config.row_bytes(neurons.bits));
  Launches<Device>(device, neurons, config).Write(stream, table, 0, neurons.count);
}

template <typename Device>
void LaunchRead(Device& device, const Neurons& neurons, const Inputs& inputs, const Config& config,
                const void* cells, const Votes& votes) {
  const auto table = device.Input(cells, neurons.count * config.row_bytes(neurons.bits));
  Launches<Device>(device, neurons, config).Read(inputs, table, votes, 0, neurons.count);
}

}  // namespace metal
}  // namespace wnn
