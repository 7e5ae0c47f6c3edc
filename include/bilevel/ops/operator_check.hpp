#pragma once

#include <cstdint>
#include <string>

#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

/// What check_operator() measured, the worst of its trials. Gaps are in units of what rounding() allows.
struct BILEVEL_API OperatorReport {
  double adjoint_gap = 0;  ///< |<A x, z> - <x, A^T z>| / (2 rounding u |x| |z|); right: <= 1
  double normal_gap = 0;   ///< |normal(x) - A^T (A x)| / (4 |A| rounding u |x|), |A|^2 = norm2(); right: <= 1
  double norm2 = 0;        ///< largest |A x|^2 / |x|^2 of a power iteration; right: <= norm2()
  double least2 = 0;       ///< smallest |A x|^2 / |x|^2 of noise and iterations; right: >= least2()
  bool leaves_frozen = true;  ///< images that are not active kept every value
  std::string fault;          ///< empty when all is right, else a sentence on what is not

  explicit operator bool() const { return fault.empty(); }
};

/// Looks for mistakes of an operator on random images: adjoint, normal, norm2, least2 and that frozen images
/// are left alone. Finds gross ones and proves nothing.
/// Allocates and waits. The same seed gives the same images. Throws what the operator throws.
template <class T>
BILEVEL_API OperatorReport check_operator(Context& context, const LinearOperator<T>& op,
                                          std::uint64_t seed = 1);

}  // namespace v0
}  // namespace bilevel
