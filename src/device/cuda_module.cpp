#include "device/cuda_module.hpp"

#include <dlfcn.h>

#include <mutex>
#include <string>

#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// The module of this file and entry, kept until the process ends.
template <class Module>
const Module& load(const std::string& file, const char* entry) {
  const std::string remedy = "; use the device 'cpu', or install the CUDA back end of this version.";
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* reason = dlerror();
    const std::string text = reason ? reason : "no reason given";
    if (text.rfind(file, 0) == 0)
      throw DeviceError("the CUDA back end, " + file + ", is not installed" + remedy);
    throw DeviceError("the CUDA back end cannot be loaded: " + text + remedy);
  }
  auto* const module = reinterpret_cast<const Module* (*)()>(dlsym(library, entry));
  if (!module) throw DeviceError(file + " is no CUDA back end of bilevel" + remedy);
  const ModuleHeader& header = module()->header;
  if (header.version != std::string(BILEVEL_VERSION) || header.layout != module_layout())
    throw DeviceError(file + " belongs to another build (version " + header.version +
                      ", the library is " BILEVEL_VERSION ")" + remedy);
  return *module();
}

template <class Module>
const Module& load_once(const char* file, const char* entry) {
  static std::mutex mutex;
  static const Module* module = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!module) module = &load<Module>(file, entry);
  return *module;
}

}  // namespace

const CudaModule& cuda_module() {
  return load_once<CudaModule>("libbilevel_cuda.so." BILEVEL_SOVERSION, "bilevel_cuda_module");
}
const CudaLibraries& cuda_libraries() {
  return load_once<CudaLibraries>("libbilevel_cuda_libraries.so." BILEVEL_SOVERSION,
                                  "bilevel_cuda_libraries");
}

}  // namespace v0
}  // namespace bilevel
