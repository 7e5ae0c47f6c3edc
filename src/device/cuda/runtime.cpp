#include "device/cuda/runtime.hpp"

#include <string>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {
namespace cuda {

void check(cudaError_t status, const char* call, std::source_location where) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // told here, not again by the next launch
  const std::string file = where.file_name();
  throw DeviceError(std::string(call) + " failed with " + cudaGetErrorName(status) + ": " +
                    cudaGetErrorString(status) + " (" + file.substr(file.rfind('/') + 1) + ":" +
                    std::to_string(where.line()) + ").");
}

DeviceGuard::DeviceGuard(int ordinal) {
  int current = -1;
  check(cudaGetDevice(&current), "cudaGetDevice");
  if (current == ordinal) return;
  check(cudaSetDevice(ordinal), "cudaSetDevice");
  previous_ = current;
}
DeviceGuard::~DeviceGuard() {
  if (previous_ >= 0) static_cast<void>(cudaSetDevice(previous_));
}

}  // namespace cuda
}  // namespace v0
}  // namespace bilevel
