#pragma once

// Linear models of residuals on n + 1 points and steps in a ball and a box (Cartis, Fiala, Marteau and
// Roberts 2019; Conn, Scheinberg and Vicente 2009, chapters 3, 6 and 10): arithmetic on doubles of the host.

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace bilevel {
inline namespace v0 {

/// Displacements s from the best point that stay inside the bounds: low <= s <= high, low <= 0 <= high.
struct Room {
  std::vector<double> low, high;
};

/// Bounds of theta, scaled: displacements of the entries that can move, in units of the distance of their
/// bounds where both are finite.
class ScaledBox {
 public:
  ScaledBox(std::vector<double> lower, std::vector<double> upper);

  std::size_t size() const { return moving_.size(); }  ///< entries with lower < upper
  double diagonal() const;                             ///< infinite without bounds
  Room room(std::span<const double> centre) const;
  /// Below this length rounding of theta shows in displacements from the centre.
  double resolution(std::span<const double> centre) const;
  std::vector<double> displacement(std::span<const double> theta, std::span<const double> centre) const;
  /// The theta at a displacement; on a bound exactly where the displacement is as far as the room.
  std::vector<double> at(std::span<const double> centre, std::span<const double> s) const;

 private:
  std::vector<double> lower_, upper_, width_;  // width: of the moving entries
  std::vector<std::size_t> moving_;
};

/// argmax <g,s> over |s| <= radius in the room, exactly: s = clip(t g) with the largest t that the ball
/// allows, since this s maximises <g,s> - |s|^2/(2t) in the room. Cost n log n.
std::vector<double> farthest_along(std::span<const double> g, const Room& room, double radius);

/// The linear models r + J s that agree with the residuals at the best point (s = 0) and at n others, and
/// their Lagrange polynomials l_t(s) = <g_t,s>, l_t(d_u) = [t = u], and l_n(s) = 1 - sum_t l_t(s) of the best
/// point.
class LinearModels {
 public:
  /// `steps` [n][n] are the displacements d_t of the others, `differences` [n][m] their residuals less those
  /// of the best point, `residuals` [m]. QR of the steps, each scaled to length 1 (Householder): cost 3 n^3 +
  /// m n^2. Points that nearly depend on others get huge Lagrange polynomials instead of a division by zero.
  LinearModels(const std::vector<double>& steps, const std::vector<double>& differences,
               std::vector<double> residuals);

  std::size_t size() const { return n_; }
  std::span<const double> step(std::size_t t) const { return {&steps_[t * n_], n_}; }
  std::span<const double> lagrange(std::size_t t) const { return {&lagrange_[t * n_], n_}; }
  std::span<const double> jacobian() const { return jacobian_; }  ///< [m][n]
  std::span<const double> slope() const { return slope_; }        ///< 2 J^T r, the gradient of |r + J s|^2
  /// l_0(s), ..., l_n(s).
  std::vector<double> lagrange_values(std::span<const double> s) const;
  /// |r|^2 - |r + J s|^2.
  double fall(std::span<const double> s) const;

 private:
  void find_lagrange();
  void find_jacobian(const std::vector<double>& differences);

  std::size_t n_;
  std::vector<double> steps_, residuals_, lagrange_, jacobian_, slope_;
};

/// -<slope,s> of the steepest s with |s| <= 1 in the room: 0 where |r + J s|^2 is least.
double criticality_of(const LinearModels& models, const Room& room);

/// argmin |r + J s|^2 over |s| <= radius in the room. With the multiplier a of the ball, s minimises |r +
/// J s|^2 + a |s|^2 in the room, and |s| falls with a: a root of one number (More and Sorensen 1983) around
/// quadratics in boxes. Cost n^3 for each entry that meets a bound and each a.
std::vector<double> trust_region_step(const LinearModels& models, const Room& room, double radius);

/// A point that is to be replaced, and by what.
struct Replacement {
  std::size_t point;
  std::vector<double> step;
};
/// The models are fully linear on the ball when no point is farther than twice the radius and no |l_t|
/// of the others exceeds `most` in the ball and the room: nothing is to be replaced. Else the farthest point,
/// or that with the largest |l_t|, and where that is attained. Replacing by it multiplies the volume of the
/// points by this value, so that repeating it ends.
std::optional<Replacement> improve_geometry(const LinearModels& models, const Room& room, double radius,
                                            double most);

/// Which point a new one at s replaces, n being the best point: that with the largest |l_t(s)| max(1,
/// (|d_t - centre|/radius)^4). `centre` is s, and all n + 1 may go, if s is to be the best point; else it is
/// 0 and the best point stays.
std::size_t least_useful(const LinearModels& models, std::span<const double> s, double radius, bool best);

}  // namespace v0
}  // namespace bilevel
