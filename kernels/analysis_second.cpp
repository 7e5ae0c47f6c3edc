// Second differences: total variation of second order.

#include "kernels/analysis_fill.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class T>
void fill_analysis_second(Table<T>& table) {
  fill_analysis<T, SecondDifferences, false, Charbonnier, HuberC2>(
      table.analysis[static_cast<int>(Stencil::second)]);
}
template void fill_analysis_second(Table<float>&);
template void fill_analysis_second(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
