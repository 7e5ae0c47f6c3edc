#pragma once

// Arguments of the kernels that join a term behind an operator, alpha R(K x), to what is in a gradient, and
// that take a part of the unknown for a term and put it back.

#include <cstddef>

#include "bilevel/core/active.hpp"

namespace bilevel::kernels {

/// gradient += term, term = K^T f with the flux f = alpha psi(K x). value, norm2 and rounding hold what
/// belongs to the gradient before, and then to the sum; the bound on rounding grows by
///   unit (2 |gradient before| + reading |x| + writing |f|) + norm flux_rounding,
/// reading what rounding of K x does to f, writing that of K^T f and of the sum, norm = |K|.
template <class T>
struct JoinArgs {
  Active active;
  std::size_t size;  // of one image
  const T* x;
  const T* term;
  T* gradient;
  double* value;
  double* norm2;
  double* rounding;
  const double* term_value;
  const double* flux2;
  const double* flux_rounding;
  double unit, reading, writing, norm;
};

/// The first `size` entries of every image, of images of `from` and `to` entries.
template <class T>
struct PartArgs {
  Active active;
  std::size_t size, from, to;
  const T* x;
  T* out;
};

/// 1/inverse += term, the latter shared by the batch: a term that is a diagonal, in the preconditioner.
template <class T>
struct DiagonalArgs {
  Active active;
  std::size_t size;
  const T* term;
  T* inverse;
};

}  // namespace bilevel::kernels
