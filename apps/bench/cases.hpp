#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/bench/arrays.hpp"

namespace bilevel_app::bench {

/// One way to launch a kernel of the table, so that it can be repeated: no image is frozen, nothing grows.
template <class T>
struct Case {
  std::string kernel, variant;
  double words;        ///< of T moved per pixel, as kernels/table.hpp states
  double float_words;  ///< of float, besides
  double flops;        ///< per pixel; 0: not stated
  std::function<void(Arrays<T>&)> launch;

  double bytes() const { return words * sizeof(T) + float_words * sizeof(float); }  ///< per pixel
};

/// Every kernel of Table<T>, fma_loop first.
template <class T>
std::vector<Case<T>> kernel_cases();

/// Those of fields of experts.
template <class T>
void add_experts_cases(std::vector<Case<T>>& cases);

/// Those of magnetic resonance.
template <class T>
void add_mri_cases(std::vector<Case<T>>& cases);

/// Those of linear operators.
template <class T>
void add_operator_cases(std::vector<Case<T>>& cases);

/// Kernels of Table<T>, those of the stencils once. The passes of a CPU inside its Fourier transforms are no
/// launches.
template <class T>
inline constexpr std::size_t kernel_count = (sizeof(bilevel::kernels::Table<T>) -
                                             sizeof(bilevel::kernels::HostPasses<T>) -
                                             (bilevel::kernels::stencils - 1) *
                                                 sizeof(bilevel::kernels::AnalysisKernels<T>)) /
                                            sizeof(void (*)());

/// Hessian product, cg_update and cg_direction, preconditioned.
template <class T>
Case<T> cg_iteration_case();

}  // namespace bilevel_app::bench
