// runner DEVICE CASE RESULT: one call of the kernels without XLA, so that sanitizers can watch it.
//
// DEVICE is `cpu`, the CPU kernels on a pool of threads, or `metal`, tables.metal itself, launched as on a
// Mac (launch.h) with a thread a lane. CASE and RESULT are raw arrays; tests/test_metal.py has their order.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cpu.h"
#include "launch.h"

#include <metal_stdlib>
#include TABLES
#undef kernel
#undef device
#undef constant
#undef threadgroup

namespace {

using wnn::metal::Kernel;

class Pool {
 public:
  ~Pool() {
    for (std::thread& thread : threads_) thread.join();
  }
  int64_t num_threads() const { return 3; }
  void Schedule(std::function<void()> work) { threads_.emplace_back(std::move(work)); }

 private:
  std::vector<std::thread> threads_;
};

// The Device of launch.h. Its buffers end where the call's do.
class Threads {
 public:
  using Buffer = unsigned char*;

  Buffer Input(const void* data, int64_t bytes) {
    Buffer buffer = Scratch(bytes);
    if (bytes) std::memcpy(buffer, data, bytes);
    return buffer;
  }
  Buffer Output(void* data, int64_t bytes) {
    outputs_.push_back({data, Input(data, bytes), bytes});
    return outputs_.back().buffer;
  }
  Buffer Scratch(int64_t bytes) {
    owned_.emplace_back(static_cast<Buffer>(std::malloc(bytes ? bytes : 1)), std::free);
    std::memset(owned_.back().get(), 0xA5, bytes);
    return owned_.back().get();
  }
  std::string Finish() {
    for (const auto& output : outputs_)
      if (output.bytes) std::memcpy(output.data, output.buffer, output.bytes);
    return "";
  }

