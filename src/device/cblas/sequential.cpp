#include "device/cblas/sequential.hpp"

#include <cblas.h>

#ifdef OPENBLAS_VERSION
#include <sys/mman.h>

#include <mutex>
#include <string>

#include "bilevel/core/error.hpp"
#endif

namespace bilevel {
inline namespace v0 {

#ifdef OPENBLAS_VERSION
namespace {

std::mutex mutex;
int users = 0, saved = 1;

void require_memory() {
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
}

}  // namespace

void begin_sequential() {
  require_memory();
  const std::lock_guard<std::mutex> lock(mutex);
  if (users++ > 0) return;
  saved = openblas_get_num_threads();
  if (saved != 1) openblas_set_num_threads(1);
}
void end_sequential() {
  const std::lock_guard<std::mutex> lock(mutex);
  if (--users == 0 && saved != 1) openblas_set_num_threads(saved);
}
#else
void begin_sequential() {}
void end_sequential() {}
#endif

}  // namespace v0
}  // namespace bilevel
