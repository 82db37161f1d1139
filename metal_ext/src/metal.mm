// Runs the kernels of tables.metal with Apple's Metal framework. The kernels are compiled at their first use,
// so a build needs only the Command Line Tools.

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "launch.h"
#include "metal.h"

namespace wnn {
namespace metal {
namespace {

// The text of tables.metal, with params.h in the place of its include; CMakeLists.txt writes the file.
constexpr const char* kSource =
#include "tables_source.inc"
    ;

// The least work for which the GPU is used is a guess: a launch and its copies take about a millisecond.
constexpr int64_t kLargeWork = int64_t{1} << 26;  // pairs of a neuron and an example
constexpr int64_t kByteNeurons = 1024;            // byte cells are parallel over neurons only
// The most pairs in a command buffer: the system stops one that runs for seconds.
constexpr int64_t kCommandWork = int64_t{1} << 28;
constexpr int64_t kLanes = 256;  // number of threads of a threadgroup

std::string Text(NSError* error) {
  return error ? std::string(error.localizedDescription.UTF8String) : std::string("unknown error");
}

struct Gpu {
  id<MTLDevice> device = nil;
  id<MTLCommandQueue> queue = nil;
  id<MTLComputePipelineState> pipelines[kKernels] = {};
  std::string name;  // empty if the GPU cannot be used

  Gpu() {
    @autoreleasepool {
      device = MTLCreateSystemDefaultDevice();
      if (device == nil) return;
      MTLCompileOptions* options = [[MTLCompileOptions alloc] init];
      options.fastMathEnabled = NO;
      NSError* error = nil;
      id<MTLLibrary> library = [device newLibraryWithSource:[NSString stringWithUTF8String:kSource]
                                                    options:options
                                                      error:&error];
      if (library == nil) {
        Complain(error);
        return;
      }
      for (int kernel = 0; kernel < kKernels; ++kernel) {
        id<MTLFunction> function =
            [library newFunctionWithName:[NSString stringWithUTF8String:kKernelNames[kernel]]];
        if (function != nil)
          pipelines[kernel] = [device newComputePipelineStateWithFunction:function error:&error];
        if (pipelines[kernel] == nil) {
          Complain(error);
          return;
        }
      }
      queue = [device newCommandQueue];
      if (queue != nil) name = device.name.UTF8String;
    }
  }

  static void Complain(NSError* error) {
    NSLog(@"wnn_metal_ext: the Metal kernels do not compile: %s", Text(error).c_str());
  }
};

const Gpu& TheGpu() {
  static const Gpu gpu;
  return gpu;
}

// The Device that launch.h describes.
class Device {
 public:
  using Buffer = id<MTLBuffer>;

  Buffer Input(const void* data, int64_t bytes) { return Hold(const_cast<void*>(data), bytes, false); }
  Buffer Output(void* data, int64_t bytes) { return Hold(data, bytes, true); }

  Buffer Scratch(int64_t bytes) {
    return Made([gpu_.device newBufferWithLength:bytes options:MTLResourceStorageModePrivate], bytes);
  }

  void Run(Kernel kernel, const Params& params, const std::vector<Buffer>& buffers, int64_t width,
           int64_t height, int64_t shared) {
    if (!failure_.empty() || width * height == 0) return;
    if (encoder_ == nil) {
      commands_.push_back([gpu_.queue commandBuffer]);
      encoder_ = [commands_.back() computeCommandEncoder];
    }
    id<MTLComputePipelineState> pipeline = gpu_.pipelines[kernel];
    [encoder_ setComputePipelineState:pipeline];
    [encoder_ setBytes:&params length:sizeof(params) atIndex:0];
    for (size_t i = 0; i < buffers.size(); ++i) [encoder_ setBuffer:buffers[i] offset:0 atIndex:i + 1];
    const int64_t lanes = std::min<int64_t>(kLanes, pipeline.maxTotalThreadsPerThreadgroup);
    const int64_t groups = shared ? 1 : (width + lanes - 1) / lanes;
    if (shared) [encoder_ setThreadgroupMemoryLength:(shared + 15) / 16 * 16 atIndex:0];
    [encoder_ dispatchThreadgroups:MTLSizeMake(groups, height, 1) threadsPerThreadgroup:MTLSizeMake(lanes, 1, 1)];
    work_ += int64_t{params.neurons} * (params.end - params.begin);
    if (work_ >= kCommandWork) Commit();
  }

