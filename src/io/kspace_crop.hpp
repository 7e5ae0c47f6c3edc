#pragma once

#include <complex>
#include <vector>

#include "bilevel/core/scalars.hpp"
#include "bilevel/core/tensor.hpp"
#include "bilevel/ops/fourier_sampling.hpp"

namespace bilevel {
inline namespace v0 {
namespace io_detail {

using Complexes = std::vector<std::complex<double>>;

/// Crops the images of lines of centred k-space: n frequencies become the m <= n of the middle of the image,
///   to = F_m C F_n^* from,   C: positions -floor(m/2), ..., m - floor(m/2) - 1; F_m, F_n centred and
///   unitary.
class LineCrop {
 public:
  LineCrop(int lines, int n, int m);
  int wide() const { return n_; }
  int narrow() const { return m_; }
  /// From [lines][n] to [lines][m], which may begin at the same place.
  void operator()(const std::complex<double>* from, std::complex<double>* to);

 private:
  int lines_, n_, m_;
  Context context_;
  Frame frame_;
  ActiveSet all_;
  FourierSampling<double> inverse_, forward_;
  Tensor<double> wide_, wide_image_, image_, narrow_;
  std::vector<double> values_, cropped_;
};

/// Which of the m frequencies of a cropped line were measured when `measured` of its n were: those at k n/m
/// with both neighbours measured.
std::vector<unsigned char> crop_measured(const std::vector<unsigned char>& measured, int m);

/// Estimates the frequencies that were not measured on a line of n, which is to be cropped to m: of all lines
/// with the measured values, the one of least  |x inside|^2 + |x outside|^2/epsilon,  x = F_n^* y its image,
/// inside the m positions that stay. With C = F_n 1_inside F_n^* and u the frequencies without a value,
///   (1 - (1 - epsilon) C)_uu y_u = (1 - epsilon) C_um y_m
/// (the limit of Papoulis' and Gerchberg's iteration, damped; epsilon = 1 leaves zeros). Without it what was
/// not measured would be missing from the cropped frequencies next to it.
class LineCompletion {
 public:
  /// epsilon in (0, 1]: energy of a pixel outside by that of one inside.
  LineCompletion(const std::vector<unsigned char>& measured, int m, double epsilon);
  void operator()(std::complex<double>* line) const;

 private:
  std::vector<int> known_, unknown_;
  Complexes weights_;  ///< [unknown][known]
};

}  // namespace io_detail
}  // namespace v0
}  // namespace bilevel
