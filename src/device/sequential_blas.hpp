#pragma once

#include <cblas.h>

#include <mutex>

namespace bilevel {
inline namespace v0 {

/// Throws DeviceError where OpenBLAS cannot have its work area: it would ask for it again and again without
/// end.
void require_blas_memory();

/// Keeps OpenBLAS from starting threads of its own, which would change bits and exceed the threads of the
/// device; the number that the process had set comes back with the last scope. Other CBLAS libraries are
/// taken to be sequential.
class SequentialScope {
 public:
#ifdef OPENBLAS_VERSION
  /// Throws DeviceError where memory is short.
  SequentialScope() {
    require_blas_memory();
    const std::lock_guard<std::mutex> lock(mutex());
    if (users()++ == 0) {
      saved() = openblas_get_num_threads();
      if (saved() != 1) openblas_set_num_threads(1);
    }
  }
  ~SequentialScope() {
    const std::lock_guard<std::mutex> lock(mutex());
    if (--users() == 0 && saved() != 1) openblas_set_num_threads(saved());
  }

 private:
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static int& users() {
    static int count = 0;
    return count;
  }
  static int& saved() {
    static int threads = 1;
    return threads;
  }

 public:
#else
  SequentialScope() {}
#endif
  SequentialScope(const SequentialScope&) = delete;
  SequentialScope& operator=(const SequentialScope&) = delete;
};

}  // namespace v0
}  // namespace bilevel
