#include "learn/dfo_model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/norm.hpp"
#include "learn/box_quadratic.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

constexpr double degenerate = 1e-13;  ///< least diagonal entry of R for columns of length 1

double inner(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t j = 0; j < a.size(); ++j) sum += a[j] * b[j];
  return sum;
}

/// Q R of a square matrix whose column t is `rows` t (its transpose, row-major), by Householder's method.
class Qr {
 public:
  explicit Qr(std::vector<double> columns, std::size_t n) : n_(n), a_(std::move(columns)), diagonal_(n) {
    for (std::size_t k = 0; k < n_; ++k) eliminate(k);
  }

  /// A^-T e_t = Q R^-T e_t.
  std::vector<double> inverse_transposed(std::size_t t) const {
    std::vector<double> x(n_, 0);
    for (std::size_t k = t; k < n_; ++k) {  // R^T x = e_t, forward from entry t
      double sum = k == t ? 1 : 0;
      for (std::size_t i = t; i < k; ++i) sum -= a_[k * n_ + i] * x[i];
      x[k] = sum / diagonal_[k];
    }
    for (std::size_t k = n_; k-- > 0;) reflect(k, x);
    return x;
  }

 private:
  std::span<double> column(std::size_t t) { return {&a_[t * n_], n_}; }

  /// Reflects column k to a multiple of e_k below row k; its vector stays below the diagonal, with a first
  /// entry such that H = I - v v^T.
  void eliminate(std::size_t k) {
    const std::span<double> v = column(k).subspan(k);
    const double length = norm_of(v);
    diagonal_[k] = v[0] > 0 ? -length : length;
    if (length > 0) {
      const double scale = 1 / std::sqrt(length * (length + std::abs(v[0])));
      v[0] -= diagonal_[k];
      for (double& e : v) e *= scale;
    }
    for (std::size_t t = k + 1; t < n_; ++t) {
      const std::span<double> other = column(t).subspan(k);
      const double along = inner(v, other);
      for (std::size_t i = 0; i < v.size(); ++i) other[i] -= along * v[i];
    }
    if (std::abs(diagonal_[k]) < degenerate) diagonal_[k] = diagonal_[k] < 0 ? -degenerate : degenerate;
  }
  void reflect(std::size_t k, std::vector<double>& x) const {
    const std::span<const double> v(&a_[k * n_ + k], n_ - k);
    const std::span<double> tail(&x[k], n_ - k);
    const double along = inner(v, tail);
    for (std::size_t i = 0; i < v.size(); ++i) tail[i] -= along * v[i];
  }

  std::size_t n_;
  std::vector<double> a_;         // column after column: R above the diagonal, the reflections from it down
  std::vector<double> diagonal_;  // of R
};

}  // namespace

ScaledBox::ScaledBox(std::vector<double> lower, std::vector<double> upper)
    : lower_(std::move(lower)), upper_(std::move(upper)) {
  for (std::size_t j = 0; j < lower_.size(); ++j) {
    if (!(lower_[j] < upper_[j])) continue;
    const double width = upper_[j] - lower_[j];
    moving_.push_back(j);
    width_.push_back(std::isfinite(width) ? width : 1);
  }
}

double ScaledBox::diagonal() const {
  for (const std::size_t j : moving_)
    if (!std::isfinite(upper_[j] - lower_[j])) return std::numeric_limits<double>::infinity();
  return std::sqrt(static_cast<double>(size()));
}

Room ScaledBox::room(std::span<const double> centre) const {
  return {displacement(lower_, centre), displacement(upper_, centre)};
}

double ScaledBox::resolution(std::span<const double> centre) const {
  double most = 0;
  for (std::size_t k = 0; k < size(); ++k) most = std::max(most, std::abs(centre[moving_[k]]) / width_[k]);
  return 1e3 * std::numeric_limits<double>::epsilon() * most;
}

std::vector<double> ScaledBox::displacement(std::span<const double> theta,
                                            std::span<const double> centre) const {
  std::vector<double> s(size());
  for (std::size_t k = 0; k < size(); ++k) s[k] = (theta[moving_[k]] - centre[moving_[k]]) / width_[k];
  return s;
}

std::vector<double> ScaledBox::at(std::span<const double> centre, std::span<const double> s) const {
  const Room end = room(centre);
  std::vector<double> theta(centre.begin(), centre.end());
  for (std::size_t k = 0; k < size(); ++k) {
    const std::size_t j = moving_[k];
    theta[j] = s[k] <= end.low[k] ? lower_[j] : s[k] >= end.high[k] ? upper_[j] : theta[j] + width_[k] * s[k];
    theta[j] = std::clamp(theta[j], lower_[j], upper_[j]);
  }
  return theta;
}

