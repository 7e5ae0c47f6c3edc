#pragma once

// Arguments of smoothed isotropic total variation joint over the components of an image (1, or the real and
// imaginary planes of a complex one), beside a data term that other kernels evaluate.

#include "bilevel/core/active.hpp"
#include "kernels/tv_model.hpp"

namespace bilevel::kernels {

/// The number of components of an image [C,H,W] stands beside the model; `isotropic` is not looked at.
template <class T>
struct JointTvGradientArgs {
  TvModel model;
  int components = 1;
  Active active;
  const T* x;
  T* gradient;  // in: gradient of the data term; out: of all
  double* value;
  double* norm2;
  double* rounding;
  double unit;         // unit roundoff of T
  const double* data;  // [coils][3][n]: what SpectrumPass::gradient wrote
  int coils = 1;
  int n = 1;
  double transform = 0;    // 10 log2(H W): rounding of a transform relative to its norm, in units
  double weight_norm = 0;  // largest weight times largest coil power
  double coil_norm = 1;    // square root of the largest coil power
  double underflow = 0;    // what underflow adds to the bound (src/model/underflow.hpp)
};

/// Per pixel 1 + 4C planes: w, the C x-components and C y-components of kappa z, the same of the dual field,
/// so that the Hessian is K^T M K, M u = w u - (kappa z <zeta,u> + zeta <kappa z,u>)/2, alpha included.
/// Plane k is component k % C of the weight array k / C.
inline constexpr int joint_tv_weight_arrays = 5;
template <class T>
struct JointTvLineariseArgs {
  TvModel model;
  int components = 1;
  Active active;
  int n = 1;
  const T* x;
  const float* dual;  // [2][n][C]: x- and y-components; null: the exact Hessian
  T* weights;
  T* inverse_diagonal;
  double data_diagonal;  // of the data term, times coil_power where given
  const T* coil_power;   // [H][W] or null
};

template <class T>
struct JointTvHessianArgs {
  TvModel model;
  int components = 1;
  Active active;
  int n = 1;
  const T* weights;
  const T* p;
  T* product;  // in: that of the data term; out: A p
  double* inner;
};

template <class T>
struct JointTvDualArgs {
  TvModel model;
  int components = 1;
  Active active;
  int n = 1;
  const T* x;
  const T* d;  // null: start
  const double* step;
  float* dual;
};

template <class T>
struct JointTvMixedAdjointArgs {
  TvModel model;
  int components = 1;
  Active active;
  const T* x;
  const T* q;
  double* weight;
  double* smoothing;
  double* ridge;
};

/// out += K^T (weight w + smoothing w_nu) z + ridge x, and its squared norm.
template <class T>
struct JointTvMixedForwardArgs {
  TvModel model;
  int components = 1;
  Active active;
  const T* x;
  double weight, smoothing, ridge;
  T* out;
  double* norm2;
};

/// The sums of TvBoundArgs with |psi|^2, |psi|^2/W and |x|^2 between its sums and its maxima.
inline constexpr int joint_tv_bound_sums = tv_bound_sums + 3;
template <class T>
struct JointTvBoundArgs {
  TvModel model;
  int components = 1;
  Active active;
  const T* x;
  const T* q;
  const T* v;  // may be null
  const double* epsilon;
  const double* gradient;
  double mu;
  double row_bound;
  double norm2;
  double* out;
  int n;
};

}  // namespace bilevel::kernels
