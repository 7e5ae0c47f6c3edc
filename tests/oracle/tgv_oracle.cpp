#include "tests/oracle/tgv_oracle.hpp"

#include <cmath>
#include <map>

namespace bilevel::oracle {
namespace {

using Vector = std::vector<double>;

double rho(const TgvModel& m, double r) {
  if (m.potential == Potential::charbonnier) return std::hypot(r, m.nu);
  return r <= m.nu ? r * r / m.nu - r * r * r / (3 * m.nu * m.nu) : r - m.nu / 3;
}
/// rho' / r.
double weight(const TgvModel& m, double r) {
  if (m.potential == Potential::charbonnier) return 1 / std::hypot(r, m.nu);
  return r <= m.nu ? 2 / m.nu - r / (m.nu * m.nu) : 1 / r;
}
/// -(rho' / r)' / r, of z z^T.
double bend(const TgvModel& m, double r) {
  if (r == 0) return 0;
  if (m.potential == Potential::charbonnier) return std::pow(std::hypot(r, m.nu), -3);
  return r <= m.nu ? 1 / (r * m.nu * m.nu) : 1 / (r * r * r);
}
/// d (rho' / r) / d nu.
double weight_nu(const TgvModel& m, double r) {
  if (m.potential == Potential::charbonnier) return -m.nu * std::pow(std::hypot(r, m.nu), -3);
  return r <= m.nu ? (-2 / m.nu + 2 * r / (m.nu * m.nu)) / m.nu : 0;
}

Vector times(const std::vector<TgvRow>& rows, const Vector& u) {
  Vector z;
  for (const TgvRow& row : rows) {
    double sum = 0;
    for (const auto& [e, factor] : row) sum += factor * u[e];
    z.push_back(sum);
  }
  return z;
}
void add_transposed(const std::vector<TgvRow>& rows, double scale, const Vector& f, Vector& out) {
  for (std::size_t k = 0; k < rows.size(); ++k)
    for (const auto& [e, factor] : rows[k]) out[e] += scale * factor * f[k];
}
double length(const Vector& z) {
  double sum = 0;
  for (double v : z) sum += v * v;
  return std::sqrt(sum);
}
double inner(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t e = 0; e < a.size(); ++e) sum += a[e] * b[e];
  return sum;
}
double sampled(const TgvModel& m, std::size_t e) { return m.mask.empty() ? 1 : m.mask[e % m.pixels()]; }
double alpha(const TgvModel& m, int group) { return group == 0 ? m.alpha1 : m.alpha0; }

/// Backward difference of a plane that begins at `plane`, times `scale`.
void add_backward(TgvRow& row, std::size_t plane, int p, int at, int size, int step, double scale) {
  if (at + 1 < size) row.emplace_back(plane + static_cast<std::size_t>(p), scale);
  if (at > 0) row.emplace_back(plane + static_cast<std::size_t>(p - step), -scale);
}

}  // namespace

std::vector<TgvModulus> tgv_moduli(const TgvModel& m) {
  std::vector<TgvModulus> out;
  const double root = std::sqrt(0.5);
  for (int p = 0; p < m.h * m.w; ++p) {
    const int r = p / m.w, c = p % m.w;
    TgvModulus coupling{0, {}}, strain{1, {}};
    for (int k = 0; k < m.channels; ++k) {
      const auto start = [&](int input) {
        return static_cast<std::size_t>(input * m.channels + k) * m.pixels();
      };
      const auto at = [&](int input, int q) { return start(input) + static_cast<std::size_t>(q); };
      TgvRow x{{at(1, p), -1}}, y{{at(2, p), -1}};
      if (c + 1 < m.w) x.insert(x.end(), {{at(0, p + 1), 1}, {at(0, p), -1}});
      if (r + 1 < m.h) y.insert(y.end(), {{at(0, p + m.w), 1}, {at(0, p), -1}});
      coupling.rows.push_back(x);
      coupling.rows.push_back(y);
      TgvRow xx, yy, xy;
      add_backward(xx, start(1), p, c, m.w, 1, 1);
      add_backward(yy, start(2), p, r, m.h, m.w, 1);
      add_backward(xy, start(1), p, r, m.h, m.w, root);
      add_backward(xy, start(2), p, c, m.w, 1, root);
      for (const TgvRow& row : {xx, yy, xy}) strain.rows.push_back(row);
    }
    out.push_back(coupling);
    out.push_back(strain);
  }
  return out;
}

