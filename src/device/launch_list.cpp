#include "device/launch_list.hpp"

namespace bilevel {
inline namespace v0 {

LaunchList::Entry& LaunchList::find(const Key& key) {
  if (entries_.size() >= most_entries && !entries_.contains(key)) entries_.clear();
  Entry& entry = entries_[key];
  // A buffer of partial sums that had to grow since left the recording without its memory.
  if (entry.recording && !(entry.partials == context_.impl().partials)) entry = {};
  return entry;
}

/// Whether the first run, counted from `before`, only launched.
void LaunchList::judge(Entry& entry, const Counters& before) const {
  const Counters after = context_.counters();
  entry.recordable = context_.impl().backend->records() && after.allocations == before.allocations &&
                     after.host_syncs == before.host_syncs && after.bytes_uploaded == before.bytes_uploaded &&
                     after.bytes_downloaded == before.bytes_downloaded;
}

void LaunchList::replay(Entry& entry) {
  entry.recording->replay();
  context_.impl().counters.launches += entry.launches;
}

void LaunchList::begin(Entry& entry) {
  entry.launches = context_.counters().launches;
  context_.impl().backend->begin_recording();
}

void LaunchList::end(Entry& entry) {
  entry.launches = context_.counters().launches - entry.launches;
  entry.recording = context_.impl().backend->end_recording();
  entry.partials = context_.impl().partials;
  entry.recording->replay();
}

void LaunchList::stop() noexcept { context_.impl().backend->stop_recording(); }

}  // namespace v0
}  // namespace bilevel
