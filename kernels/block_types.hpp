#pragma once

#include "kernels/math.hpp"
#include "kernels/stream.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// Contributions of one element to K running sums.
template <int K>
struct Sums {
  double v[K];
};

/// The part of one image that a block works on: rows [row, row+rows), columns [column, column+columns); of
/// plane `plane` where a launch has several per image (one per filter).
struct Tile {
  int image;
  int row, column;
  int rows, columns;
  int plane = 0;
};

/// First element of image t.image.
template <class T>
BILEVEL_HD inline T* image_of(T* batch, std::size_t size, const Tile& t) {
  return batch ? batch + static_cast<std::size_t>(t.image) * size : nullptr;
}

/// How many of the sums of a body are joined by maximum.
template <class Body>
inline constexpr int maxima = [] {
  if constexpr (requires { Body::maxima; })
    return Body::maxima;
  else
    return 0;
}();

/// Cost of a body per pixel, in units of a vector update (launches below `serial_elements` of these run on
/// the calling thread).
template <class Body>
inline constexpr int work = [] {
  if constexpr (requires { Body::work; })
    return Body::work;
  else
    return 1;
}();

/// Hands the sums of an image (of one plane of it) to the body.
template <class Body>
BILEVEL_HD inline void finish_plane(const Body& body, int image, int plane, const double* total) {
  if constexpr (requires { body.finish(image, plane, total); })
    body.finish(image, plane, total);
  else
    body.finish(image, total);
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
