#pragma once

#include <memory>
#include <vector>

#include "apps/bench/experts.hpp"
#include "apps/bench/mri.hpp"
#include "bilevel/core/scalars.hpp"
#include "device/backend.hpp"
#include "kernels/analysis_model.hpp"
#include "kernels/krylov_args.hpp"
#include "kernels/lbfgs_args.hpp"

namespace bilevel_app::bench {

/// The arrays that kernels are measured on, [n][size][size] each, all in one allocation.
enum Slot {
  slot_x,
  slot_y,
  slot_p,
  slot_q,
  slot_v,
  slot_r,
  slot_out,
  slot_previous,
  slot_weights,  // 4
  slot_dual = slot_weights + 4,
  slot_pairs_s = slot_dual + 2,
  slot_pairs_y = slot_pairs_s + bilevel::kernels::lbfgs_memory,
  slot_count = slot_pairs_y + bilevel::kernels::lbfgs_memory
};

/// Rows of one double per image. The first twelve are for results.
enum Row { row_rz = 12, row_rr, row_pap, row_beta, row_target, row_slope, row_iterations, row_constants };
enum Constant { constant_zero = row_constants, constant_half, constant_one, constant_small, row_count };

template <class T>
class Arrays {
 public:
  Arrays(bilevel::Context& context, int images, int size);

  bilevel::Context& context() { return context_; }
  const bilevel::kernels::Table<T>& table() { return bilevel::kernel_table<T>(context_); }
  const bilevel::kernels::Stream& stream() { return bilevel::stream_of(context_); }
  bilevel::Active active() { return active_.active(); }

  int n() const { return n_; }
  int size() const { return size_; }            ///< height and width
  std::size_t image() const { return image_; }  ///< pixels of one image
  std::size_t pixels() const { return image_ * static_cast<std::size_t>(n_); }
  /// Isotropic total variation: weight 0.05, smoothing 0.01, ridge 0.01, charbonnier.
  bilevel::kernels::AnalysisModel model() const;

  /// Made when first asked for.
  const Experts<T>& experts();
  Mri<T>& mri();

  const std::int32_t* labels();  ///< of image() samples, all 0

  T* slot(int k) { return slab_.view().device_data() + static_cast<std::size_t>(k) * stride_; }
  float* dual(int k) { return reinterpret_cast<float*>(slot(slot_dual + k)); }
  double* row(int k) { return rows_.device_data() + k * n_; }
  std::uint8_t* flags(int k) { return flags_.device_data() + k * n_; }
  /// A line search with all pairs, accepted at its first trial point.
  bilevel::kernels::LbfgsState* states() {
    return reinterpret_cast<bilevel::kernels::LbfgsState*>(states_.device_data());
  }
  /// Conjugate gradients that never stop and never move: <p, A p> so large that steps round to nothing.
  bilevel::kernels::CgState cg_state();

  /// Sets everything: noise in [0,1] in the images, the Hessian of x in the weights, all images active.
  void reset();
  /// Throws Error when an image was frozen or a number is not finite; `name` says after what.
  void verify(const std::string& name);
  /// Seconds of a device copy that moves `bytes`, half of them read and half written.
  double copy_time(double bytes, double min_time);

 private:
  template <class V>
  void require_finite(const std::string& name, const V* array);

  bilevel::Context& context_;
  int n_, size_;
  std::size_t image_, stride_;
  bilevel::Frame frame_;
  bilevel::Tensor<T> slab_, noise_;
  bilevel::View<double> rows_;
  bilevel::View<std::uint8_t> flags_, states_;
  bilevel::ActiveSet active_;
  std::unique_ptr<Experts<T>> experts_;
  std::unique_ptr<Mri<T>> mri_;
  bilevel::Tensor<std::int32_t> labels_;
  std::vector<std::pair<double, double>> copies_;  // bytes and seconds
};

}  // namespace bilevel_app::bench
