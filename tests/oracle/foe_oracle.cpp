#include "tests/oracle/foe_oracle.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>
#include <stdexcept>

namespace bilevel::oracle {
namespace {

using Real = long double;
using Vector = ExtendedImage;

// Index inside a line of `length` pixels that half-sample symmetric reflection reads at index i.
int reflected(int i, int length) {
  while (i < 0 || i >= length) i = i < 0 ? -1 - i : 2 * length - 1 - i;
  return i;
}

// Calls visit(p, patch) for every response p, where patch[tap] is the pixel that a tap reads:
// (C x)_p = sum c_tap x_patch[tap].
template <class Visit>
void for_each_patch(const FoeProblem& problem, const Visit& visit) {
  const int reach = problem.padding == Padding::symmetric ? (problem.size - 1) / 2 : 0;
  std::vector<int> patch(problem.taps());
  for (int r = 0; r < problem.response_height(); ++r) {
    for (int c = 0; c < problem.response_width(); ++c) {
      for (int i = 0; i < problem.size; ++i) {
        const int row = reflected(r + i - reach, problem.h) * problem.w;
        for (int j = 0; j < problem.size; ++j)
          patch[i * problem.size + j] = row + reflected(c + j - reach, problem.w);
      }
      visit(r * problem.response_width() + c, patch);
    }
  }
}

// Calls visit(p, tap, pixel) for every response and every tap of its patch.
template <class Visit>
void for_each_entry(const FoeProblem& problem, const Visit& visit) {
  for_each_patch(problem, [&](int p, const std::vector<int>& patch) {
    for (int tap = 0; tap < problem.taps(); ++tap) visit(p, tap, patch[tap]);
  });
}

// Part `index` of a vector whose parts have `size` entries, from `offset` on.
Vector part(const Vector& all, int index, int size, int offset = 0) {
  const auto first = all.begin() + offset + static_cast<std::ptrdiff_t>(index) * size;
  return {first, first + size};
}

Vector without_mean(Vector taps) {
  const Real mean = std::accumulate(taps.begin(), taps.end(), Real{0}) / static_cast<Real>(taps.size());
  for (Real& tap : taps) tap -= mean;
  return taps;
}

// Taps of filter k in theta or in a direction of it, as they enter the correlation.
Vector taps_of(const FoeProblem& problem, const Vector& theta, int k) {
  const Vector taps = part(theta, k, problem.taps(), 2 * problem.filters);
  return problem.zero_mean ? without_mean(taps) : taps;
}

struct Expert {
  Real b, nu;
  Vector taps;
};

Expert expert(const FoeProblem& problem, int k) {
  return {std::exp(Real{problem.theta.at(k)}), std::exp(Real{problem.theta.at(problem.filters + k)}),
          taps_of(problem, extended::widen(problem.theta), k)};
}

Vector apply_c(const FoeProblem& problem, const Vector& taps, const Vector& x) {
  if (x.size() != static_cast<std::size_t>(problem.pixels())) throw std::out_of_range("size of an image");
  Vector t(problem.responses());
  for_each_patch(problem, [&](int p, const std::vector<int>& patch) {
    Real sum = 0;
    for (int tap = 0; tap < problem.taps(); ++tap) sum += taps[tap] * x[patch[tap]];
    t[p] = sum;
  });
  return t;
}

Vector apply_c_adjoint(const FoeProblem& problem, const Vector& taps, const Vector& t) {
  Vector x(problem.pixels(), 0);
  for_each_entry(problem, [&](int p, int tap, int pixel) { x[pixel] += taps[tap] * t.at(p); });
  return x;
}

void add(Vector& sum, const Vector& term) {
  for (std::size_t p = 0; p < sum.size(); ++p) sum[p] += term.at(p);
}

// rho, psi = rho' = w t, rho'', d psi / d ln nu, w and (w1 / w) t at t.
struct PointValues {
  Real value, psi, curvature, psi_nu, w, kappa_t;
};

PointValues evaluate(Potential potential, Real nu, Real t) {
  if (potential == Potential::charbonnier) {
    const Real s = std::sqrt(t * t + nu * nu), s3 = s * s * s;
    return {s, t / s, nu * nu / s3, -nu * nu * t / s3, 1 / s, t / (s * s)};
  }
  const Real r = std::abs(t);
  if (r > nu) return {r - nu / 3, t / r, 0, 0, 1 / r, 1 / t};
  const Real w = 2 / nu - r / (nu * nu), sign = t > 0 ? 1 : t < 0 ? -1 : 0;
  return {r * r / nu - r * r * r / (3 * nu * nu), w * t, 2 / nu - 2 * r / (nu * nu),
          (-2 / nu + 2 * r / (nu * nu)) * t,      w,     sign / (nu * nu * w)};
}

std::vector<PointValues> evaluate_all(const FoeProblem& problem, const Expert& e, const Vector& t) {
  std::vector<PointValues> points;
  for (const Real response : t) points.push_back(evaluate(problem.potential, e.nu, response));
  return points;
}

Vector psi_field(const FoeProblem& problem, const Vector& x) {
  Vector field;
  for (int k = 0; k < problem.filters; ++k) {
    const Expert e = expert(problem, k);
    for (const PointValues& point : evaluate_all(problem, e, apply_c(problem, e.taps, x)))
      field.push_back(point.psi);
  }
  return field;
}

Vector curvature_maps(const FoeProblem& problem, const Vector& x) {
  Vector maps;
  for (int k = 0; k < problem.filters; ++k) {
    const Expert e = expert(problem, k);
    for (const PointValues& point : evaluate_all(problem, e, apply_c(problem, e.taps, x)))
      maps.push_back(e.b * point.curvature);
  }
  return maps;
}

Vector maps_with_dual(const FoeProblem& problem, const Vector& x, const Vector& zeta) {
  Vector maps;
  for (int k = 0; k < problem.filters; ++k) {
    const Expert e = expert(problem, k);
    for (const PointValues& point : evaluate_all(problem, e, apply_c(problem, e.taps, x)))
      maps.push_back(e.b * (point.w - point.kappa_t * zeta.at(maps.size())));
  }
  return maps;
}

Vector updated_dual(const FoeProblem& problem, const Vector& x, const Vector& zeta, const Vector& d) {
  Vector updated;
  for (int k = 0; k < problem.filters; ++k) {
    const Expert e = expert(problem, k);
    const Vector t = apply_c(problem, e.taps, x), c_d = apply_c(problem, e.taps, d);
    for (std::size_t p = 0; p < t.size(); ++p) {
      const PointValues point = evaluate(problem.potential, e.nu, t[p]);
      const Real moved = point.w * (t[p] + c_d[p]) - point.kappa_t * c_d[p] * zeta.at(updated.size());
      updated.push_back(std::clamp(moved, -1.0L, 1.0L));
    }
  }
  return updated;
}

Vector product_with_maps(const FoeProblem& problem, const Vector& maps, const Vector& direction) {
  Vector product = direction;
  for (Real& entry : product) entry *= 1 + Real{problem.mu};
  for (int k = 0; k < problem.filters; ++k) {
    const Expert e = expert(problem, k);
    Vector field = apply_c(problem, e.taps, direction);
    const Vector map = part(maps, k, problem.responses());
    for (std::size_t p = 0; p < field.size(); ++p) field[p] *= map[p];
    add(product, apply_c_adjoint(problem, e.taps, field));
  }
  return product;
}

// Calls entry(i, j, value) for every contribution to (1 + mu) I + sum_k C_k^T maps_k C_k.
template <class Value, class Entry>
void assemble(const FoeProblem& problem, const Vector& maps, const Entry& entry) {
  for (int p = 0; p < problem.pixels(); ++p) entry(p, p, 1 + Value(problem.mu));
  const int taps = problem.taps();
  std::vector<Value> block(static_cast<std::size_t>(taps) * taps);
  std::vector<std::vector<Value>> filters;
  for (int k = 0; k < problem.filters; ++k) {
    const Vector wide = expert(problem, k).taps;
    filters.emplace_back(wide.begin(), wide.end());
  }
  for_each_patch(problem, [&](int p, const std::vector<int>& patch) {
    std::fill(block.begin(), block.end(), Value{0});
    for (int k = 0; k < problem.filters; ++k) {
      const std::vector<Value>& c = filters[k];
      const auto map = static_cast<Value>(maps[k * problem.responses() + p]);
      for (int a = 0; a < taps; ++a) {
        const Value factor = map * c[a];
        for (int b = 0; b < taps; ++b) block[a * taps + b] += factor * c[b];
      }
    }
    for (int a = 0; a < taps; ++a) {
      for (int b = 0; b < taps; ++b) entry(patch[a], patch[b], block[a * taps + b]);
    }
  });
}

}  // namespace

double FoeProblem::weight(int k) const { return std::exp(theta.at(k)); }

double FoeProblem::smoothing(int k) const { return std::exp(theta.at(filters + k)); }

std::vector<double> FoeProblem::filter(int k) const { return extended::rounded(expert(*this, k).taps); }

Image FoeProblem::image(const std::vector<double>& batch, int i) const {
  const auto first = batch.begin() + static_cast<std::ptrdiff_t>(i) * pixels();
  return {first, first + pixels()};
}

FoeProblem with_theta(FoeProblem problem, std::vector<double> theta) {
  problem.theta = std::move(theta);
  return problem;
}

namespace extended {

long double energy(const FoeProblem& problem, const ExtendedImage& y, const ExtendedImage& x) {
  Real sum = 0;
  for (std::size_t p = 0; p < x.size(); ++p) {
    sum += (x[p] - y.at(p)) * (x[p] - y[p]) / 2 + Real{problem.mu} / 2 * x[p] * x[p];
  }
  for (int k = 0; k < problem.filters; ++k) {
    const Expert e = expert(problem, k);
    for (const PointValues& point : evaluate_all(problem, e, apply_c(problem, e.taps, x)))
      sum += e.b * point.value;
  }
  return sum;
}

ExtendedImage gradient(const FoeProblem& problem, const ExtendedImage& y, const ExtendedImage& x) {
  Vector result;
  for (std::size_t p = 0; p < x.size(); ++p) result.push_back(x[p] - y.at(p) + problem.mu * x[p]);
  for (int k = 0; k < problem.filters; ++k) {
    const Expert e = expert(problem, k);
    Vector field;
    for (const PointValues& point : evaluate_all(problem, e, apply_c(problem, e.taps, x)))
      field.push_back(e.b * point.psi);
    add(result, apply_c_adjoint(problem, e.taps, field));
  }
  return result;
}

ExtendedImage hessian_product(const FoeProblem& problem, const ExtendedImage& x,
                              const ExtendedImage& direction) {
  return product_with_maps(problem, curvature_maps(problem, x), direction);
}

ExtendedImage mixed_adjoint(const FoeProblem& problem, const ExtendedImage& x, const ExtendedImage& q) {
  Vector result(problem.parameters(), 0);
  for (int k = 0; k < problem.filters; ++k) {
    const Expert e = expert(problem, k);
    const Vector u = apply_c(problem, e.taps, q);
    const std::vector<PointValues> points = evaluate_all(problem, e, apply_c(problem, e.taps, x));
    for (std::size_t p = 0; p < points.size(); ++p) {
      result[k] += e.b * u[p] * points[p].psi;
      result[problem.filters + k] += e.b * u[p] * points[p].psi_nu;
    }
    Vector taps(problem.taps(), 0);
    for_each_entry(problem, [&](int p, int tap, int pixel) {
      taps[tap] += e.b * (q.at(pixel) * points[p].psi + x.at(pixel) * points[p].curvature * u[p]);
    });
    if (problem.zero_mean) taps = without_mean(taps);
    std::copy(taps.begin(), taps.end(), result.begin() + 2 * problem.filters + k * problem.taps());
  }
  return result;
}

ExtendedImage mixed_forward(const FoeProblem& problem, const ExtendedImage& x, const ExtendedImage& dtheta) {
  Vector result(problem.pixels(), 0);
  for (int k = 0; k < problem.filters; ++k) {
    const Expert e = expert(problem, k);
    const Real dbeta = dtheta.at(k), dgamma = dtheta.at(problem.filters + k);
    const Vector dtaps = taps_of(problem, dtheta, k), moved = apply_c(problem, dtaps, x);
    const std::vector<PointValues> points = evaluate_all(problem, e, apply_c(problem, e.taps, x));
    Vector change, psi;
    for (std::size_t p = 0; p < points.size(); ++p) {
      const PointValues& point = points[p];
      change.push_back(e.b * (dbeta * point.psi + dgamma * point.psi_nu + point.curvature * moved[p]));
      psi.push_back(e.b * point.psi);
    }
    add(result, apply_c_adjoint(problem, e.taps, change));
    add(result, apply_c_adjoint(problem, dtaps, psi));
  }
  return result;
}

}  // namespace extended

using extended::rounded;
using extended::widen;

Image correlate(const FoeProblem& problem, int k, const Image& x) {
  return rounded(apply_c(problem, expert(problem, k).taps, widen(x)));
}

Image correlate_adjoint(const FoeProblem& problem, int k, const Image& t) {
  return rounded(apply_c_adjoint(problem, expert(problem, k).taps, widen(t)));
}

double energy(const FoeProblem& problem, const Image& y, const Image& x) {
  return static_cast<double>(extended::energy(problem, widen(y), widen(x)));
}

Image gradient(const FoeProblem& problem, const Image& y, const Image& x) {
  return rounded(extended::gradient(problem, widen(y), widen(x)));
}

Image hessian_product(const FoeProblem& problem, const Image& x, const Image& direction) {
  return rounded(extended::hessian_product(problem, widen(x), widen(direction)));
}

Matrix hessian(const FoeProblem& problem, const Image& x) {
  return maps_matrix(problem, rounded(curvature_maps(problem, widen(x))));
}

std::vector<double> mixed_adjoint(const FoeProblem& problem, const Image& x, const Image& q) {
  return rounded(extended::mixed_adjoint(problem, widen(x), widen(q)));
}

Image mixed_forward(const FoeProblem& problem, const Image& x, const std::vector<double>& dtheta) {
  return rounded(extended::mixed_forward(problem, widen(x), widen(dtheta)));
}

Matrix mixed_matrix(const FoeProblem& problem, const Image& x) {
  Matrix b(problem.pixels(), problem.parameters());
  for (int j = 0; j < b.cols; ++j) {
    std::vector<double> unit(b.cols, 0.0);
    unit[j] = 1.0;
    const Image column = mixed_forward(problem, x, unit);
    for (int p = 0; p < b.rows; ++p) b(p, j) = column[p];
  }
  return b;
}

Field dual_field(const FoeProblem& problem, const Image& x) { return rounded(psi_field(problem, widen(x))); }

Field primal_dual_maps(const FoeProblem& problem, const Image& x, const Field& zeta) {
  return rounded(maps_with_dual(problem, widen(x), widen(zeta)));
}

Image maps_product(const FoeProblem& problem, const Field& maps, const Image& direction) {
  return rounded(product_with_maps(problem, widen(maps), widen(direction)));
}

Matrix maps_matrix(const FoeProblem& problem, const Field& maps) {
  const int n = problem.pixels();
  Vector sums(static_cast<std::size_t>(n) * n, 0);
  assemble<Real>(problem, widen(maps),
                 [&](int i, int j, Real value) { sums[static_cast<std::size_t>(i) * n + j] += value; });
  Matrix matrix(n, n);
  matrix.entries = rounded(sums);
  return matrix;
}

Field dual_update(const FoeProblem& problem, const Image& x, const Field& zeta, const Image& d) {
  return rounded(updated_dual(problem, widen(x), widen(zeta), widen(d)));
}

Matrix correlation_matrix(const FoeProblem& problem, int k) {
  Matrix c(problem.responses(), problem.pixels());
  const Expert e = expert(problem, k);
  Vector sums(c.entries.size(), 0);
  for_each_entry(problem, [&](int p, int tap, int pixel) {
    sums[static_cast<std::size_t>(p) * c.cols + pixel] += e.taps[tap];
  });
  c.entries = rounded(sums);
  return c;
}

namespace {

// sum += factor A^T A.
void add_gram(Matrix& sum, double factor, const Matrix& a) {
  for (int p = 0; p < a.rows; ++p) {
    for (int i = 0; i < a.cols; ++i) {
      if (a(p, i) == 0) continue;
      for (int j = 0; j < a.cols; ++j) sum(i, j) += factor * a(p, i) * a(p, j);
    }
  }
}

Matrix transposed(const Matrix& a) {
  Matrix result(a.cols, a.rows);
  for (int i = 0; i < a.rows; ++i) {
    for (int j = 0; j < a.cols; ++j) result(j, i) = a(i, j);
  }
  return result;
}

}  // namespace

double operator_norm(const Matrix& a) {
  if (a.cols > a.rows) return operator_norm(transposed(a));
  Matrix gram(a.cols, a.cols);
  add_gram(gram, 1.0, a);
  return std::sqrt(spectral_norm(gram));
}

double correlation_norm(const FoeProblem& problem, int k) {
  return operator_norm(correlation_matrix(problem, k));
}

double joint_norm(const FoeProblem& problem, const std::vector<double>& a) {
  Matrix sum(problem.pixels(), problem.pixels());
  for (int k = 0; k < problem.filters; ++k) add_gram(sum, a.at(k), correlation_matrix(problem, k));
  return spectral_norm(sum);
}

double row_norm(const FoeProblem& problem, int k) {
  const Matrix c = correlation_matrix(problem, k);
  Real largest = 0;
  for (int p = 0; p < c.rows; ++p) {
    Real square = 0;
    for (int i = 0; i < c.cols; ++i) square += Real{c(p, i)} * c(p, i);
    largest = std::max(largest, square);
  }
  return static_cast<double>(std::sqrt(largest));
}

namespace {

SymmetricBand band_matrix(const FoeProblem& problem, const Vector& maps) {
  const int reach = problem.size - 1;  // pixels of one patch are at most this many rows and columns apart
  SymmetricBand band(problem.pixels(), std::min(problem.pixels() - 1, reach * problem.w + reach));
  assemble<double>(problem, maps, [&](int i, int j, double value) { band.add(i, j, value); });
  return band;
}

Vector moved(Vector x, Real step, const Vector& d) {
  for (std::size_t p = 0; p < x.size(); ++p) x[p] += step * d[p];
  return x;
}

// ||Hess Phi(x)|| is at most the largest row sum of moduli.
Real curvature_bound(const FoeProblem& problem, const Vector& x) {
  const Vector maps = curvature_maps(problem, x), ones(problem.pixels(), 1);
  Vector sums(problem.pixels(), 1 + Real{problem.mu});
  for (int k = 0; k < problem.filters; ++k) {
    Vector taps = expert(problem, k).taps;
    for (Real& tap : taps) tap = std::abs(tap);
    Vector field = apply_c(problem, taps, ones);
    for (std::size_t p = 0; p < field.size(); ++p) field[p] *= maps[k * field.size() + p];
    add(sums, apply_c_adjoint(problem, taps, field));
  }
  return *std::max_element(sums.begin(), sums.end());
}

struct State {
  Vector x, zeta;
};

// One primal-dual Newton step with Armijo backtracking; where energy differences drown in rounding, a step
// that reduces the gradient is taken too. Returns false if no step is acceptable.
bool newton_step(const FoeProblem& problem, const Vector& y, const Vector& g, State& state) {
  SymmetricBand band = band_matrix(problem, maps_with_dual(problem, state.x, state.zeta));
  band.factorise();
  Vector d = band.solve(g);
  Real slope = 0;
  for (std::size_t p = 0; p < d.size(); ++p) {
    d[p] = -d[p];
    slope += d[p] * g[p];
  }
  const Real old = extended::energy(problem, y, state.x), rounding = 1e-16L * std::abs(old);
  for (Real step = 1; step > 1e-12L; step /= 2) {
    Vector trial = moved(state.x, step, d);
    const Real value = extended::energy(problem, y, trial);
    const auto flat = [&] {
      return value <= old + rounding &&
             extended::norm(extended::gradient(problem, y, trial)) <= 0.9L * extended::norm(g);
    };
    if (value <= old + 1e-4L * step * slope || flat()) {
      state.zeta = updated_dual(problem, state.x, state.zeta, d);
      state.x = std::move(trial);
      return true;
    }
  }
  return false;
}

}  // namespace

Minimiser minimise(const FoeProblem& problem, const Image& y, const Image& start, double tolerance) {
  const Vector data = widen(y);
  State state{widen(start.empty() ? y : start), {}};
  state.zeta = psi_field(problem, state.x);
  Real last = std::numeric_limits<Real>::infinity();
  Minimiser result;
  for (; result.iterations <= 2000; ++result.iterations) {
    const Vector g = extended::gradient(problem, data, state.x);
    const Real now = extended::norm(g);
    const Real rounding = 4e-19L * curvature_bound(problem, state.x) * (1 + extended::norm(state.x));
    result.gradient_norm = static_cast<double>(now);
    const bool at_rounding = now <= rounding && now > last / 2;
    if (now <= tolerance || at_rounding || !newton_step(problem, data, g, state)) {
      if (now > std::max<Real>(tolerance, rounding)) break;
      result.x = rounded(state.x);
      result.extended_x = state.x;
      return result;
    }
    last = now;
  }
  std::ostringstream message;
  message << "The oracle's Newton method stopped at ||grad|| = " << result.gradient_norm << " after "
          << result.iterations << " iterations.";
  throw std::runtime_error(message.str());
}

ExtendedImage extended::solve_adjoint(const FoeProblem& problem, const ExtendedImage& x,
                                      const ExtendedImage& rhs) {
  const Vector maps = curvature_maps(problem, x);
  SymmetricBand band = band_matrix(problem, maps);
  band.factorise();
  return band.solve(rhs, [&](const Vector& q) { return product_with_maps(problem, maps, q); });
}

Image solve_adjoint(const FoeProblem& problem, const Image& x, const Image& rhs) {
  return rounded(extended::solve_adjoint(problem, widen(x), widen(rhs)));
}

UpperResult exact_hypergradient(const FoeProblem& problem) {
  UpperResult result;
  Vector sum(problem.parameters(), 0);
  Real f = 0;
  for (int i = 0; i < problem.n; ++i) {
    const Minimiser solution = minimise(problem, problem.image(problem.y, i), {}, 0);
    const Image truth = problem.image(problem.x_true, i);
    Vector upper = solution.extended_x;
    for (std::size_t p = 0; p < upper.size(); ++p) {
      upper[p] = (upper[p] - truth[p]) / problem.n;
      f += upper[p] * upper[p] * problem.n / 2;
    }
    const Vector q = extended::solve_adjoint(problem, solution.extended_x, upper);
    Vector contribution = extended::mixed_adjoint(problem, solution.extended_x, q);
    for (Real& entry : contribution) entry = -entry;
    add(sum, contribution);
    result.contributions.push_back(rounded(contribution));
    result.xhat.push_back(solution.x);
    result.extended_xhat.push_back(solution.extended_x);
    result.adjoint.push_back(rounded(q));
  }
  result.hypergradient = rounded(sum);
  result.f = static_cast<double>(f);
  return result;
}

}  // namespace bilevel::oracle