  std::string Finish() {
    Commit();
    // A queue runs its command buffers in order.
    for (id<MTLCommandBuffer> commands : commands_) {
      [commands waitUntilCompleted];
      if (commands.status == MTLCommandBufferStatusError && failure_.empty()) failure_ = Text(commands.error);
    }
    if (!failure_.empty()) return failure_;
    for (const Staged& staged : staged_) std::memcpy(staged.data, staged.buffer.contents, staged.bytes);
    return "";
  }

 private:
  struct Staged {
    void* data;
    int64_t bytes;
    Buffer buffer;
  };

  // Wraps the data without a copy if it is whole pages, as Metal requires; XLA's buffers seldom are.
  Buffer Hold(void* data, int64_t bytes, bool output) {
    const uintptr_t page = static_cast<uintptr_t>(getpagesize());
    if (bytes > 0 && reinterpret_cast<uintptr_t>(data) % page == 0 && bytes % static_cast<int64_t>(page) == 0) {
      Buffer wrapped = [gpu_.device newBufferWithBytesNoCopy:data
                                                      length:bytes
                                                     options:MTLResourceStorageModeShared
                                                 deallocator:nil];
      if (wrapped != nil) return wrapped;
    }
    const int64_t length = std::max<int64_t>(bytes, 16);  // an empty buffer cannot be made
    Buffer buffer = Made([gpu_.device newBufferWithLength:length options:MTLResourceStorageModeShared], length);
    if (buffer == nil) return nil;
    if (bytes > 0) std::memcpy(buffer.contents, data, bytes);
    if (output) staged_.push_back({data, bytes, buffer});
    return buffer;
  }

  Buffer Made(Buffer buffer, int64_t bytes) {
    if (buffer == nil && failure_.empty())
      failure_ = "no memory for " + std::to_string(bytes) + " bytes: use fewer neurons or address bits";
    return buffer;
  }

  void Commit() {
    if (encoder_ == nil) return;
    [encoder_ endEncoding];
    [commands_.back() commit];
    encoder_ = nil;
    work_ = 0;
  }

  const Gpu& gpu_ = TheGpu();
  std::vector<id<MTLCommandBuffer>> commands_;
  id<MTLComputeCommandEncoder> encoder_ = nil;
  std::vector<Staged> staged_;
  std::string failure_;
  int64_t work_ = 0;
};

}  // namespace

std::string DeviceName() { return TheGpu().name; }

bool Takes(int64_t device, const Neurons& neurons, const Config& config, int64_t examples, int64_t table_bytes) {
  constexpr int64_t kIndices = int64_t{1} << 31;
  if (device == kNever || neurons.count * examples == 0) return false;
  if (device == kAlways) return true;
  if (TheGpu().name.empty() || neurons.count >= kIndices || examples >= kIndices) return false;
  if (table_bytes > static_cast<int64_t>(TheGpu().device.maxBufferLength)) return false;
  return neurons.count * examples >= kLargeWork && (!config.byte() || neurons.count >= kByteNeurons);
}

std::string FitAndRead(const Neurons& neurons, const Stream& stream, const Config& config, const Inputs& inputs,
                       const Votes& votes) {
  @autoreleasepool {
    Device device;
    LaunchFitAndRead(device, neurons, stream, config, inputs, votes);
    return device.Finish();
  }
}

std::string Write(const Neurons& neurons, const Stream& stream, const Config& config, void* table) {
  @autoreleasepool {
    Device device;
    LaunchWrite(device, neurons, stream, config, table);
    return device.Finish();
  }
}

std::string Read(const Neurons& neurons, const Inputs& inputs, const Config& config, const void* table,
                 const Votes& votes) {
  @autoreleasepool {
    Device device;
    LaunchRead(device, neurons, inputs, config, table, votes);
    return device.Finish();
  }
}

}  // namespace metal
}  // namespace wnn
