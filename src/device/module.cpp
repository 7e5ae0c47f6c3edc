#include "device/module.hpp"

#include <dlfcn.h>

#include "bilevel/core/error.hpp"
#include "bilevel/core/version.hpp"
#include "device/cblas_module.hpp"
#include "device/cuda_module.hpp"

namespace bilevel {
inline namespace v0 {

const ModuleHeader* open_module(const std::string& file, const char* entry, std::size_t layout,
                                const ModuleText& text) {
  const std::string remedy = std::string("; ") + text.remedy, name = text.name;
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* reason = dlerror();
    const std::string why = reason ? reason : "no reason given";
    if (why.rfind(file, 0) == 0)
      throw DeviceError("the " + name + ", " + file + ", is not installed" + remedy);
    throw DeviceError("the " + name + " cannot be loaded: " + why + remedy);
  }
  auto* const module = reinterpret_cast<const ModuleHeader* (*)()>(dlsym(library, entry));
  if (!module) throw DeviceError(file + " is no " + name + " of bilevel" + remedy);
  const ModuleHeader* header = module();
  if (header->version != std::string(BILEVEL_VERSION) || header->layout != layout)
    throw DeviceError(file + " belongs to another build (version " + header->version +
                      ", the library is " BILEVEL_VERSION ")" + remedy);
  return header;
}

namespace {

constexpr ModuleText cuda_text = {"CUDA back end",
                                  "use the device 'cpu', or install the CUDA back end of this version."};
constexpr ModuleText cblas_text = {"module of matrix products", "install that of this version."};

}  // namespace

const CudaModule& cuda_module() {
  return load_once<CudaModule>("libbilevel_cuda.so." BILEVEL_SOVERSION, "bilevel_cuda_module",
                               module_layout(), cuda_text);
}
const CudaLibraries& cuda_libraries() {
  return load_once<CudaLibraries>("libbilevel_cuda_libraries.so." BILEVEL_SOVERSION, "bilevel_cuda_libraries",
                                  module_layout(), cuda_text);
}
const CblasModule& cblas_module() {
  return load_once<CblasModule>("libbilevel_cblas.so." BILEVEL_SOVERSION, "bilevel_cblas_module",
                                sizeof(CblasModule), cblas_text);
}

}  // namespace v0
}  // namespace bilevel
