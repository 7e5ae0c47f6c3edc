#pragma once

// Matrix products of a CPU: a module, libbilevel_cblas.so, that alone links a CBLAS. OpenBLAS starts a thread
// per core and takes more than 100 MiB of addresses when it is loaded, which nobody pays who needs no matrix.

#include "device/blas.hpp"
#include "device/module.hpp"

namespace bilevel {
inline namespace v0 {

/// One product on the calling thread.
template <class T>
struct CblasProducts {
  void (*gemm)(const Gemm<T>& g);  ///< of the first of a batch
  void (*gemv)(const Gemv<T>& g);
};

struct CblasModule {
  ModuleHeader header;
  CblasProducts<float> products_float;
  CblasProducts<double> products_double;
  /// Around products: the library then starts no threads of its own. begin() throws DeviceError where memory
  /// is short.
  void (*begin)();
  void (*end)();
};

/// Throws DeviceError where it cannot be loaded.
const CblasModule& cblas_module();

}  // namespace v0
}  // namespace bilevel
