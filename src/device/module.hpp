#pragma once

// Modules: shared libraries of their own that are loaded when something first needs them, so that nothing
// they link is loaded before. Both sides share a few types and error.hpp, and no other code.

#include <cstddef>
#include <mutex>
#include <string>

namespace bilevel {
inline namespace v0 {

/// What the entry of a module begins with, in every version.
struct ModuleHeader {
  const char* version;  ///< of the library it was built with
  std::size_t layout;   ///< of the shared types there
};

/// How errors name a module, and what helps.
struct ModuleText {
  const char *name, *remedy;
};

/// What the function `entry` of a module returns. The module is looked for as the dynamic linker looks for a
/// library: LD_LIBRARY_PATH, the folder of libbilevel (run path), the system's folders; it is kept until the
/// process ends. Throws DeviceError when it is not there, lacks a library of its own, or belongs to another
/// build.
const ModuleHeader* open_module(const std::string& file, const char* entry, std::size_t layout,
                                const ModuleText& text);

/// The module of this file, loaded once.
template <class Module>
const Module& load_once(const char* file, const char* entry, std::size_t layout, const ModuleText& text) {
  static std::mutex mutex;
  static const Module* module = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!module) module = reinterpret_cast<const Module*>(open_module(file, entry, layout, text));
  return *module;
}

}  // namespace v0
}  // namespace bilevel
