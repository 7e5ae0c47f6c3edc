// Total generalised variation of second order.

#include "kernels/analysis_fill.hpp"
#include "kernels/generalised_gradient.hpp"
#include "kernels/generalised_linearise.hpp"
#include "kernels/generalised_mixed.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

/// Stands for both groups.
struct Generalised {
  template <bool>
  using Channels = UsualChannels;
  static constexpr int directions = 5;
};

namespace {

template <template <class, class, class> class Body, class Args, class T>
void run(const Stream& stream, const Args& a) {
  run_analysis<Body, Args, T, Generalised, false, Charbonnier, HuberC2>(stream, a);
}

/// The sums of the groups one after the other.
template <class T>
void bound(const Stream& stream, const AnalysisBoundArgs<T>& a) {
  run<CouplingBound, AnalysisBoundArgs<T>, T>(stream, a);
  AnalysisBoundArgs<T> field = a;
  field.model.alpha = a.model.field_alpha;
  field.row_bound = a.field_row_bound;
  field.norm2 = a.field_norm2;
  field.out = a.out + analysis_bound_sums * a.n;
  run<StrainBound, AnalysisBoundArgs<T>, T>(stream, field);
}

}  // namespace

template <class T>
void fill_analysis_generalised(Table<T>& table) {
  AnalysisKernels<T>& k = table.analysis[static_cast<int>(Stencil::generalised)];
  k.gradient = run<GeneralisedGradient, AnalysisGradientArgs<T>, T>;
  k.linearise = run<GeneralisedLinearise, AnalysisLineariseArgs<T>, T>;
  k.hessian = run_hessian<GeneralisedHessian, T, Generalised, false>;
  k.dual = run<GeneralisedDual, AnalysisDualArgs<T>, T>;
  k.mixed_adjoint = run<GeneralisedMixedAdjoint, AnalysisMixedAdjointArgs<T>, T>;
  k.mixed_forward = run<GeneralisedMixedForward, AnalysisMixedForwardArgs<T>, T>;
  k.bound = bound<T>;
}
template void fill_analysis_generalised(Table<float>&);
template void fill_analysis_generalised(Table<double>&);

}  // namespace bilevel::kernels::BILEVEL_BACKEND
