#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bilevel/model/regularisers.hpp"
#include "bilevel/ops/linear_operator.hpp"

namespace bilevel {
inline namespace v0 {

/// The longest theta, of numbers alone, whose columns of B are measured instead of bounded.
inline constexpr std::size_t measured_columns = 10;

/// What a term says of itself at the bound values, for all x. Certificates are as right as these numbers.
struct TermConstants {
  double lipschitz = 0;          ///< >= largest eigenvalue of the Hessian
  double hessian_lipschitz = 0;  ///< |R''(x) - R''(x')| <= this |x - x'|
  /// Per value t_j of the term: |d_j grad R(x) - d_j grad R(x')| <= this |x - x'|, and |d_j grad R(x)| <=
  /// this, which is asked for only where theta has more than measured_columns entries.
  std::vector<double> mixed_lipschitz, mixed_norm = {};
  /// Rounding, u the unit roundoff of T: the computed gradient is off by at most u (rounding |x| +
  /// rounding_still), a product R''(x) p by u product_rounding |p|, <d_j grad R, q> by u mixed_rounding |q|.
  double rounding = 0, rounding_still = 0, product_rounding = 0, mixed_rounding = 0;
};

/// A part of a RegulariserSum that comes from outside: a Term, or an OperatorTerm.
class BILEVEL_API OwnPart {
 public:
  virtual ~OwnPart();
};

/// alpha sum_j rho_nu(|(K x)_j|) for an operator K of one's own, from the energy's images to one or two
/// channels, the modulus over the channels of an entry. Parameters alpha and nu, as wavelet_parameters().
template <class T>
class BILEVEL_API OperatorTerm final : public OwnPart {
 public:
  explicit OperatorTerm(std::shared_ptr<const LinearOperator<T>> k,
                        TvPotential potential = TvPotential::charbonnier)
      : k_(std::move(k)), potential_(potential) {}
  ~OperatorTerm() override;
  const std::shared_ptr<const LinearOperator<T>>& k() const { return k_; }
  TvPotential potential() const { return potential_; }

 private:
  std::shared_ptr<const LinearOperator<T>> k_;
  TvPotential potential_;
};

/// A convex, twice differentiable regulariser R(x; t) of one's own, a number per image. It need know no more
/// than what stands here; check_term() looks for mistakes.
///
/// Functions that take a Context work on the active images and leave results of others as they are; they may
/// wait and copy to the host, which costs time and nothing else. Arrays that are read and written do not
/// overlap. A term belongs to one energy at a time, which binds it.
template <class T>
class BILEVEL_API Term : public OwnPart {
 public:
  ~Term() override;
  virtual Shape shape() const = 0;  ///< of x: [N,C,H,W]
  /// Its parameters; in a sum their names get the prefix of the part.
  virtual std::vector<Segment> segments() const = 0;
  /// Values t of all segments, one after the other (not theta). Throws ConfigError outside the domain, and
  /// then keeps those of before.
  virtual void bind(std::span<const double> values) = 0;
  virtual TermConstants constants() const = 0;
  virtual void value_and_gradient(Context&, const Active&, View<const T> x, View<T> gradient,
                                  Scalars value) const = 0;
  /// product = R''(x) p.
  virtual void hessian_product(Context&, const Active&, View<const T> x, View<const T> p,
                               View<T> product) const = 0;
  /// sums [values][N]: row j holds <d_j grad R(x), q> of every image.
  virtual void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q,
                             View<double> sums) const = 0;
  /// out = sum_j direction_j d_j grad R(x).
  virtual void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction,
                             View<T> out) const = 0;
  /// The same term in single precision, for solvers that certify in double; null where there is none.
  virtual std::shared_ptr<Term<float>> single() const { return nullptr; }
};

/// A term of functions of the host, for one image each (C H W numbers) at values t. Every use takes the batch
/// to the host and back.
template <class T>
class BILEVEL_API HostTerm final : public Term<T> {
 public:
  struct Functions {
    /// Writes grad R(x), returns R(x).
    std::function<double(std::span<const double> t, std::span<const T> x, std::span<T> gradient)>
        value_and_gradient;
    std::function<void(std::span<const double> t, std::span<const T> x, std::span<const T> p,
                       std::span<T> product)>
        hessian_product;
    /// out = d grad R(x) / d t_j.
    std::function<void(std::span<const double> t, std::size_t j, std::span<const T> x, std::span<T> out)>
        mixed;
    std::function<TermConstants(std::span<const double> t)> constants;
  };
  /// Throws ConfigError for a function that is missing.
  HostTerm(const Shape& images, std::vector<Segment> segments, Functions functions);

  Shape shape() const override { return shape_; }
  std::vector<Segment> segments() const override { return segments_; }
  void bind(std::span<const double> values) override;
  TermConstants constants() const override { return functions_.constants(values_); }
  void value_and_gradient(Context&, const Active&, View<const T> x, View<T> gradient,
                          Scalars value) const override;
  void hessian_product(Context&, const Active&, View<const T> x, View<const T> p,
                       View<T> product) const override;
  void mixed_adjoint(Context&, const Active&, View<const T> x, View<const T> q,
                     View<double> sums) const override;
  void mixed_forward(Context&, const Active&, View<const T> x, std::span<const double> direction,
                     View<T> out) const override;

 private:
  Shape shape_;
  std::vector<Segment> segments_;
  Functions functions_;
  std::vector<double> values_;
};

/// What check_term() measured, the worst of its trials at x = 0 and at noise. Gaps are in units
/// of what the constants allow, right: <= 1.
struct BILEVEL_API TermReport {
  double value_gap =
      0;  ///< |R(x+d) - R(x) - <grad, d> - <d, R'' d>/2| against L_H |d|^3/6 and 16 u of the values
  double gradient_gap = 0;  ///< |grad(x+d) - grad(x) - R''(x) d| against L_H |d|^2/2
  double symmetry_gap = 0;  ///< |<R'' p, q> - <p, R'' q>| against product_rounding
  double mixed_gap =
      0;  ///< differences of the gradient in t against mixed_forward, relative to 1e-6 (float 1e-2)
  double adjoint_gap = 0;  ///< |<B e_j, q> - (B^T q)_j| against mixed_rounding
  double mixed_lipschitz_gap = 0;
  double lipschitz = 0;  ///< largest <p, R'' p> / |p|^2 of power iterations; right: <= lipschitz
  double convexity = 0;  ///< smallest of these of noise; right: >= 0
  bool leaves_frozen = true;
  std::string fault;  ///< empty when all is right, else a sentence on what is not

  explicit operator bool() const { return fault.empty(); }
};

/// Looks for mistakes of a term at the values t (it is bound to them afterwards). Finds gross ones and proves
/// nothing. Allocates and waits. The same seed gives the same images. Throws what the term throws.
template <class T>
BILEVEL_API TermReport check_term(Context& context, Term<T>& term, std::span<const double> values,
                                  std::uint64_t seed = 1);

}  // namespace v0
}  // namespace bilevel
