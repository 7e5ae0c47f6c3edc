#include "bilevel/core/device.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <thread>
#include <vector>

#include "bilevel/core/error.hpp"
#include "device/cuda_module.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

/// An instruction set that the kernels are built for.
struct Variant {
  std::string name;
  const kernels::Table<float>& (*table_float)(bool);
  const kernels::Table<double>& (*table_double)(bool);
  const kernels::ScalarTable& (*table_scalar)();
  bool runs;  // on this processor
};

/// Those of this build, the best first.
std::vector<Variant> built_variants() {
  std::vector<Variant> built;
#define BILEVEL_VARIANT(name, runs) \
  built.push_back(                  \
      {#name, kernels::name::table_float, kernels::name::table_double, kernels::name::table_scalar, runs});
#ifdef BILEVEL_HAS_AVX512
  BILEVEL_VARIANT(avx512, __builtin_cpu_supports("x86-64-v4") != 0)
#endif
#ifdef BILEVEL_HAS_AVX2
  BILEVEL_VARIANT(avx2, __builtin_cpu_supports("x86-64-v3") != 0)
#endif
#ifdef BILEVEL_HAS_BASELINE
  BILEVEL_VARIANT(baseline, true)
#endif
#undef BILEVEL_VARIANT
  return built;
}

/// The best that runs here, or the one that BILEVEL_CPU_ISA names.
Variant choose_variant() {
  const char* environment = std::getenv("BILEVEL_CPU_ISA");
  const std::string forced = environment ? environment : "";
  if (!forced.empty() && forced != "baseline" && forced != "avx2" && forced != "avx512")
    throw ConfigError("BILEVEL_CPU_ISA=" + forced +
                      ": not an instruction set; use baseline, avx2 or avx512.");
  std::string names;
  for (const Variant& variant : built_variants()) {
    if (variant.runs && (forced.empty() || forced == variant.name)) return variant;
    if (!forced.empty() && forced == variant.name)
      throw DeviceError("BILEVEL_CPU_ISA=" + forced + ": this processor lacks it; unset the variable.");
    names += (names.empty() ? "" : ", ") + variant.name;
  }
  if (!forced.empty())
    throw DeviceError("BILEVEL_CPU_ISA=" + forced + ": this build has " + names +
                      " only; unset the variable, or build with BILEVEL_CPU_VARIANTS=all.");
  throw DeviceError("this processor lacks the instruction sets of this build (" + names +
                    "); build with BILEVEL_CPU_VARIANTS=all.");
}

/// BILEVEL_CPU_OVERRIDES=off takes the generic kernel bodies.
bool use_overrides() {
  const char* choice = std::getenv("BILEVEL_CPU_OVERRIDES");
  const std::string_view text = choice && *choice ? choice : "on";
  if (text != "on" && text != "off")
    throw ConfigError("BILEVEL_CPU_OVERRIDES=" + std::string(text) + ": must be on or off.");
  return text == "on";
}

/// The processors this process may use.
int default_threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

int parse(std::string_view text, int least, int most, std::string_view name, const char* what) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    throw ConfigError("device '" + std::string(name) + "': the " + what + " must be between " +
                      std::to_string(least) + " and " + std::to_string(most) + ".");
  return value;
}

std::shared_ptr<const Device::Impl> open_cuda(int ordinal) {
  const CudaModule* module = nullptr;
  try {
    module = &cuda_module();
  } catch (const DeviceError& error) {
    throw DeviceError("device 'cuda:" + std::to_string(ordinal) + "': " + error.what());
  }
  return module->open(ordinal);
}

std::shared_ptr<Device::Impl> open_cpu(int threads, bool guarded) {
  auto impl = std::make_shared<Device::Impl>();
  impl->threads = threads;
  impl->guarded = guarded;
  impl->name = (guarded ? "cpu-guarded:" : "cpu:") + std::to_string(threads);
  const Variant variant = choose_variant();
  impl->instruction_set = variant.name;
  impl->description =
      std::to_string(threads) + (threads == 1 ? " thread, " : " threads, ") + impl->instruction_set;
  impl->memory =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const bool overrides = use_overrides();
  impl->table_float = &variant.table_float(overrides);
  impl->table_double = &variant.table_double(overrides);
  impl->table_scalar = &variant.table_scalar();
  return impl;
}

}  // namespace

Device Device::open(std::string_view name) {
  const std::size_t colon = name.find(':');
  const bool numbered = colon != std::string_view::npos;
  const std::string_view kind = name.substr(0, colon), number = numbered ? name.substr(colon + 1) : "";
  if (kind == "cuda") return Device(open_cuda(numbered ? parse(number, 0, 1023, name, "index") : 0));
  if (kind != "auto" && kind != "cpu" && kind != "cpu-guarded")
    throw ConfigError("device '" + std::string(name) +
                      "': unknown; use auto, cpu, cpu:THREADS, cuda or cuda:INDEX.");
  const int threads = numbered ? parse(number, 1, 1024, name, "number of threads") : default_threads();
  std::string fallback;
  if (kind == "auto" && !numbered) {
    try {
      return Device(open_cuda(0));
    } catch (const DeviceError& error) {
      fallback = error.what();
    }
  }
  auto impl = open_cpu(threads, kind == "cpu-guarded");
  impl->fallback = fallback;
  return Device(std::move(impl));
}

DeviceKind Device::kind() const { return impl_->kind; }
const std::string& Device::name() const { return impl_->name; }
const std::string& Device::instruction_set() const { return impl_->instruction_set; }
int Device::threads() const { return impl_->threads; }
const std::string& Device::description() const { return impl_->description; }
const std::string& Device::fallback() const { return impl_->fallback; }
bool Device::guarded() const { return impl_->guarded; }
std::size_t Device::memory() const { return impl_->memory; }

}  // namespace v0
}  // namespace bilevel
