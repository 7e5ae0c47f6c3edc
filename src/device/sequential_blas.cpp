#include "device/sequential_blas.hpp"

#include <sys/mman.h>

#include "bilevel/core/error.hpp"

namespace bilevel {
inline namespace v0 {

void require_blas_memory() {
#ifdef OPENBLAS_VERSION
  static std::once_flag taken;  // stays open when the memory is not there
  std::call_once(taken, [] {
    constexpr std::size_t bytes = std::size_t{129} << 20;  // of its work area, and some for what is around it
    void* const area = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
      throw DeviceError("the matrix library OpenBLAS cannot have the " + std::to_string(bytes) +
                        " bytes that it works in; use fewer or smaller images.");
    munmap(area, bytes);
    // A call that makes it take the area, which it keeps.
    const double identity[4] = {1, 0, 0, 1};
    double right[4] = {1, 2, 3, 4};
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, 2, 2, 1.0, identity, 2,
                right, 2);
  });
#endif
}

}  // namespace v0
}  // namespace bilevel