  void Run(Kernel kernel, const wnn::metal::Params& told, const std::vector<Buffer>& buffers, int64_t width,
           int64_t height, int64_t shared) {
    static_assert(sizeof(Params) == sizeof(told));
    Params params;
    std::memcpy(&params, &told, sizeof(params));
    const int64_t across = shared ? 1 : (width + kLanes - 1) / kLanes, groups = across * height;
    std::vector<std::thread> threads;
    std::vector<pthread_barrier_t> barriers(kTeams);
    std::vector<std::vector<int>> memory(kTeams, std::vector<int>(shared / 4));
    for (uint32_t team = 0; team < kTeams; ++team) {
      pthread_barrier_init(&barriers[team], nullptr, kLanes);
      for (uint32_t lane = 0; lane < kLanes; ++lane)
        threads.emplace_back([&, team, lane] {
          metal::group_barrier = &barriers[team];
          auto* sums = reinterpret_cast<std::atomic<int>*>(memory[team].data());
          for (int64_t group = team; group < groups; group += kTeams) {
            const uint32_t x = group % across, y = group / across;
            if (shared) {  // what another threadgroup left
              if (lane == 0) std::memset(memory[team].data(), 0x5A, shared);
              pthread_barrier_wait(&barriers[team]);
            }
            Call(kernel, params, buffers, sums, {x, y}, lane);
            if (shared) pthread_barrier_wait(&barriers[team]);
          }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (pthread_barrier_t& barrier : barriers) pthread_barrier_destroy(&barrier);
  }

 private:
  static constexpr uint32_t kLanes = 6, kTeams = 2;

  static void Call(Kernel kernel, const Params& params, const std::vector<Buffer>& buffers,
                   std::atomic<int>* sums, metal::uint2 group, uint32_t lane) {
    const metal::uint2 at{group.x * kLanes + lane, group.y};
    const auto as = [&](int i, auto* like) { return reinterpret_cast<decltype(like)>(buffers[i]); };
    int* i32 = nullptr;
    uint32_t* u32 = nullptr;
    std::atomic<int>* sum = nullptr;
    if (kernel == wnn::metal::kClear)
      clear(params, as(0, u32), at);
    else if (kernel == wnn::metal::kWriteShared)
      write_shared(params, as(0, i32), as(1, u32), as(2, i32), as(3, u32), buffers[4], buffers[5], as(6, u32),
                   as(7, i32), sums, group, {lane, 0}, {kLanes, 1});
    else if (kernel == wnn::metal::kWriteSums)
      write_sums(params, as(0, i32), as(1, u32), as(2, i32), as(3, u32), buffers[4], buffers[5], as(6, u32),
                 as(7, sum), at);
    else if (kernel == wnn::metal::kWriteBytes)
      write_bytes(params, as(0, i32), as(1, u32), as(2, i32), as(3, u32), buffers[4], buffers[5], as(6, u32),
                  as(7, static_cast<char*>(nullptr)), at);
    else
      read_cells(params, as(0, i32), as(1, i32), as(2, i32), as(3, static_cast<float*>(nullptr)), as(4, i32),
                 as(5, u32), as(6, static_cast<char*>(nullptr)), as(7, sum), at);
  }

  struct Kept {
    void* data;
    Buffer buffer;
    int64_t bytes;
  };
  std::vector<std::unique_ptr<unsigned char, void (*)(void*)>> owned_;
  std::vector<Kept> outputs_;
};

// The next array of a file, in memory of exactly its size.
template <typename T>
std::unique_ptr<T[]> Take(std::FILE* file, int64_t count) {
  std::unique_ptr<T[]> data(new T[count]);
  if (std::fread(data.get(), sizeof(T), count, file) != static_cast<size_t>(count)) std::exit(3);
  return data;
}

}  // namespace

int main(int, char** arguments) {
  const bool on_metal = std::string(arguments[1]) == "metal";
  std::FILE* file = std::fopen(arguments[2], "rb");
  const auto header = Take<int64_t>(file, 12);
  const int64_t *h = header.get(), operation = h[0], threshold = h[2], count = h[3], bits = h[4], rows = h[5],
                clusters = h[6], examples = h[7], evaluated = h[8], outputs = h[9], scratch = h[11];
  const auto connections = Take<int32_t>(file, count * bits);
  const auto cluster = Take<int32_t>(file, count), row = Take<int32_t>(file, count);
  const auto seed = Take<uint32_t>(file, count), words = Take<uint32_t>(file, rows * examples);
  const auto targets = Take<uint8_t>(file, clusters * examples), weight = Take<uint8_t>(file, examples);
  const auto place = Take<uint32_t>(file, examples);
  const auto prior = Take<float>(file, clusters);
  const auto values = Take<int32_t>(file, h[10]);
  const auto inputs_words = Take<uint32_t>(file, rows * evaluated);

  const wnn::Neurons neurons{connections.get(), cluster.get(), row.get(), seed.get(), count, bits};
  std::vector<int32_t> span;
  for (int64_t k = 0; k < clusters; ++k) span.insert(span.end(), {0, static_cast<int32_t>(examples)});
  const wnn::Stream stream{words.get(), place.get(),  targets.get(), weight.get(),
                           span.data(), examples, rows,          clusters};
  const wnn::Inputs inputs{inputs_words.get(), evaluated, rows, prior.get(), clusters};
  const wnn::Config config{static_cast<wnn::Kind>(h[1]), values.get(), static_cast<uint32_t>(threshold)};
  const int64_t table_bytes = operation ? count * config.row_bytes(bits) : 0;
  const auto table = Take<unsigned char>(file, table_bytes);
  std::fclose(file);
  std::unique_ptr<int32_t[]> sums(new int32_t[outputs * evaluated]);
  const wnn::Votes votes{sums.get(), outputs};

  if (on_metal) {
    Threads threads;
    if (operation == 0)
      wnn::metal::LaunchFitAndRead(threads, neurons, stream, config, inputs, votes, scratch);
    else if (operation == 1)
      wnn::metal::LaunchWrite(threads, neurons, stream, config, table.get());
    else
      wnn::metal::LaunchRead(threads, neurons, inputs, config, table.get(), votes);
    threads.Finish();
  } else {
    Pool pool;
    if (operation == 0)
      wnn::cpu::FitAndRead(pool, neurons, stream, config, inputs, votes);
    else if (operation == 1)
      wnn::cpu::Write(pool, neurons, stream, config, table.get());
    else
      wnn::cpu::Read(pool, neurons, inputs, config, table.get(), votes);
  }
  file = std::fopen(arguments[3], "wb");
  if (operation == 1)
    std::fwrite(table.get(), 1, table_bytes, file);
  else
    std::fwrite(sums.get(), 4, outputs * evaluated, file);
  return std::fclose(file);
}
