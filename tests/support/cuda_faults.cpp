// A library to load before a process (LD_PRELOAD) whose CUDA runtime shall fail.
//   BILEVEL_FAULT=FUNCTION:N:ERROR   the N-th call (from 1) of FUNCTION returns the cudaError_t ERROR and
//   does nothing;
//                                    after an error that loses the device, every later call returns it too
//   BILEVEL_FAULT_COUNTS=FILE        the number of calls of each function, written when the process ends
// Kernel launches count as cudaLaunchKernel, whichever entry point nvcc's host code takes.

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

extern "C" cudaError_t CUDARTAPI __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block,
                                                    void** arguments, std::size_t shared,
                                                    cudaStream_t stream);

namespace {

bool loses_the_device(cudaError_t error) {
  switch (error) {
    case cudaErrorDevicesUnavailable:
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

class Faults {
 public:
  Faults() {
    if (const char* text = std::getenv("BILEVEL_FAULT")) {
      char name[64] = "";
      int error = 0;
      if (std::sscanf(text, "%63[^:]:%ld:%d", name, &call_, &error) == 3) {
        function_ = name;
        error_ = static_cast<cudaError_t>(error);
      } else {
        std::fprintf(stderr, "BILEVEL_FAULT=%s: not FUNCTION:N:ERROR.\n", text);
      }
    }
  }

  /// Counts a call; what it returns in place of the runtime, or cudaSuccess.
  cudaError_t ask(const char* function) {
    const std::lock_guard lock(mutex_);
    const long count = ++counts_[function];
    if (lost_ == cudaSuccess) {
      if (function_ != function || count != call_) return cudaSuccess;
      if (loses_the_device(error_)) lost_ = error_;
      return last_ = error_;
    }
    return last_ = lost_;
  }
  /// What a call returns that releases something, which happens on a lost device too.
  cudaError_t after_release(cudaError_t real) {
    const std::lock_guard lock(mutex_);
    return lost_ == cudaSuccess ? real : last_ = lost_;
  }
  /// The runtime's last error: ours if there is one, which `clear` forgets unless the device is lost.
  cudaError_t last(cudaError_t real, bool clear) {
    const std::lock_guard lock(mutex_);
    const cudaError_t error = last_ == cudaSuccess ? real : last_;
    if (clear) last_ = lost_;
    return error;
  }
  void write_counts() {
    const char* path = std::getenv("BILEVEL_FAULT_COUNTS");
    if (path == nullptr) return;
    const std::lock_guard lock(mutex_);
    std::FILE* file = std::fopen(path, "w");
    if (file == nullptr) return;
    for (const auto& [name, count] : counts_) std::fprintf(file, "%s %ld\n", name.c_str(), count);
    std::fclose(file);
  }

 private:
  std::mutex mutex_;
  std::string function_;
  long call_ = 0;
  cudaError_t error_ = cudaSuccess, last_ = cudaSuccess, lost_ = cudaSuccess;
  std::map<std::string, long> counts_;
};

/// Lives until the process is gone.
Faults& faults() {
  static Faults* const instance = new Faults;
  return *instance;
}

__attribute__((destructor)) void finish() { faults().write_counts(); }

template <class F>
F* following(const char* name) {
  // The runtime is a library of the CUDA module, which is not searched for symbols of others.
  const std::string runtime = "libcudart.so." + std::to_string(CUDART_VERSION / 1000);
  void* const library = dlopen(runtime.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  void* const found = library != nullptr ? dlsym(library, name) : nullptr;
  if (found == nullptr) {
    std::fprintf(stderr, "%s: no CUDA runtime to forward to.\n", name);
    std::abort();
  }
  return reinterpret_cast<F*>(found);
}

}  // namespace

#define BILEVEL_FORWARD_AS(label, name, parameters, arguments)                             \
  extern "C" cudaError_t CUDARTAPI name parameters {                                       \
    static auto* const real = following<cudaError_t parameters>(#name);                    \
    if (const cudaError_t fault = faults().ask(label); fault != cudaSuccess) return fault; \
    return real arguments;                                                                 \
  }
#define BILEVEL_FORWARD(name, parameters, arguments) BILEVEL_FORWARD_AS(#name, name, parameters, arguments)
#define BILEVEL_RELEASE(name, parameters, arguments)                    \
  extern "C" cudaError_t CUDARTAPI name parameters {                    \
    static auto* const real = following<cudaError_t parameters>(#name); \
    return faults().after_release(real arguments);                      \
  }

BILEVEL_FORWARD_AS("cudaLaunchKernel", __cudaLaunchKernel,
                   (cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                    cudaStream_t stream),
                   (kernel, grid, block, arguments, shared, stream))
BILEVEL_FORWARD(cudaLaunchKernel,
                (const void* kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                 cudaStream_t stream),
                (kernel, grid, block, arguments, shared, stream))
BILEVEL_FORWARD(cudaMallocFromPoolAsync,
                (void** p, std::size_t bytes, cudaMemPool_t pool, cudaStream_t stream),
                (p, bytes, pool, stream))
BILEVEL_FORWARD(cudaMalloc, (void** p, std::size_t bytes), (p, bytes))
BILEVEL_FORWARD(cudaHostAlloc, (void** p, std::size_t bytes, unsigned flags), (p, bytes, flags))
BILEVEL_FORWARD(cudaMemcpyAsync,
                (void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind,
                 cudaStream_t stream),
                (target, source, bytes, kind, stream))
BILEVEL_FORWARD(cudaMemsetAsync, (void* p, int value, std::size_t bytes, cudaStream_t stream),
                (p, value, bytes, stream))
BILEVEL_FORWARD(cudaStreamSynchronize, (cudaStream_t stream), (stream))
BILEVEL_FORWARD(cudaStreamCreateWithFlags, (cudaStream_t * stream, unsigned flags), (stream, flags))
BILEVEL_FORWARD(cudaStreamBeginCapture, (cudaStream_t stream, cudaStreamCaptureMode mode), (stream, mode))
BILEVEL_FORWARD(cudaEventCreateWithFlags, (cudaEvent_t * event, unsigned flags), (event, flags))
BILEVEL_FORWARD(cudaEventRecord, (cudaEvent_t event, cudaStream_t stream), (event, stream))
BILEVEL_FORWARD(cudaEventSynchronize, (cudaEvent_t event), (event))
BILEVEL_FORWARD(cudaGraphInstantiate, (cudaGraphExec_t * exec, cudaGraph_t graph, unsigned long long flags),
                (exec, graph, flags))
BILEVEL_FORWARD(cudaGraphLaunch, (cudaGraphExec_t exec, cudaStream_t stream), (exec, stream))

BILEVEL_RELEASE(cudaFree, (void* p), (p))
BILEVEL_RELEASE(cudaFreeAsync, (void* p, cudaStream_t stream), (p, stream))
BILEVEL_RELEASE(cudaFreeHost, (void* p), (p))
BILEVEL_RELEASE(cudaEventDestroy, (cudaEvent_t event), (event))
BILEVEL_RELEASE(cudaStreamDestroy, (cudaStream_t stream), (stream))
BILEVEL_RELEASE(cudaMemPoolDestroy, (cudaMemPool_t pool), (pool))
BILEVEL_RELEASE(cudaGraphDestroy, (cudaGraph_t graph), (graph))
BILEVEL_RELEASE(cudaGraphExecDestroy, (cudaGraphExec_t exec), (exec))

/// A capture ends whatever the answer is.
extern "C" cudaError_t CUDARTAPI cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  static auto* const real = following<cudaError_t(cudaStream_t, cudaGraph_t*)>("cudaStreamEndCapture");
  const cudaError_t fault = faults().ask("cudaStreamEndCapture");
  const cudaError_t status = real(stream, graph);
  if (fault == cudaSuccess) return status;
  if (status == cudaSuccess && *graph != nullptr) cudaGraphDestroy(*graph);
  *graph = nullptr;
  return fault;
}

extern "C" cudaError_t CUDARTAPI cudaPeekAtLastError() {
  static auto* const real = following<cudaError_t()>("cudaPeekAtLastError");
  return faults().last(real(), false);
}
extern "C" cudaError_t CUDARTAPI cudaGetLastError() {
  static auto* const real = following<cudaError_t()>("cudaGetLastError");
  return faults().last(real(), true);
}
