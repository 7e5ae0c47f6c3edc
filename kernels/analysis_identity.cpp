// The image itself: Tikhonov, and what operators give.

#include "kernels/analysis_fill.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T>
void fill_analysis_identity(Table<T>& table) {
  fill_analysis<T, Identity, false, Charbonnier, HuberC2, Quadratic>(
      table.analysis[static_cast<int>(Stencil::identity)]);
}
template void fill_analysis_identity(Table<float>&);
template void fill_analysis_identity(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
