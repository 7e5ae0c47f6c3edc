#include "device/cuda_module.hpp"

#include <dlfcn.h>

#include <mutex>
#include <string>

#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr const char* file = "libbilevel_cuda.so." BILEVEL_SOVERSION;
const std::string remedy = "; use --device cpu, or install the CUDA back end of this version.";

const CudaModule& load() {
  void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);  // kept until the process ends
  if (!library) {
    const char* reason = dlerror();
    const std::string text = reason ? reason : "no reason given";
    if (text.rfind(file, 0) == 0)
      throw DeviceError("the CUDA back end, " + std::string(file) + ", is not installed" + remedy);
    throw DeviceError("the CUDA back end cannot be loaded: " + text + remedy);
  }
  auto* const entry = reinterpret_cast<CudaModuleEntry*>(dlsym(library, cuda_module_entry));
  if (!entry) throw DeviceError(std::string(file) + " is no CUDA back end of bilevel" + remedy);
  const CudaModule& module = *entry();
  if (module.version != std::string(BILEVEL_VERSION) || module.layout != module_layout())
    throw DeviceError(std::string(file) + " belongs to another build (version " + module.version +
                      ", the library is " BILEVEL_VERSION ")" + remedy);
  return module;
}

}  // namespace

const CudaModule& cuda_module() {
  static std::mutex mutex;
  static const CudaModule* module = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!module) module = &load();
  return *module;
}

}  // namespace v0
}  // namespace bilevel
