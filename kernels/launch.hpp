#pragma once

// Launchers. Sums of a body are added over a fixed partition, so they have the same bits in any run.
//
//   launch_tiles     every tile of every active image once
//   launch_elements  every chunk of every active image, taken as a vector
//   launch_images    f(image) for every active image
//   launch_batch     body(block) once, for decisions about the whole batch
//   launch_range     f(e) for every e in [0, size)
//
// A body of the first two has `sums` additive results per image (the last `maxima` of them, if any, joined by
// maximum), `operator()(Block&, const Tile&, double* partial) const` and `finish(int image, const double*
// total) const`, called once per active image when all its tiles are done. A launch of several planes visits
// every tile of every plane; its body has `finish(int image, int plane, const double* total)`. Its `scratch`
// are the bytes of block scratch it takes, `resident` the blocks that fit on a CUDA multiprocessor: its
// budget of registers is 65536 / (256 resident), that of shared memory 160 KiB / resident.

#ifdef __CUDACC__
#include "kernels/cuda_launch.hpp"
#else
#include "kernels/host_launch.hpp"
#endif

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class Body>
void launch_tiles(const Stream& stream, const Active& active, int height, int width, const Body& body,
                  int planes = 1) {
  launch_grid(stream, active, height, width, Block::tile_rows, Block::tile_columns, body, planes);
}

/// The tile's `column` is the first element, `columns` the number of elements.
template <class Body>
void launch_elements(const Stream& stream, const Active& active, std::size_t size, const Body& body) {
  launch_grid(stream, active, 1, static_cast<int>(size), 1, Block::chunk, body);
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
