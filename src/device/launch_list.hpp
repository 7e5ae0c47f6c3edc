#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "device/backend.hpp"

namespace bilevel {
inline namespace v0 {

/// Launches that a loop repeats with the same arguments, such as the iterations between two looks of the
/// host. The first run is direct; where the back end can, the second is recorded (on CUDA as a graph) and the
/// next ones replay it, one call for the whole list. Lists that transfer, wait or allocate stay direct.
class LaunchList {
 public:
  /// What the arguments of the launches depend on.
  using Key = std::array<std::uintptr_t, 3>;

  explicit LaunchList(Context& context) : context_(context) {}

  template <class F>
  void run(const Key& key, F launches) {
    Entry& entry = find(key);
    if (entry.recording) return replay(entry);
    if (!entry.recordable) {
      const Counters before = context_.counters();
      launches();
      judge(entry, before);
      return;
    }
    begin(entry);
    try {
      launches();
    } catch (...) {
      stop();
      throw;
    }
    end(entry);
  }

 private:
  struct Entry {
    bool recordable = false;
    std::uint64_t launches = 0;
    kernels::Partials partials = {};  // that the recording uses
    std::unique_ptr<Recording> recording;
  };
  static constexpr std::size_t most_entries = 32;

  Entry& find(const Key& key);
  void judge(Entry& entry, const Counters& before) const;
  void replay(Entry& entry);
  void begin(Entry& entry);
  void end(Entry& entry);
  void stop() noexcept;

  Context& context_;
  std::map<Key, Entry> entries_;
};

}  // namespace v0
}  // namespace bilevel
