#include "bilevel/core/device.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <thread>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"

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

int parse_threads(std::string_view text, std::string_view name) {
  int threads = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), threads);
  if (error != std::errc() || end != text.data() + text.size() || threads < 1 || threads > 1024)
    throw ConfigError("device '" + std::string(name) +
                      "': the number of threads must be between 1 and 1024.");
  return threads;
}

}  // namespace

Device Device::open(std::string_view name) {
  const std::size_t colon = name.find(':');
  const std::string_view kind = name.substr(0, colon);
  if (kind == "cuda")
    throw DeviceError("device '" + std::string(name) +
                      "': this build has no CUDA back end; use --device cpu, or --device auto.");
  if (kind != "auto" && kind != "cpu" && kind != "cpu-guarded")
    throw ConfigError("device '" + std::string(name) +
                      "': unknown; use auto, cpu, cpu:THREADS, cuda or cuda:INDEX.");
  auto impl = std::make_shared<Impl>();
  impl->threads =
      colon == std::string_view::npos ? default_threads() : parse_threads(name.substr(colon + 1), name);
  impl->guarded = kind == "cpu-guarded";
  impl->name = (impl->guarded ? "cpu-guarded:" : "cpu:") + std::to_string(impl->threads);
  impl->instruction_set = choose_instruction_set();
  impl->memory =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  set_tables(*impl);
  return Device(std::move(impl));
}

DeviceKind Device::kind() const { return impl_->kind; }
const std::string& Device::name() const { return impl_->name; }
const std::string& Device::instruction_set() const { return impl_->instruction_set; }
int Device::threads() const { return impl_->threads; }
bool Device::guarded() const { return impl_->guarded; }
std::size_t Device::memory() const { return impl_->memory; }

}  // namespace v0
}  // namespace bilevel