std::vector<double> farthest_along(std::span<const double> g, const Room& room, double radius) {
  const std::size_t n = g.size();
  const auto bound = [&](std::size_t j) { return (g[j] < 0 ? room.low : room.high)[j]; };
  std::vector<double> met(n);  // t at which entry j meets its bound
  std::vector<std::size_t> order;
  for (std::size_t j = 0; j < n; ++j) {
    met[j] = bound(j) / g[j];
    if (g[j] != 0) order.push_back(j);
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return met[a] < met[b]; });
  std::vector<double> open(order.size() + 1, 0);  // sum of g_j^2 from the k-th on
  for (std::size_t k = order.size(); k-- > 0;) open[k] = open[k + 1] + g[order[k]] * g[order[k]];
  double t = std::numeric_limits<double>::infinity(), left = radius * radius;
  for (std::size_t k = 0; k < order.size(); ++k) {
    const double reached = std::sqrt(std::max(0.0, left) / open[k]);
    if (reached <= met[order[k]]) {
      t = reached;
      break;
    }
    left -= bound(order[k]) * bound(order[k]);
  }
  std::vector<double> s(n, 0);
  for (const std::size_t j : order) s[j] = t >= met[j] ? bound(j) : t * g[j];
  return s;
}

LinearModels::LinearModels(const std::vector<double>& steps, const std::vector<double>& differences,
                           std::vector<double> residuals)
    : n_(static_cast<std::size_t>(std::llround(std::sqrt(static_cast<double>(steps.size()))))),
      steps_(steps),
      residuals_(std::move(residuals)) {
  find_lagrange();
  find_jacobian(differences);
}

void LinearModels::find_lagrange() {
  std::vector<double> scaled = steps_, length(n_);
  for (std::size_t t = 0; t < n_; ++t) {
    length[t] = norm_of(step(t));
    for (std::size_t j = 0; j < n_ && length[t] > 0; ++j) scaled[t * n_ + j] /= length[t];
    if (length[t] == 0) length[t] = 1;
  }
  const Qr qr(std::move(scaled), n_);
  lagrange_.resize(n_ * n_);
  for (std::size_t t = 0; t < n_; ++t) {
    const std::vector<double> g = qr.inverse_transposed(t);
    for (std::size_t j = 0; j < n_; ++j) lagrange_[t * n_ + j] = g[j] / length[t];
  }
}

/// J = sum_t (r_t - r) g_t^T.
void LinearModels::find_jacobian(const std::vector<double>& differences) {
  const std::size_t m = residuals_.size();
  jacobian_.assign(m * n_, 0);
  slope_.assign(n_, 0);
  for (std::size_t t = 0; t < n_; ++t)
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < n_; ++j)
        jacobian_[i * n_ + j] += differences[t * m + i] * lagrange_[t * n_ + j];
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n_; ++j) slope_[j] += 2 * residuals_[i] * jacobian_[i * n_ + j];
}

std::vector<double> LinearModels::lagrange_values(std::span<const double> s) const {
  std::vector<double> values(n_ + 1, 1);
  for (std::size_t t = 0; t < n_; ++t) {
    values[t] = inner(lagrange(t), s);
    values[n_] -= values[t];
  }
  return values;
}

double LinearModels::fall(std::span<const double> s) const {
  double rise = inner(slope_, s);
  for (std::size_t i = 0; i < residuals_.size(); ++i) {
    const double moved = inner(jacobian().subspan(i * n_, n_), s);
    rise += moved * moved;
  }
  return -rise;
}

double criticality_of(const LinearModels& models, const Room& room) {
  std::vector<double> down(models.slope().begin(), models.slope().end());
  for (double& e : down) e = -e;
  return inner(down, farthest_along(down, room, 1));
}

namespace {

/// s(a), the minimum of |r + J s|^2 + a |s|^2 in the room.
class Damped {
 public:
  Damped(const LinearModels& models, const Room& room) : models_(models), room_(room) {
    const std::size_t n = models.size(), m = models.jacobian().size() / n;
    matrix_.assign(n * n, 0);
    for (std::size_t i = 0; i < m; ++i) {
      const std::span<const double> row = models.jacobian().subspan(i * n, n);
      for (std::size_t j = 0; j < n; ++j)
        for (std::size_t k = 0; k < n; ++k) matrix_[j * n + k] += 2 * row[j] * row[k];
    }
    for (std::size_t j = 0; j < n; ++j) largest_ = std::max(largest_, matrix_[j * n + j]);
  }

