#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <typeinfo>

#include "kernels/block.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// The checking variant of this back end finishes images in a second launch: without the fence between the
/// blocks of one launch, a race checker can follow every access of a body.
#ifdef BILEVEL_SPLIT_FINISH
inline constexpr bool split_finish = true;
#else
inline constexpr bool split_finish = false;
#endif

/// How a launch cuts images into tiles.
struct Grid {
  int height, width, tile_rows, tile_columns;
  unsigned across, tiles;  // tiles of a row, of a plane
  unsigned planes;         // of an image
};

/// Totals of an image from the partial sums of its tiles, in a fixed order: a tree over the lanes of one warp
/// per sum.
template <class Body>
__device__ inline void add_tiles(const double* partials, unsigned tiles, double* total) {
  constexpr int K = Body::sums;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int k = static_cast<int>(threadIdx.x) / 32; k < K; k += CudaBlock::warps) {
    const bool largest = k >= K - maxima<Body>;
    double sum = 0;
    for (unsigned t = static_cast<unsigned>(lane); t < tiles; t += 32) {
      const double p = __ldcg(partials + static_cast<std::size_t>(t) * K + k);
      sum = largest ? maximum(sum, p) : sum + p;
    }
    sum = join_warp(sum, largest);
    if (lane == 0) total[k] = sum;
  }
  __syncthreads();
}

/// One block per tile. The block of a plane that arrives last adds the plane's partial sums and finishes it.
template <class Body, int resident>
__global__ void __launch_bounds__(CudaBlock::threads, resident)
    grid_kernel(const __grid_constant__ Body body, const Active active, const Grid grid,
                const Partials partials) {
  constexpr int K = Body::sums;
  __shared__ alignas(16) unsigned char scratch[Body::scratch > 0 ? Body::scratch : 16];
  __shared__ CudaBlock::Shared shared;
  __shared__ double sums[K > 0 ? K : 1];
  __shared__ bool last;
  const unsigned slot = blockIdx.x / grid.tiles, place = blockIdx.x % grid.tiles;
  const int plane = static_cast<int>(slot % grid.planes);
  const int image = active.index[slot / grid.planes], thread = static_cast<int>(threadIdx.x);
  if (!active.mask[image]) return;
  const int row = static_cast<int>(place / grid.across) * grid.tile_rows;
  const int column = static_cast<int>(place % grid.across) * grid.tile_columns;
  const Tile tile{image,
                  row,
                  column,
                  minimum(grid.height - row, grid.tile_rows),
                  minimum(grid.width - column, grid.tile_columns),
                  plane};
  for (int k = thread; k < K; k += CudaBlock::threads) sums[k] = 0;
  __syncthreads();
  CudaBlock block(scratch, shared);
  body(block, tile, sums);
  if constexpr (K > 0) {
    for (int k = thread; k < K; k += CudaBlock::threads)
      partials.sums[static_cast<std::size_t>(blockIdx.x) * K + k] = sums[k];
    if constexpr (split_finish) return;
    __threadfence();
    __syncthreads();
    if (thread == 0) last = atomicAdd(partials.arrived + slot, 1u) == grid.tiles - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    add_tiles<Body>(partials.sums + static_cast<std::size_t>(slot) * grid.tiles * K, grid.tiles, sums);
    if (thread == 0) {
      partials.arrived[slot] = 0;
      finish_plane(body, image, plane, sums);
    }
  }
}

template <class Body>
__global__ void __launch_bounds__(CudaBlock::threads)
    finish_kernel(const __grid_constant__ Body body, const Active active, const unsigned tiles,
                  const unsigned planes, const double* partials) {
  __shared__ double sums[Body::sums];
  const int image = active.index[blockIdx.x / planes];
  if (!active.mask[image]) return;
  add_tiles<Body>(partials + static_cast<std::size_t>(blockIdx.x) * tiles * Body::sums, tiles, sums);
  if (threadIdx.x == 0) finish_plane(body, image, static_cast<int>(blockIdx.x % planes), sums);
}

