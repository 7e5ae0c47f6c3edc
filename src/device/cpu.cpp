#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <new>

#include "bilevel/core/error.hpp"
#include "device/backend.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

[[noreturn]] void out_of_memory(std::size_t bytes) {
  throw DeviceError("the CPU device cannot allocate " + std::to_string(bytes) +
                    " bytes; use smaller or fewer images, or single precision.");
}

/// A copy that has arrived already.
class Arrived final : public Arrival {
 public:
  explicit Arrived(std::size_t bytes) : bytes_(bytes) {}
  std::span<const std::byte> wait() override { return bytes_; }
  std::byte* data() { return bytes_.data(); }

 private:
  std::vector<std::byte> bytes_;
};

/// What both kinds of CPU memory share: work is done when a call returns.
class HostBackend : public Backend {
 public:
  void* allocate_zeros(std::size_t bytes) override {
    void* p = allocate(bytes);
    enter();
    std::memset(p, 0, bytes);
    leave("");
    return p;
  }
  void upload(void* target, const void* source, std::size_t bytes) override { copy(target, source, bytes); }
  void download(void* target, const void* source, std::size_t bytes) override { copy(target, source, bytes); }
  std::unique_ptr<Arrival> fetch(const void* source, std::size_t bytes) override {
    auto arrived = std::make_unique<Arrived>(bytes);
    copy(arrived->data(), source, bytes);
    return arrived;
  }
  void copy(void* target, const void* source, std::size_t bytes) override {
    if (bytes == 0) return;
    enter();
    std::memmove(target, source, bytes);
    leave("");
  }
  void synchronise() override {}
};

class CpuBackend final : public HostBackend {
 public:
  void* allocate(std::size_t bytes) override {
    constexpr std::size_t huge = std::size_t{2} << 20;
    const std::size_t alignment = bytes >= 2 * huge ? huge : 64;
    void* p = ::operator new(bytes, std::align_val_t(alignment), std::nothrow);
    if (!p) out_of_memory(bytes);
    if (alignment == huge) (void)madvise(p, bytes, MADV_HUGEPAGE);
    try {
      alignment_[p] = alignment;
    } catch (...) {
      ::operator delete(p, std::align_val_t(alignment));
      throw;
    }
    return p;
  }
  void release(void* memory) noexcept override {
    const auto it = alignment_.find(memory);
    if (it == alignment_.end()) return;
    ::operator delete(memory, std::align_val_t(it->second));
    alignment_.erase(it);
  }
  void enter() override {}
  void leave(const char*) override {}

 private:
  std::map<void*, std::size_t> alignment_;
};

/// Every allocation is inaccessible but inside launches and copies, so that host code that peeks at device
/// memory faults. New memory holds NaNs.
class GuardedBackend final : public HostBackend {
 public:
  ~GuardedBackend() override {
    for (const auto& [p, bytes] : pages_) munmap(p, bytes);
  }
  void* allocate(std::size_t bytes) override {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t rounded = (bytes + page - 1) / page * page;
    void* p = mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) out_of_memory(bytes);
    std::memset(p, 0xff, rounded);
    try {
      pages_[p] = rounded;
    } catch (...) {
      munmap(p, rounded);
      throw;
    }
    if (depth_ == 0) mprotect(p, rounded, PROT_NONE);
    return p;
  }
  void release(void* memory) noexcept override {
    const auto it = pages_.find(memory);
    if (it == pages_.end()) return;
    munmap(it->first, it->second);
    pages_.erase(it);
  }
  void enter() override {
    if (depth_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void leave(const char*) override {
    if (--depth_ == 0) protect(PROT_NONE);
  }

 private:
  void protect(int mode) {
    for (const auto& [p, bytes] : pages_) mprotect(p, bytes, mode);
  }
  std::map<void*, std::size_t> pages_;
  int depth_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const Device::Impl& device) {
  if (device.guarded) return std::make_unique<GuardedBackend>();
  return std::make_unique<CpuBackend>();
}

}  // namespace v0
}  // namespace bilevel
