// First differences: total variation, isotropic and anisotropic, and H1.

#include "kernels/analysis_fill.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T>
void fill_analysis_gradient(Table<T>& table) {
  fill_analysis<T, FirstDifferences, false, Charbonnier, HuberC2, Quadratic>(
      table.analysis[static_cast<int>(Stencil::gradient)]);
  fill_analysis<T, FirstDifferences, true, Charbonnier, HuberC2>(
      table.analysis[static_cast<int>(Stencil::gradient_separate)]);
}
template void fill_analysis_gradient(Table<float>&);
template void fill_analysis_gradient(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
