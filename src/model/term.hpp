#pragma once

// The parts of a composed energy. Data come first; the passes of the regularisers follow in order, each on
// what is there from those before it. Only the first regulariser carries the ridge.

#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bilevel/core/error.hpp"
#include "bilevel/model/energy.hpp"
#include "bilevel/model/parameters.hpp"

namespace bilevel {
inline namespace v0 {

/// A number of theta: its value, d value / d theta, its entry (-1: fixed).
struct Number {
  double value = 0, slope = 0;
  int entry = -1;

  double forward(std::span<const double> direction) const {
    return entry < 0 ? 0 : slope * direction[static_cast<std::size_t>(entry)];
  }
};
Number number_at(const Parameters& parameters, std::span<const double> theta, const std::string& name);
bool has_segment(const Parameters& parameters, const std::string& name);
/// A weight, at least 0, or a smoothing, which is positive. Throws ConfigError for others.
Number weight_at(const Parameters& parameters, std::span<const double> theta, const std::string& name,
                 bool positive = false);

/// What the gradient pass of a regulariser finds: pointwise data of which it adds 1/2 |S(x-y)|^2, data whose
/// gradient is in the array and whose sums are [coils][3][n] (kernels/analysis_args.hpp), or terms that are
/// complete.
template <class T>
struct GradientStart {
  const T *y = nullptr, *sampling = nullptr;
  const double* sums = nullptr;
  int coils = 1;
  double transform = 0, weight_norm = 0, coil_norm = 1;
};
/// And that of the Hessian: S p to be added, or a product that is there.
template <class T>
struct HessianStart {
  bool add = false;
  const T* sampling = nullptr;
};
/// The diagonal of the data's Hessian, mean times map [H,W] (null: 1), or the inverse diagonal of all terms
/// before.
template <class T>
struct DiagonalStart {
  double mean = 1;
  const T *map = nullptr, *before = nullptr;
};

/// Unit roundoff of gradients, 0 without bounds on it, and what underflow adds to the bound.
struct Roundoff {
  double unit = 0, underflow = 0;
};
/// Terms of underflow_bound() and one beside it.
struct UnderflowParts {
  double products = 0, norms = 0, beside = 0;
};

/// Constants of a regulariser, without the ridge.
struct RegulariserConstants {
  double lipschitz = 0, hessian_lipschitz = 0;
};
/// mu <= the smallest and L >= the largest eigenvalue of a Hessian.
struct Convexity {
  double mu, lipschitz;
};

/// What is known of one block of theta: its first entry and, with respect to theta, the Lipschitz constant of
/// B_b for all x, or the numbers of DirectionalBound.
struct BlockConstant {
  std::size_t first;
  double lipschitz;
};
struct BlockBound {
  std::size_t first;
  double norm_mixed, lipschitz, mixed_q, energy_mixed, rounding;

  void add(const BlockBound& b) {
    norm_mixed += b.norm_mixed;
    lipschitz += b.lipschitz;
    mixed_q += b.mixed_q;
    energy_mixed += b.energy_mixed;
    rounding += b.rounding;
  }
  /// Of the entry of theta behind a value.
  BlockBound of(const Number& n) const {
    return {static_cast<std::size_t>(n.entry),
            norm_mixed * n.slope,
            lipschitz * n.slope,
            mixed_q * n.slope,
            energy_mixed * n.slope,
            rounding * n.slope};
  }
};
/// The part of a term in DirectionalBound. Bounds of terms add up: with f = f1 + sum_k f2_k of
/// src/model/tv_constants.hpp, f2_k from the change of term k, <f2_k, A^ f2_k> <= 2 (M_k epsilon)^2 / mu and
/// sum W_j |K_j f|^2 <= (2/mu) <f, A^ f> for every term j, so that each f2_k is bounded in the norm of every
/// term as in its own.
struct TermBound {
  double hessian_q = 0, energy_q = 0, hessian_v = 0, energy_v = 0, hessian_vq = 0, hessian_qe = 0;
  std::vector<BlockBound> blocks = {};
  double linearisation = 0;

  /// But the blocks.
  void add(const TermBound& b) {
    hessian_q += b.hessian_q;
    energy_q += b.energy_q;
    hessian_v += b.hessian_v;
    energy_v += b.energy_v;
    hessian_vq += b.hessian_vq;
    hessian_qe += b.hessian_qe;
    linearisation += b.linearisation;
  }
};
/// What the measured sums of one image are bounds for.
struct Ball {
  double mu, epsilon, norm_q, norm_v, unit;
};

/// The sums of one image, row after row of n doubles.
struct ImageSums {
  std::span<const double> rows;
  std::size_t n, image;

  double operator[](std::size_t row) const { return rows[row * n + image]; }
  ImageSums from(std::size_t row) const { return {rows.subspan(row * n), n, image}; }
};

template <class T>
class AnalysisRegulariser;

template <class T>
class DataTerm {
 public:
  virtual ~DataTerm() = default;
  virtual Shape shape() const = 0;  ///< of x
  /// Throws ConfigError or ShapeError for values outside the domain, before anything changes.
  virtual void bind(Context&, const Parameters&, std::span<const double>) {}
  virtual double mu() const = 0;         ///< <= smallest eigenvalue of the Hessian
  virtual double lipschitz() const = 0;  ///< >= the largest
  /// What Hessian products add to Curvature::product_scale(), in units of rounding.
  virtual double product_rounding() const { return 0; }
  virtual UnderflowParts underflow(double) const { return {}; }  ///< of the unit roundoff
  virtual bool pointwise() const { return false; }
  /// The term itself where this one is on a part of the unknown.
  virtual const DataTerm& inner() const { return *this; }

  /// Its own part of the gradient in `out`, scratch from the frame.
  virtual GradientStart<T> gradient(Context&, Frame&, const Active&, View<const T> x, View<T> out) const = 0;
  virtual HessianStart<T> hessian(Context&, const Active&, View<const T> p, View<T> product) const = 0;
  virtual DiagonalStart<T> diagonal() const = 0;

  virtual std::vector<BlockConstant> blocks() const { return {}; }
  virtual std::vector<std::size_t> block_ends() const { return {}; }
  virtual int mixed_sums() const { return 0; }
  virtual void mixed_adjoint(Context&, const Active&, View<const T>, View<const T>, double*) const {}
  virtual void mixed(const ImageSums&, std::span<double>) const {}
  /// Whether it has written its part of B direction.
  virtual bool mixed_forward(Context&, const Active&, View<const T>, std::span<const double>, View<T>) const {
    return false;
  }
  virtual int bound_sums() const { return 0; }
  virtual void bound(Context&, const Active&, View<const T>, View<const T>, const BallInputs&,
                     double*) const {}
  /// `ridge` and the ball: of the energy.
  virtual std::vector<BlockBound> directional(const ImageSums&, const Ball&, double) const { return {}; }
  /// Whether B~ columns are bounded instead of measured.
  virtual bool bounds_columns() const { return false; }

  virtual std::unique_ptr<ProximalForm<T>> split(const AnalysisRegulariser<T>&) const { return nullptr; }
  /// The term in single precision, with data as they are now; of double precision alone.
  virtual std::unique_ptr<DataTerm<float>> single(Context&) const = 0;
};

template <class T>
class Regulariser {
 public:
  virtual ~Regulariser() = default;
  virtual void bind(Context&, const Parameters&, std::span<const double> theta) = 0;
  virtual double ridge() const = 0;  ///< xi that it carries, or 0
  virtual RegulariserConstants constants() const = 0;
  /// Of this term with its ridge, beside data and terms of which `before` is known.
  virtual Convexity with(const Convexity& before) const {
    return {before.mu + ridge(), before.lipschitz + ridge() + constants().lipschitz};
  }
  virtual UnderflowParts underflow() const = 0;
  virtual double product_rounding() const { return 0; }  ///< as of data
  virtual std::string values() const = 0;                ///< "alpha 0.1, nu 0.01", for messages

  virtual void gradient(Context&, const Active&, View<const T> x, View<T> g, const GradientSums&,
                        const GradientStart<T>&, const Roundoff&) const = 0;
  virtual int weight_arrays() const = 0;
  virtual int dual_arrays() const = 0;
  virtual void linearise(Context&, const Active&, View<const T> x, const float* dual, T* weights,
                         T* inverse_diagonal, const DiagonalStart<T>&) const = 0;
  virtual void hessian(Context&, const Active&, const T* weights, View<const T> p, View<T> product,
                       Scalars inner, const HessianStart<T>&) const = 0;
  /// The dual field at x (d null), or after the step x + step d.
  virtual void dual(Context&, const Active&, const T* x, const T* d, const double* step,
                    float* dual) const = 0;

  virtual std::vector<BlockConstant> blocks() const = 0;
  virtual std::vector<std::size_t> block_ends() const = 0;
  virtual int mixed_sums() const = 0;
  virtual void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q,
                             double* sums) const = 0;
  virtual void mixed(const ImageSums& sums, std::span<double> z) const = 0;  ///< B^T q of one image into z
  virtual void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction,
                             View<T> out, Scalars norm2, bool add) const = 0;
  virtual int bound_sums() const = 0;
  virtual void bound(Context&, const Active&, View<const T> x, View<const T> q, View<const T> v,
                     const BallInputs& ball, double mu, double* sums) const = 0;
  virtual TermBound directional(const ImageSums& sums, const Ball& ball) const = 0;
  virtual bool bounds_columns() const { return false; }
  virtual bool knows_columns() const { return true; }  ///< has finite bounds on them

  /// Mean diagonal of its Hessian where linearise() leaves that out of the inverse diagonal, which it then
  /// sets to 1 as first regulariser; negative: it is there.
  virtual double mean_left_out(Context&, const T*) const { return -1; }
  /// Diagonal of K^T K inside an image, and its eigenvalue where that of the Laplacian is `laplacian`.
  virtual double diagonal() const = 0;
  virtual double symbol(double laplacian) const = 0;
  virtual const AnalysisRegulariser<T>* analysis() const { return nullptr; }
  virtual std::unique_ptr<Regulariser<float>> single(Context&) const = 0;
};

}  // namespace v0
}  // namespace bilevel
