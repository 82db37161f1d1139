// The buffer types and the checks that all FFI handlers share.

#pragma once

#include <cstdint>
#include <string>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace wnn {

using I32 = ffi::Buffer<ffi::DataType::S32, 1>;
using U32 = ffi::Buffer<ffi::DataType::U32, 1>;
using Bool = ffi::Buffer<ffi::DataType::PRED, 1>;
using F32 = ffi::Buffer<ffi::DataType::F32, 1>;
using I32Matrix = ffi::Buffer<ffi::DataType::S32, 2>;
using U32Matrix = ffi::Buffer<ffi::DataType::U32, 2>;
using F32Matrix = ffi::Buffer<ffi::DataType::F32, 2>;
using BoolMatrix = ffi::Buffer<ffi::DataType::PRED, 2>;

inline ffi::Error Invalid(const std::string& message) {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "wnn: " + message);
}

#define WNN_REQUIRE(condition, message) \
  if (!(condition)) return Invalid(message)

#define WNN_CHECK(expression) \
  if (ffi::Error error = (expression); error.failure()) return error

template <typename Buffer>
int64_t Dim(const Buffer& buffer, int axis) {
  return buffer.dimensions()[axis];
}

inline ffi::Error Ended(bool enough_memory) {
  if (enough_memory) return ffi::Error::Success();
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "wnn: out of memory");
}

}  // namespace wnn
