#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "bilevel/core/export.hpp"

namespace bilevel {
inline namespace v0 {

enum class DeviceKind { cpu, cuda };

/// Where work runs. A shared handle: copies name the same device, and moving one copies it.
class BILEVEL_API Device {
 public:
  Device(const Device&) = default;
  Device& operator=(const Device&) = default;

  /// "auto" (the first GPU, or the CPU without one), "cpu", "cpu:THREADS", "cuda", "cuda:INDEX".
  /// "cpu-guarded[:THREADS]" is the CPU with device memory that is inaccessible outside kernels, for tests.
  /// The environment variable BILEVEL_CPU_ISA (baseline, avx2, avx512) forces an instruction set,
  /// BILEVEL_CPU_OVERRIDES=off takes the generic kernel bodies, BILEVEL_CUDA_VARIANT=checking the CUDA
  /// kernels without contraction (in builds that hold them). Throws ConfigError for an unknown name,
  /// DeviceError for a device that is not there.
  static Device open(std::string_view name);

  DeviceKind kind() const;
  const std::string& name() const;             ///< as opened, e.g. "cpu:2"
  const std::string& instruction_set() const;  ///< "baseline", "avx2", "avx512"; "sm_90"
  const std::string& description() const;      ///< "2 threads, avx512"; the GPU's product name and memory
  const std::string& fallback() const;         ///< why "auto" took the CPU; else empty
  int threads() const;
  bool guarded() const;
  std::size_t memory() const;  ///< bytes in all

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit Device(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace v0
}  // namespace bilevel
