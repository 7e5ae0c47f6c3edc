#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <type_traits>

#include "bilevel/core/error.hpp"
#include "device/cuda/runtime.hpp"

namespace bilevel {
inline namespace v0 {
namespace cuda {
namespace {

class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags"); }
  ~Event() { static_cast<void>(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  void wait() { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Page-locked host memory.
class Pinned {
 public:
  explicit Pinned(std::size_t bytes) : bytes_(bytes) {
    check(cudaHostAlloc(&memory_, bytes, cudaHostAllocDefault), "cudaHostAlloc");
  }
  ~Pinned() { static_cast<void>(cudaFreeHost(memory_)); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  std::byte* data() { return static_cast<std::byte*>(memory_); }
  std::size_t bytes() const { return bytes_; }

 private:
  void* memory_ = nullptr;
  std::size_t bytes_;
};

/// Where fetches arrive: page-locked memory and the event that tells. Kept for the next fetch of its size.
struct Slot {
  explicit Slot(std::size_t bytes) : memory(bytes) {}
  Pinned memory;
  Event arrived;
};
struct SlotPool {
  std::vector<std::unique_ptr<Slot>> free;

  std::unique_ptr<Slot> take(std::size_t bytes) {
    const auto fits = [&](const std::unique_ptr<Slot>& s) { return s->memory.bytes() >= bytes; };
    const auto found = std::find_if(free.begin(), free.end(), fits);
    if (found == free.end()) return std::make_unique<Slot>(std::max<std::size_t>(bytes, 4096));
    std::unique_ptr<Slot> slot = std::move(*found);
    free.erase(found);
    return slot;
  }
};

class PinnedArrival final : public Arrival {
 public:
  PinnedArrival(std::shared_ptr<SlotPool> pool, std::unique_ptr<Slot> slot, std::size_t bytes, int ordinal)
      : pool_(std::move(pool)), slot_(std::move(slot)), bytes_(bytes), ordinal_(ordinal) {}
  ~PinnedArrival() override {
    // Later copies into the slot are behind this one on the stream. push_back can only fail for memory.
    try {
      pool_->free.push_back(std::move(slot_));
    } catch (...) {
    }
  }
  std::span<const std::byte> wait() override {
    const DeviceGuard guard(ordinal_);
    slot_->arrived.wait();
    return {slot_->memory.data(), bytes_};
  }

 private:
  std::shared_ptr<SlotPool> pool_;
  std::unique_ptr<Slot> slot_;
  std::size_t bytes_;
  int ordinal_;
};

/// Two halves of page-locked memory that uploads pass through, so that they are asynchronous whatever the
/// source is. A half is used again when its copies are done.
class Staging {
 public:
  void upload(void* target, const void* source, std::size_t bytes, cudaStream_t stream) {
    auto* to = static_cast<std::byte*>(target);
    const auto* from = static_cast<const std::byte*>(source);
    while (bytes > 0) {
      const std::size_t part = std::min(bytes, half_bytes - used_);
      if (part == 0) {
        turn(stream);
        continue;
      }
      std::byte* stage = memory_.data() + half_ * half_bytes + used_;
      std::memcpy(stage, from, part);
      check(cudaMemcpyAsync(to, stage, part, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync (upload)");
      used_ = std::min(half_bytes, (used_ + part + 15) / 16 * 16);
      to += part;
      from += part;
      bytes -= part;
    }
  }

 private:
  static constexpr std::size_t half_bytes = std::size_t{1} << 20;

  void turn(cudaStream_t stream) {
    copied_[half_].record(stream);
    recorded_[half_] = true;
    half_ = 1 - half_;
    if (recorded_[half_]) copied_[half_].wait();
    used_ = 0;
  }

  Pinned memory_{2 * half_bytes};
  Event copied_[2];
  bool recorded_[2] = {false, false};
  std::size_t used_ = 0;
  int half_ = 0;
};

class GraphRecording final : public Recording {
 public:
  GraphRecording(cudaGraph_t graph, cudaStream_t stream, int ordinal) : stream_(stream), ordinal_(ordinal) {
    check(cudaGraphInstantiate(&graph_, graph, 0), "cudaGraphInstantiate");
  }
  ~GraphRecording() override { static_cast<void>(cudaGraphExecDestroy(graph_)); }
  void replay() override {
    const DeviceGuard guard(ordinal_);
    check(cudaGraphLaunch(graph_, stream_), "cudaGraphLaunch");
  }

 private:
  cudaGraphExec_t graph_ = nullptr;
  cudaStream_t stream_;
  int ordinal_;
};

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                         std::free);
  return status == 0 ? text.get() : name;
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const Device::Impl& device) : device_(device) {
    const DeviceGuard guard(device_.ordinal);
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    owned_stream_.reset(stream);
    stream_ = stream;
    int pools = 0;
    check(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, device_.ordinal),
          "cudaDeviceGetAttribute");
    if (pools) {
      cudaMemPoolProps properties{};
      properties.allocType = cudaMemAllocationTypePinned;
      properties.location = {cudaMemLocationTypeDevice, device_.ordinal};
      check(cudaMemPoolCreate(&pool_, &properties), "cudaMemPoolCreate");
      owned_pool_.reset(pool_);
      std::uint64_t keep = UINT64_MAX;  // freed memory stays for the next allocation
      check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep),
            "cudaMemPoolSetAttribute");
    }
    staging_ = std::make_unique<Staging>();
  }
  ~CudaBackend() override {
    // Errors here were reported by the call that met them first, or concern a device that is gone.
    int current = -1;
    static_cast<void>(cudaGetDevice(&current));
    static_cast<void>(cudaSetDevice(device_.ordinal));
    static_cast<void>(cudaStreamSynchronize(stream_));
    staging_.reset();
    slots_->free.clear();
    owned_pool_.reset();
    owned_stream_.reset();
    static_cast<void>(cudaSetDevice(current));
  }

  void* allocate(std::size_t bytes) override {
    const DeviceGuard guard(device_.ordinal);
    void* p = nullptr;
    const cudaError_t status =
        pool_ ? cudaMallocFromPoolAsync(&p, bytes, pool_, stream_) : cudaMalloc(&p, bytes);
    if (status == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      throw DeviceError("device '" + device_.name + "' (" + device_.description + ") cannot allocate " +
                        std::to_string(bytes) + " bytes; use smaller or fewer images, or single precision.");
    }
    check(status, "cudaMallocFromPoolAsync");
    return p;
  }
  void* allocate_zeros(std::size_t bytes) override {
    void* p = allocate(bytes);
    const DeviceGuard guard(device_.ordinal);
    check(cudaMemsetAsync(p, 0, bytes, stream_), "cudaMemsetAsync");
    return p;
  }
  void release(void* memory) noexcept override {
    int current = -1;
    static_cast<void>(cudaGetDevice(&current));
    static_cast<void>(cudaSetDevice(device_.ordinal));
    static_cast<void>(pool_ ? cudaFreeAsync(memory, stream_) : cudaFree(memory));
    static_cast<void>(cudaSetDevice(current));
  }
  void upload(void* target, const void* source, std::size_t bytes) override {
    const DeviceGuard guard(device_.ordinal);
    staging_->upload(target, source, bytes, stream_);
  }
  void download(void* target, const void* source, std::size_t bytes) override {
    const DeviceGuard guard(device_.ordinal);
    if (bytes > 0)
      check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToHost, stream_),
            "cudaMemcpyAsync (download)");
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }
  std::unique_ptr<Arrival> fetch(const void* source, std::size_t bytes) override {
    const DeviceGuard guard(device_.ordinal);
    std::unique_ptr<Slot> slot = slots_->take(bytes);
    if (bytes > 0)
      check(cudaMemcpyAsync(slot->memory.data(), source, bytes, cudaMemcpyDeviceToHost, stream_),
            "cudaMemcpyAsync (fetch)");
    slot->arrived.record(stream_);
    return std::make_unique<PinnedArrival>(slots_, std::move(slot), bytes, device_.ordinal);
  }
  void copy(void* target, const void* source, std::size_t bytes) override {
    const DeviceGuard guard(device_.ordinal);
    if (bytes > 0)
      check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream_),
            "cudaMemcpyAsync (copy)");
  }
  void synchronise() override {
    const DeviceGuard guard(device_.ordinal);
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

  void enter() override { launch_guard_.emplace(device_.ordinal); }
  void leave(const char* kernel) override {
    const cudaError_t status = cudaPeekAtLastError();
    launch_guard_.reset();
    if (status == cudaSuccess) return;
    static_cast<void>(cudaGetLastError());
    check(status, ("the launch of " + demangled(kernel)).c_str());
  }

  void* queue() override { return stream_; }
  bool records() const override { return true; }
  void begin_recording() override {
    const DeviceGuard guard(device_.ordinal);
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  }
  std::unique_ptr<Recording> end_recording() override {
    const DeviceGuard guard(device_.ordinal);
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, cudaError_t (*)(cudaGraph_t)> owned(
        graph, cudaGraphDestroy);
    return std::make_unique<GraphRecording>(graph, stream_, device_.ordinal);
  }
  void stop_recording() noexcept override {
    cudaGraph_t graph = nullptr;
    static_cast<void>(cudaStreamEndCapture(stream_, &graph));
    if (graph) static_cast<void>(cudaGraphDestroy(graph));
  }

 private:
  template <class Handle, auto destroy>
  struct Destroy {
    void operator()(Handle handle) const { static_cast<void>(destroy(handle)); }
  };
  template <class Handle, auto destroy>
  using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<Handle, destroy>>;

  const Device::Impl& device_;
  Owned<cudaStream_t, cudaStreamDestroy> owned_stream_;
  Owned<cudaMemPool_t, cudaMemPoolDestroy> owned_pool_;
  cudaStream_t stream_ = nullptr;
  cudaMemPool_t pool_ = nullptr;
  std::optional<DeviceGuard> launch_guard_;
  std::unique_ptr<Staging> staging_;
  std::shared_ptr<SlotPool> slots_ = std::make_shared<SlotPool>();
};

}  // namespace

std::unique_ptr<Backend> make_backend(const Device::Impl& device) {
  return std::make_unique<CudaBackend>(device);
}

}  // namespace cuda
}  // namespace v0
}  // namespace bilevel