  double largest() const { return largest_; }  ///< diagonal entry of 2 J^T J

  /// Of a and, where rounding leaves nothing definite, of a larger one; `a` is the one that was used.
  std::vector<double> minimum(double& a) const {
    const std::size_t n = models_.size();
    for (;; a *= 10) {
      std::vector<double> matrix = matrix_;
      for (std::size_t j = 0; j < n; ++j) matrix[j * n + j] += 2 * a;
      BoxQuadratic quadratic(std::move(matrix), {models_.slope().begin(), models_.slope().end()}, room_.low,
                             room_.high);
      if (quadratic.minimise()) return quadratic.solution();
    }
  }

 private:
  const LinearModels& models_;
  const Room& room_;
  std::vector<double> matrix_;
  double largest_ = 0;
};

}  // namespace

std::vector<double> trust_region_step(const LinearModels& models, const Room& room, double radius) {
  const double steepness = norm_of(models.slope());
  if (!(steepness > 0) || !std::isfinite(steepness)) return std::vector<double>(models.size(), 0);
  const Damped damped(models, room);
  double low = std::max(1e-14 * damped.largest(), std::numeric_limits<double>::min());
  std::vector<double> s = damped.minimum(low);
  if (norm_of(s) <= radius) return s;
  // 1/|s(a)| - 1/radius is nearly linear in a: false position with halving, between ends of either sign.
  double high = std::max(steepness / (2 * radius), 2 * low);
  double at_low = 1 / norm_of(s) - 1 / radius;
  std::vector<double> inside = damped.minimum(high);
  double at_high = 1 / std::max(norm_of(inside), 1e-300) - 1 / radius;
  int side = 0;  // of the last root guess; the other end counts half from the second time on (Illinois)
  for (int round = 1; round < 100 && norm_of(inside) < (1 - 1e-10) * radius; ++round) {
    const double a =
        round % 4 == 0 ? std::sqrt(low * high) : low + (high - low) * at_low / (at_low - at_high);
    if (!(a > low && a < high)) break;
    double used = a;
    s = damped.minimum(used);
    const double size = norm_of(s), value = 1 / size - 1 / radius;
    if (size > radius) {
      low = a;
      at_low = value;
      if (side == -1) at_high /= 2;
      side = -1;
    } else {
      high = a;
      at_high = value;
      if (side == 1) at_low /= 2;
      side = 1;
      inside = s;
    }
  }
  return inside;
}

std::optional<Replacement> improve_geometry(const LinearModels& models, const Room& room, double radius,
                                            double most) {
  const std::size_t n = models.size();
  std::vector<double> far(n);
  for (std::size_t t = 0; t < n; ++t) far[t] = norm_of(models.step(t));
  const auto farthest = std::max_element(far.begin(), far.end());
  const auto best_step = [&](std::size_t t) {
    const std::span<const double> g = models.lagrange(t);
    std::vector<double> up = farthest_along(g, room, radius), opposite(g.begin(), g.end());
    for (double& e : opposite) e = -e;
    std::vector<double> down = farthest_along(opposite, room, radius);
    return std::abs(inner(g, up)) >= std::abs(inner(g, down)) ? up : down;
  };
  if (*farthest > 2 * radius * (1 + 1e-12)) {
    const auto t = static_cast<std::size_t>(farthest - far.begin());
    return Replacement{t, best_step(t)};
  }
  std::optional<Replacement> worst;
  double largest = most;
  for (std::size_t t = 0; t < n; ++t) {
    if (norm_of(models.lagrange(t)) * radius <= largest) continue;
    std::vector<double> s = best_step(t);
    const double value = std::abs(inner(models.lagrange(t), s));
    if (!(value > largest)) continue;
    largest = value;
    worst = Replacement{t, std::move(s)};
  }
  return worst;
}

std::size_t least_useful(const LinearModels& models, std::span<const double> s, double radius, bool best) {
  const std::size_t n = models.size();
  const std::vector<double> values = models.lagrange_values(s);
  std::size_t chosen = 0;
  double most = -1;
  for (std::size_t t = 0; t < n + (best ? 1 : 0); ++t) {
    double square = 0;
    for (std::size_t j = 0; j < n; ++j)
      square += std::pow((t < n ? models.step(t)[j] : 0) - (best ? s[j] : 0), 2);
    const double far = square / (radius * radius), score = std::abs(values[t]) * std::max(1.0, far * far);
    if (score > most) {
      most = score;
      chosen = t;
    }
  }
  return chosen;
}

}  // namespace v0
}  // namespace bilevel
