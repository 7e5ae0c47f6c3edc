#include "bilevel/core/device.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <thread>

#include "bilevel/core/error.hpp"
#include "device/cuda_module.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

bool supported(std::string_view isa) {
#ifdef BILEVEL_X86_VARIANTS
  if (isa == "avx512") return __builtin_cpu_supports("x86-64-v4");
  if (isa == "avx2") return __builtin_cpu_supports("x86-64-v3");
#endif
  return isa == "baseline";
}

std::string choose_instruction_set() {
  if (const char* forced = std::getenv("BILEVEL_CPU_ISA"); forced && *forced) {
    const std::string isa = forced;
    if (isa != "baseline" && isa != "avx2" && isa != "avx512")
      throw ConfigError("BILEVEL_CPU_ISA=" + isa + ": not an instruction set; use baseline, avx2 or avx512.");
    if (!supported(isa))
      throw DeviceError("BILEVEL_CPU_ISA=" + isa + ": this processor or build lacks it; unset the variable.");
    return isa;
  }
  for (const char* isa : {"avx512", "avx2"})
    if (supported(isa)) return isa;
  return "baseline";
}

/// BILEVEL_CPU_OVERRIDES=off takes the generic kernel bodies.
bool use_overrides() {
  const char* choice = std::getenv("BILEVEL_CPU_OVERRIDES");
  const std::string_view text = choice && *choice ? choice : "on";
  if (text != "on" && text != "off")
    throw ConfigError("BILEVEL_CPU_OVERRIDES=" + std::string(text) + ": must be on or off.");
  return text == "on";
}

void set_tables(Device::Impl& d) {
  const auto use = [&d](const auto& f, const auto& g, const auto& s) {
    d.table_float = &f;
    d.table_double = &g;
    d.table_scalar = &s;
  };
  const bool tuned = use_overrides();
#ifdef BILEVEL_X86_VARIANTS
  namespace avx2 = kernels::avx2;
  namespace avx512 = kernels::avx512;
  if (d.instruction_set == "avx512")
    return use(avx512::table_float(tuned), avx512::table_double(tuned), avx512::table_scalar());
  if (d.instruction_set == "avx2")
    return use(avx2::table_float(tuned), avx2::table_double(tuned), avx2::table_scalar());
#endif
  namespace baseline = kernels::baseline;
  use(baseline::table_float(tuned), baseline::table_double(tuned), baseline::table_scalar());
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
  impl->instruction_set = choose_instruction_set();
  impl->description =
      std::to_string(threads) + (threads == 1 ? " thread, " : " threads, ") + impl->instruction_set;
  impl->memory =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  set_tables(*impl);
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
