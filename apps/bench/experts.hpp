#pragma once

#include "bilevel/core/tensor.hpp"
#include "device/backend.hpp"
#include "kernels/experts_args.hpp"

namespace bilevel_app::bench {

template <class T>
class Arrays;

/// A field of 8 experts with 7x7 filters of noise, weight 0.05 and smoothing 0.1, and the arrays its kernels
/// need beside the images.
template <class T>
class Experts {
 public:
  static constexpr int filters = 8, size = 7, taps = size * size;

  explicit Experts(Arrays<T>& arrays);

  bilevel::kernels::ExpertsModel<T> model(const Arrays<T>& arrays) const;
  T* maps() const { return maps_; }
  float* dual() const { return dual_; }
  double* sums() const { return sums_; }
  const double* constants() const { return constants_; }  ///< one per filter

 private:
  static constexpr int sum_rows = 2 + taps;
  bilevel::Tensor<T> maps_store_, parameters_;
  bilevel::Tensor<float> dual_store_;
  bilevel::Tensor<double> sums_store_;
  T* maps_;
  T* taps_;
  float* dual_;
  double *sums_, *constants_;
};

}  // namespace bilevel_app::bench