double energy(const TgvModel& m, const Vector& y, const Vector& u) {
  double sum = 0;
  for (const TgvModulus& k : tgv_moduli(m)) sum += alpha(m, k.group) * rho(m, length(times(k.rows, u)));
  for (std::size_t e = 0; e < m.values(); ++e) {
    if (e < m.image()) sum += 0.5 * sampled(m, e) * (u[e] - y[e]) * (u[e] - y[e]);
    sum += 0.5 * (e < m.image() ? m.xi : m.xi_v) * u[e] * u[e];
  }
  return sum;
}

Vector gradient(const TgvModel& m, const Vector& y, const Vector& u) {
  Vector out(m.values());
  for (std::size_t e = 0; e < out.size(); ++e)
    out[e] = e < m.image() ? sampled(m, e) * (u[e] - y[e]) + m.xi * u[e] : m.xi_v * u[e];
  for (const TgvModulus& k : tgv_moduli(m)) {
    const Vector z = times(k.rows, u);
    add_transposed(k.rows, alpha(m, k.group) * weight(m, length(z)), z, out);
  }
  return out;
}

Vector hessian_product(const TgvModel& m, const Vector& u, const Vector& p) {
  Vector out(m.values());
  for (std::size_t e = 0; e < out.size(); ++e)
    out[e] = (e < m.image() ? sampled(m, e) + m.xi : m.xi_v) * p[e];
  for (const TgvModulus& k : tgv_moduli(m)) {
    const Vector z = times(k.rows, u), d = times(k.rows, p);
    const double r = length(z);
    add_transposed(k.rows, alpha(m, k.group) * weight(m, r), d, out);
    add_transposed(k.rows, -alpha(m, k.group) * bend(m, r) * inner(z, d), z, out);
  }
  return out;
}

Vector hessian_diagonal(const TgvModel& m, const Vector& u) {
  Vector out(m.values());
  for (std::size_t e = 0; e < out.size(); ++e) out[e] = e < m.image() ? sampled(m, e) + m.xi : m.xi_v;
  for (const TgvModulus& k : tgv_moduli(m)) {
    const Vector z = times(k.rows, u);
    const double r = length(z);
    std::map<std::size_t, double> along;  // <z, K unit>
    for (std::size_t row = 0; row < k.rows.size(); ++row)
      for (const auto& [e, factor] : k.rows[row]) {
        out[e] += alpha(m, k.group) * weight(m, r) * factor * factor;
        along[e] += factor * z[row];
      }
    for (const auto& [e, value] : along) out[e] -= alpha(m, k.group) * bend(m, r) * value * value;
  }
  return out;
}

std::vector<Vector> mixed_columns(const TgvModel& m, const Vector& u) {
  std::vector<Vector> out(5, Vector(m.values(), 0));
  for (const TgvModulus& k : tgv_moduli(m)) {
    const Vector z = times(k.rows, u);
    add_transposed(k.rows, weight(m, length(z)), z, out[static_cast<std::size_t>(k.group)]);
    add_transposed(k.rows, alpha(m, k.group) * weight_nu(m, length(z)), z, out[2]);
  }
  for (std::size_t e = 0; e < m.values(); ++e) out[e < m.image() ? 3 : 4][e] = u[e];
  return out;
}

Vector mixed_adjoint(const TgvModel& m, const Vector& u, const Vector& q) {
  Vector out;
  for (const Vector& column : mixed_columns(m, u)) out.push_back(inner(column, q));
  return out;
}

}  // namespace bilevel::oracle
