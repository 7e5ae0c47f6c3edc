#pragma once

#include "kernels/math.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// Contributions of one element to K running sums.
template <int K>
struct Sums {
  double v[K];
};

/// The part of one image that a block works on: rows [row, row+rows), columns [column, column+columns).
struct Tile {
  int image;
  int row, column;
  int rows, columns;
};

/// How many of the sums of a body are joined by maximum.
template <class Body>
inline constexpr int maxima = [] {
  if constexpr (requires { Body::maxima; })
    return Body::maxima;
  else
    return 0;
}();

}  // namespace bilevel::kernels::BILEVEL_BACKEND
