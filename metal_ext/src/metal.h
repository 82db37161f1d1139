// RAM tables on an Apple GPU: metal.mm on macOS, nothing anywhere else.

#pragma once

#include <cstdint>
#include <string>

#include "layer.h"

namespace wnn {
namespace metal {

// The attribute `device` of a call.
constexpr int64_t kNever = 0, kLarge = 1, kAlways = 2;

#if defined(__APPLE__)

std::string DeviceName();  // empty: there is none, or its kernels do not compile

// Whether a call of so many examples, on a table of so many bytes (0: none is kept), goes to the GPU.
bool Takes(int64_t device, const Neurons& neurons, const Config& config, int64_t examples, int64_t table_bytes);

// Each returns what went wrong, or nothing.
std::string FitAndRead(const Neurons& neurons, const Stream& stream, const Config& config, const Inputs& inputs,
                       const Votes& votes);
std::string Write(const Neurons& neurons, const Stream& stream, const Config& config, void* table);
std::string Read(const Neurons& neurons, const Inputs& inputs, const Config& config, const void* table,
                 const Votes& votes);

#else

inline std::string DeviceName() { return ""; }
inline bool Takes(int64_t, const Neurons&, const Config&, int64_t, int64_t) { return false; }
inline std::string FitAndRead(const Neurons&, const Stream&, const Config&, const Inputs&, const Votes&) {
  return "";
}
inline std::string Write(const Neurons&, const Stream&, const Config&, void*) { return ""; }
inline std::string Read(const Neurons&, const Inputs&, const Config&, const void*, const Votes&) { return ""; }

#endif

}  // namespace metal
}  // namespace wnn
