#pragma once

// A block collective of its own: of all headers here, that of its scan takes nvcc the longest to read.

#include <cstdint>

#include "kernels/block.hpp"
#ifdef __CUDACC__
#include <cub/block/block_scan.cuh>
#endif

namespace bilevel::kernels::BILEVEL_BACKEND {

#ifdef __CUDACC__
using SelectionScan = cub::BlockScan<int, CudaBlock::threads>;
inline constexpr int selection_scratch = Block::scratch_size<SelectionScan::TempStorage>(1);
#else
inline constexpr int selection_scratch = 0;
#endif

/// index[0..) = the e in [0, count) with wanted(e), in order; returns how many. Takes selection_scratch
/// bytes.
template <class F>
BILEVEL_HD int select(Block& block, int count, F wanted, std::int32_t* index) {
  int found = 0;
#ifdef __CUDACC__
  auto& storage = *block.template scratch<SelectionScan::TempStorage>(1);
  for (int first = 0; first < count; first += CudaBlock::threads) {
    const int e = first + static_cast<int>(threadIdx.x);
    const int keep = e < count && wanted(e) ? 1 : 0;
    int before = 0, kept = 0;
    SelectionScan(storage).ExclusiveSum(keep, before, kept);
    if (keep) index[found + before] = e;
    found += kept;
    __syncthreads();
  }
#else
  static_cast<void>(block);
  for (int e = 0; e < count; ++e)
    if (wanted(e)) index[found++] = e;
#endif
  return found;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