template <class F>
__global__ void __launch_bounds__(CudaBlock::threads, 4)
    image_kernel(const __grid_constant__ F f, const Active active) {
  const int slot = static_cast<int>(blockIdx.x) * CudaBlock::threads + static_cast<int>(threadIdx.x);
  if (slot >= active.count) return;
  const int image = active.index[slot];
  if (active.mask[image]) f(image);
}

template <class Body>
__global__ void __launch_bounds__(CudaBlock::threads, 2) batch_kernel(const __grid_constant__ Body body) {
  __shared__ alignas(16) unsigned char scratch[Body::scratch > 0 ? Body::scratch : 16];
  __shared__ CudaBlock::Shared shared;
  CudaBlock block(scratch, shared);
  body(block);
}

template <class F>
__global__ void __launch_bounds__(CudaBlock::threads, 4)
    range_kernel(const __grid_constant__ F f, std::size_t size) {
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * CudaBlock::threads;
  for (std::size_t e = static_cast<std::size_t>(blockIdx.x) * CudaBlock::threads + threadIdx.x; e < size;
       e += stride)
    f(e);
}

inline cudaStream_t queue_of(const Stream& stream) { return static_cast<cudaStream_t>(stream.queue); }

template <class Body>
void launch_grid(const Stream& stream, const Active& active, int height, int width, int tile_rows,
                 int tile_columns, const Body& body, int planes = 1) {
  constexpr int K = Body::sums;
  static_assert(Body::scratch * Body::resident <= 160 * 1024, "shared memory over the budget");
  static_assert(work<Body> > 0);
  const auto across = static_cast<unsigned>((width + tile_columns - 1) / tile_columns);
  const Grid grid{height,
                  width,
                  tile_rows,
                  tile_columns,
                  across,
                  static_cast<unsigned>((height + tile_rows - 1) / tile_rows) * across,
                  static_cast<unsigned>(planes)};
  const unsigned slots = grid.planes * static_cast<unsigned>(active.count);
  const unsigned blocks = grid.tiles * slots;
  const Partials partials = K > 0 ? stream.partials(static_cast<std::size_t>(blocks) * K, slots) : Partials{};
  stream.enter(stream.owner);
  if (blocks > 0)
    grid_kernel<Body, Body::resident>
        <<<blocks, CudaBlock::threads, 0, queue_of(stream)>>>(body, active, grid, partials);
  if constexpr (split_finish && K > 0)
    if (blocks > 0)
      finish_kernel<<<slots, CudaBlock::threads, 0, queue_of(stream)>>>(body, active, grid.tiles, grid.planes,
                                                                        partials.sums);
  stream.leave(stream.owner, typeid(Body).name());
}

template <class F>
void launch_images(const Stream& stream, const Active& active, const F& f) {
  const auto blocks = static_cast<unsigned>((active.count + CudaBlock::threads - 1) / CudaBlock::threads);
  stream.enter(stream.owner);
  if (blocks > 0) image_kernel<<<blocks, CudaBlock::threads, 0, queue_of(stream)>>>(f, active);
  stream.leave(stream.owner, typeid(F).name());
}

template <class Body>
void launch_batch(const Stream& stream, const Body& body) {
  stream.enter(stream.owner);
  batch_kernel<<<1, CudaBlock::threads, 0, queue_of(stream)>>>(body);
  stream.leave(stream.owner, typeid(Body).name());
}

template <class F>
void launch_range(const Stream& stream, std::size_t size, const F& f) {
  constexpr std::size_t most_blocks = 4096;
  const std::size_t blocks = std::min((size + CudaBlock::threads - 1) / CudaBlock::threads, most_blocks);
  stream.enter(stream.owner);
  if (blocks > 0)
    range_kernel<<<static_cast<unsigned>(blocks), CudaBlock::threads, 0, queue_of(stream)>>>(f, size);
  stream.leave(stream.owner, typeid(F).name());
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
