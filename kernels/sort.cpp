// The order of numbers: a radix sort of Thrust on CUDA, one of pairs on the CPU. 1r 1w of keys and indices in
// each of 8 passes on CUDA.

#include "kernels/sort_args.hpp"
#include "kernels/stream.hpp"
#ifdef __CUDACC__
#include <thrust/execution_policy.h>
#include <thrust/sequence.h>
#include <thrust/sort.h>
#include <thrust/system_error.h>

#include "bilevel/core/error.hpp"
#else
#include <algorithm>
#endif

namespace bilevel::kernels::BILEVEL_BACKEND {

namespace {

#ifdef __CUDACC__
/// Gives Thrust the storage of the caller.
struct Storage {
  using value_type = char;
  const SortArgs& a;
  char* allocate(std::ptrdiff_t bytes) const {
    return static_cast<char*>(a.allocate(a.owner, static_cast<std::size_t>(bytes)));
  }
  void deallocate(char*, std::size_t) const {}
};
#else
struct Entry {
  double key;
  std::int32_t index;
  bool operator<(const Entry& other) const {
    return key < other.key || (key == other.key && index < other.index);
  }
};
#endif

}  // namespace

void sort(const Stream& stream, const SortArgs& a) {
#ifdef __CUDACC__
  stream.enter(stream.owner);
  Storage storage{a};
  const auto policy = thrust::cuda::par_nosync(storage).on(static_cast<cudaStream_t>(stream.queue));
  try {
    thrust::sequence(policy, a.index, a.index + a.count);
    thrust::stable_sort_by_key(policy, a.keys, a.keys + a.count, a.index);
  } catch (const thrust::system_error& error) {
    throw DeviceError(std::string("sorting failed: ") + error.what());
  }
#else
  auto* entries = static_cast<Entry*>(a.allocate(a.owner, static_cast<std::size_t>(a.count) * sizeof(Entry)));
  stream.enter(stream.owner);
  for (std::int32_t i = 0; i < a.count; ++i) entries[i] = {a.keys[i], i};
  std::sort(entries, entries + a.count);
  for (std::int32_t i = 0; i < a.count; ++i) a.index[i] = entries[i].index;
#endif
  stream.leave(stream.owner, "sort");
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
