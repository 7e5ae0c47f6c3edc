#pragma once

// The kernels of a stencil: fill_analysis<T, stencil, separate, potentials...>(kernels).

#include "kernels/analysis_gradient.hpp"
#include "kernels/analysis_linearise.hpp"
#include "kernels/analysis_mixed.hpp"
#include "kernels/analysis_pdhg.hpp"
#include "kernels/table.hpp"

namespace bilevel::kernels::BILEVEL_BACKEND {

template <class Body, class Args>
void launch_analysis(const Stream& stream, const Args& a, int planes = 1) {
  launch_grid(stream, a.active, a.model.height, a.model.width, Body::G::rows, Body::G::columns, Body{a},
              planes);
}

/// f(C) with C == channels as a constant; numbers that kernels are not built for are refused before.
template <int... C, class F>
void with_channels(std::integer_sequence<int, C...>, int channels, F f) {
  static_cast<void>(((channels == C && (f(std::integral_constant<int, C>{}), true)) || ...));
}

template <template <class, class, class> class Body, class T, class S, bool separate,
          template <class> class Rho, class Args>
bool launch_if(const Stream& stream, const Args& a) {
  if (a.model.potential != Rho<T>::kind) return false;
  with_channels(typename S::template Channels<separate>{}, a.model.channels, [&](auto channels) {
    launch_analysis<Body<T, Rho<T>, Operator<S, separate, channels>>>(stream, a);
  });
  return true;
}

/// The body of the model's potential and channels; models with another potential are refused before.
template <template <class, class, class> class Body, class Args, class T, class S, bool separate,
          template <class> class... Rho>
void run_analysis(const Stream& stream, const Args& a) {
  static_cast<void>((launch_if<Body, T, S, separate, Rho>(stream, a) || ...));
}

/// The same without a potential.
template <template <class, class> class Body, class T, class S, bool separate>
void run_hessian(const Stream& stream, const AnalysisHessianArgs<T>& a) {
  with_channels(typename S::template Channels<separate>{}, a.model.channels,
                [&](auto channels) { launch_analysis<Body<T, Operator<S, separate, channels>>>(stream, a); });
}

template <class T, class S>
void run_pdhg_primal(const Stream& stream, const PdhgPrimalArgs<T>& a) {
  launch_analysis<PdhgPrimal<T, S>>(stream, a, a.model.channels);
}

template <class T, class S, bool separate, template <class> class... Rho>
void fill_analysis(AnalysisKernels<T>& k) {
  k.gradient = run_analysis<AnalysisGradient, AnalysisGradientArgs<T>, T, S, separate, Rho...>;
  k.linearise = run_analysis<AnalysisLinearise, AnalysisLineariseArgs<T>, T, S, separate, Rho...>;
  k.hessian = run_hessian<AnalysisHessian, T, S, separate>;
  k.dual = run_analysis<AnalysisDual, AnalysisDualArgs<T>, T, S, separate, Rho...>;
  k.mixed_adjoint = run_analysis<AnalysisMixedAdjoint, AnalysisMixedAdjointArgs<T>, T, S, separate, Rho...>;
  k.mixed_forward = run_analysis<AnalysisMixedForward, AnalysisMixedForwardArgs<T>, T, S, separate, Rho...>;
  k.bound = run_analysis<AnalysisBound, AnalysisBoundArgs<T>, T, S, separate, Rho...>;
  k.pdhg_dual = run_analysis<PdhgDual, PdhgDualArgs<T>, T, S, separate, Rho...>;
  k.pdhg_primal = run_pdhg_primal<T, S>;
}

}  // namespace bilevel::kernels::BILEVEL_BACKEND
