// RAM tables on an Apple GPU: metal.mm on macOS, and empty functions everywhere else.

#pragma once

#include <cstdint>
#include <string>

#include "layer.h"

namespace wnn {
namespace metal {

// The values of a call's attribute `device`: use of the GPU.
constexpr int64_t kNever = 0, kLarge = 1, kAlways = 2;

#if defined(__APPLE__)

std::string DeviceName();  // empty if there is no device, or the kernels do not compile

// Whether a call goes to the GPU, by its number of examples and the bytes of its table (0 if it keeps none).
bool Takes(int64_t device, const Neurons& neurons, const Config& config, int64_t examples, int64_t table_bytes);

// Each returns an error message, or an empty string.
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
