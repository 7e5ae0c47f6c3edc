#include "tests/oracle/mri_oracle.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace bilevel::oracle {
namespace {

using Real = long double;
using Vector = ExtendedImage;
using extended::PotentialValues;
using extended::widen;

Vector part(const Vector& all, int index, int size) {
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(index) * size;
  return {first, first + size};
}

// One-dimensional transforms of the lines that start at `starts`, `length` entries `stride` apart, by their
// definition sum_m z_m exp(sign 2 pi i k m / length) / sqrt(length).
void transform_lines(Vector& z, int length, int stride, const std::vector<int>& starts, int sign) {
  const std::size_t n = z.size() / 2;
  Vector cosine, sine;
  for (int m = 0; m < length; ++m) {
    const Real angle = 2 * std::numbers::pi_v<Real> * m / length;
    cosine.push_back(std::cos(angle));
    sine.push_back(static_cast<Real>(sign) * std::sin(angle));
  }
  Vector re(length), im(length);
  for (const int start : starts) {
    for (int k = 0; k < length; ++k) {
      re[k] = im[k] = 0;
      for (int m = 0; m < length; ++m) {
        const std::size_t p = static_cast<std::size_t>(start) + static_cast<std::size_t>(m) * stride;
        const int turn = static_cast<int>(static_cast<long long>(k) * m % length);
        re[k] += cosine[turn] * z[p] - sine[turn] * z[n + p];
        im[k] += sine[turn] * z[p] + cosine[turn] * z[n + p];
      }
    }
    for (int k = 0; k < length; ++k) {
      const std::size_t p = static_cast<std::size_t>(start) + static_cast<std::size_t>(k) * stride;
      z[p] = re[k] / std::sqrt(static_cast<Real>(length));
      z[n + p] = im[k] / std::sqrt(static_cast<Real>(length));
    }
  }
}

Vector transform(int h, int w, Vector z, int sign) {
  std::vector<int> rows, columns;
  for (int r = 0; r < h; ++r) rows.push_back(r * w);
  for (int c = 0; c < w; ++c) columns.push_back(c);
  transform_lines(z, w, 1, rows, sign);
  transform_lines(z, h, w, columns, sign);
  return z;
}

// sigma_c x, [re, im][h][w].
Vector coil_image(const MriProblem& problem, const Vector& x, int coil) {
  const int n = problem.pixels();
  Vector z(2 * static_cast<std::size_t>(n), 0);
  for (int p = 0; p < n; ++p) {
    const Real re = x.at(p), im = problem.complex_image ? x.at(n + p) : 0;
    const Real a = problem.coils == 0 ? 1 : problem.maps.at(2 * coil * n + p);
    const Real b = problem.coils == 0 ? 0 : problem.maps.at((2 * coil + 1) * n + p);
    z[p] = a * re - b * im;
    z[n + p] = a * im + b * re;
  }
  return z;
}

Vector apply_e(const MriProblem& problem, const Vector& x) {
  Vector result;
  for (int c = 0; c < problem.channels(); ++c) {
    const Vector spectrum = transform(problem.h, problem.w, coil_image(problem, x, c), -1);
    result.insert(result.end(), spectrum.begin(), spectrum.end());
  }
  return result;
}

Vector apply_e_adjoint(const MriProblem& problem, const Vector& k_space) {
  const int n = problem.pixels();
  Vector x(problem.unknowns(), 0);
  for (int c = 0; c < problem.channels(); ++c) {
    const Vector z = transform(problem.h, problem.w, part(k_space, c, 2 * n), 1);
    for (int p = 0; p < n; ++p) {
      const Real a = problem.coils == 0 ? 1 : problem.maps.at(2 * c * n + p);
      const Real b = problem.coils == 0 ? 0 : problem.maps.at((2 * c + 1) * n + p);
      x[p] += a * z[p] + b * z[n + p];
      if (problem.complex_image) x[n + p] += a * z[n + p] - b * z[p];
    }
  }
  return x;
}

// weights_j z_{c,j} for both planes of every channel.
Vector weighted(const MriProblem& problem, const Vector& weights, Vector z) {
  for (std::size_t p = 0; p < z.size(); ++p) z[p] *= weights[p % problem.pixels()];
  return z;
}

Vector residual(const MriProblem& problem, const Vector& y, const Vector& x) {
  Vector r = apply_e(problem, x);
  for (std::size_t p = 0; p < r.size(); ++p) r[p] -= y.at(p);
  return r;
}

Real share(const MriProblem& problem, int k) {  // u(theta_k)
  const Real theta = problem.sampling.at(k);
  return problem.map == SamplingMap::direct ? theta * theta : theta / (1 - theta);
}

Real share_slope(const MriProblem& problem, int k) {
  const Real theta = problem.sampling.at(k);
  return problem.map == SamplingMap::direct ? 2 * theta : 1 / ((1 - theta) * (1 - theta));
}

// Parameters whose group contains a frequency, for every frequency.
std::vector<std::vector<int>> owners(const MriProblem& problem) {
  std::vector<std::vector<int>> result(problem.pixels());
  const std::vector<std::vector<int>> groups = frequency_groups(problem);
  if (groups.size() != problem.sampling.size()) throw std::invalid_argument("one parameter for every group");
  for (int k = 0; k < problem.samplings(); ++k)
    for (const int j : groups[k]) result.at(j).push_back(k);
  for (const auto& list : result)
    if (list.size() > 1 && problem.map == SamplingMap::rational)
      throw std::invalid_argument("rational weights do not overlap");
  return result;
}

Vector weights_of(const MriProblem& problem) {
  Vector weights;
  for (const auto& list : owners(problem)) {
    if (list.size() == 1) {
      weights.push_back(share(problem, list[0]));
      continue;
    }
    Real missed = 1;
    for (const int k : list) missed *= 1 - share(problem, k);
    weights.push_back(1 - missed);
  }
  return weights;
}

// Calls entry(j, k, dw_j / d theta_k) for every pair where it may differ from zero.
template <class Entry>
void for_each_slope(const MriProblem& problem, const Entry& entry) {
  const std::vector<std::vector<int>> lists = owners(problem);
  for (int j = 0; j < problem.pixels(); ++j) {
    for (const int k : lists[j]) {
      Real slope = share_slope(problem, k);
      for (const int other : lists[j])
        if (other != k) slope *= 1 - share(problem, other);
      entry(j, k, slope);
    }
  }
}

// Differences, [planes][directions][h][w].
Vector apply_grad(const MriProblem& problem, const Vector& x) {
  Vector z;
  for (int plane = 0; plane < problem.planes(); ++plane) {
    const auto first = x.begin() + static_cast<std::ptrdiff_t>(plane) * problem.pixels();
    const Vector own = extended::difference(problem.plane(), Vector(first, first + problem.pixels()));
    z.insert(z.end(), own.begin(), own.end());
  }
  return z;
}

Vector apply_grad_adjoint(const MriProblem& problem, const Vector& z) {
  const auto size = static_cast<std::ptrdiff_t>(problem.directions()) * problem.pixels();
  Vector x;
  for (int plane = 0; plane < problem.planes(); ++plane) {
    const auto first = z.begin() + plane * size;
    const Vector own = extended::difference_adjoint(problem.plane(), Vector(first, first + size));
    x.insert(x.end(), own.begin(), own.end());
  }
  return x;
}

// <a, b> over all components of term p.
Real inner_at(const MriProblem& problem, int p, const Vector& a, const Vector& b) {
  Real sum = 0;
  for (std::size_t k = p; k < a.size(); k += problem.terms()) sum += a[k] * b[k];
  return sum;
}

PotentialValues point_values(const MriProblem& problem, const Vector& z, int p) {
  return extended::potential_values(problem.potential, problem.nu, std::sqrt(inner_at(problem, p, z, z)));
}

// grad^T (factor(point) z).
template <class Factor>
Vector weighted_divergence(const MriProblem& problem, const Vector& x, const Factor& factor) {
  Vector z = apply_grad(problem, x);
  Vector scale;
  for (int p = 0; p < problem.terms(); ++p) scale.push_back(factor(point_values(problem, z, p)));
  for (std::size_t k = 0; k < z.size(); ++k) z[k] *= scale[k % scale.size()];
  return apply_grad_adjoint(problem, z);
}

Vector psi_of(const MriProblem& problem, const Vector& x) {
  Vector z = apply_grad(problem, x), w;
  for (int p = 0; p < problem.terms(); ++p) w.push_back(point_values(problem, z, p).w);
  for (std::size_t k = 0; k < z.size(); ++k) z[k] *= w[k % w.size()];
  return z;
}

void add_scaled_to(Vector& sum, Real factor, const Vector& term) {
  for (std::size_t p = 0; p < sum.size(); ++p) sum[p] += factor * term.at(p);
}

}  // namespace

Image MriProblem::data(int i) const {
  const auto size = static_cast<std::ptrdiff_t>(2) * channels() * pixels();
  return {y.begin() + i * size, y.begin() + (i + 1) * size};
}

Image MriProblem::truth(int i) const {
  const std::ptrdiff_t size = unknowns();
  return {x_true.begin() + i * size, x_true.begin() + (i + 1) * size};
}

std::vector<double> MriProblem::theta() const {
  std::vector<double> result = sampling;
  if (learn_alpha) result.push_back(std::log(alpha));
  if (learn_nu) result.push_back(std::log(nu));
  if (learn_xi) result.push_back(std::log(xi));
  return result;
}

MriProblem with_theta(MriProblem problem, const std::vector<double>& theta) {
  if (static_cast<int>(theta.size()) != problem.parameters()) throw std::invalid_argument("size of theta");
  auto next = theta.begin() + problem.samplings();
  std::copy(theta.begin(), next, problem.sampling.begin());
  if (problem.learn_alpha) problem.alpha = std::exp(*next++);
  if (problem.learn_nu) problem.nu = std::exp(*next++);
  if (problem.learn_xi) problem.xi = std::exp(*next++);
  return problem;
}

std::vector<std::vector<int>> frequency_groups(const MriProblem& problem) {
  std::vector<std::vector<int>> groups;
  const int h = problem.h, w = problem.w;
  if (problem.pattern == PatternKind::groups) return problem.groups;
  if (problem.pattern == PatternKind::rows) groups.resize(h);
  if (problem.pattern == PatternKind::columns) groups.resize(w);
  for (int j = 0; j < problem.pixels(); ++j) {
    const int mirrored = (h - j / w) % h * w + (w - j % w) % w;
    if (problem.pattern == PatternKind::rows) {
      groups[j / w].push_back(j);
    } else if (problem.pattern == PatternKind::columns) {
      groups[j % w].push_back(j);
    } else if (problem.pattern == PatternKind::free || mirrored == j) {
      groups.push_back({j});
    } else if (j < mirrored) {
      groups.push_back({j, mirrored});
    }
  }
  return groups;
}

namespace extended {

long double energy(const MriProblem& problem, const ExtendedImage& y, const ExtendedImage& x) {
  const Vector r = residual(problem, y, x), weights = weights_of(problem), z = apply_grad(problem, x);
  Real sum = 0;
  for (std::size_t j = 0; j < r.size(); ++j) sum += weights[j % weights.size()] * r[j] * r[j] / 2;
  for (const Real entry : x) sum += problem.xi * entry * entry / 2;
  for (int p = 0; p < problem.terms(); ++p) sum += problem.alpha * point_values(problem, z, p).value;
  return sum;
}

ExtendedImage gradient(const MriProblem& problem, const ExtendedImage& y, const ExtendedImage& x) {
  Vector result = apply_e_adjoint(problem, weighted(problem, weights_of(problem), residual(problem, y, x)));
  add_scaled_to(result, problem.xi, x);
  add_scaled_to(result, problem.alpha, apply_grad_adjoint(problem, psi_of(problem, x)));
  return result;
}

ExtendedImage data_product(const MriProblem& problem, const ExtendedImage& direction) {
  return apply_e_adjoint(problem, weighted(problem, weights_of(problem), apply_e(problem, direction)));
}

ExtendedImage regulariser_product(const MriProblem& problem, const ExtendedImage& x,
                                  const ExtendedImage& zeta, const ExtendedImage& direction) {
  const Vector z = apply_grad(problem, x), along = apply_grad(problem, direction);
  Vector field(z.size());
  for (int p = 0; p < problem.terms(); ++p) {
    const PotentialValues point = point_values(problem, z, p);
    const Real factor = point.w1 / (2 * point.w);
    const Real z_d = inner_at(problem, p, z, along), zeta_d = inner_at(problem, p, zeta, along);
    for (std::size_t k = p; k < z.size(); k += problem.terms())
      field[k] = problem.alpha * (point.w * along[k] - factor * (z[k] * zeta_d + zeta.at(k) * z_d));
  }
  Vector product = apply_grad_adjoint(problem, field);
  add_scaled_to(product, problem.xi, direction);
  return product;
}

ExtendedImage hessian_product(const MriProblem& problem, const ExtendedImage& x,
                              const ExtendedImage& direction) {
  Vector product = regulariser_product(problem, x, psi_of(problem, x), direction);
  add_scaled_to(product, 1, data_product(problem, direction));
  return product;
}

ExtendedImage dual_field(const MriProblem& problem, const ExtendedImage& x) { return psi_of(problem, x); }

ExtendedImage dual_update(const MriProblem& problem, const ExtendedImage& x, const ExtendedImage& zeta,
                          const ExtendedImage& d) {
  const Vector z = apply_grad(problem, x), along = apply_grad(problem, d);
  Vector updated(z.size());
  for (int p = 0; p < problem.terms(); ++p) {
    const PotentialValues point = point_values(problem, z, p);
    const Real factor = point.w1 / point.w * inner_at(problem, p, z, along);
    for (std::size_t k = p; k < z.size(); k += problem.terms())
      updated[k] = point.w * (z[k] + along[k]) - factor * zeta.at(k);
    const Real length = std::max(std::sqrt(inner_at(problem, p, updated, updated)), 1.0L);
    for (std::size_t k = p; k < z.size(); k += problem.terms()) updated[k] /= length;
  }
  return updated;
}

ExtendedImage mixed_adjoint(const MriProblem& problem, const ExtendedImage& y, const ExtendedImage& x,
                            const ExtendedImage& q) {
  const Vector r = residual(problem, y, x), e_q = apply_e(problem, q);
  const std::size_t n = problem.pixels();
  Vector products(n, 0), result(problem.samplings(), 0);
  for (std::size_t j = 0; j < r.size(); ++j) products[j % n] += r[j] * e_q[j];
  for_each_slope(problem, [&](int j, int k, Real slope) { result[k] += slope * products[j]; });
  const Vector z = apply_grad(problem, x), grad_q = apply_grad(problem, q);
  Real alpha = 0, nu = 0, xi = 0;
  for (std::size_t p = 0; p < static_cast<std::size_t>(problem.terms()); ++p) {
    const PotentialValues point = point_values(problem, z, static_cast<int>(p));
    const Real z_q = inner_at(problem, static_cast<int>(p), z, grad_q);
    alpha += problem.alpha * point.w * z_q;
    nu += problem.alpha * problem.nu * point.dw_dnu * z_q;
  }
  for (std::size_t p = 0; p < x.size(); ++p) xi += problem.xi * x[p] * q.at(p);
  if (problem.learn_alpha) result.push_back(alpha);
  if (problem.learn_nu) result.push_back(nu);
  if (problem.learn_xi) result.push_back(xi);
  return result;
}

ExtendedImage mixed_forward(const MriProblem& problem, const ExtendedImage& y, const ExtendedImage& x,
                            const ExtendedImage& dtheta) {
  Vector change(problem.pixels(), 0);
  for_each_slope(problem, [&](int j, int k, Real slope) { change[j] += slope * dtheta.at(k); });
  Vector result = apply_e_adjoint(problem, weighted(problem, change, residual(problem, y, x)));
  auto next = dtheta.begin() + problem.samplings();
  if (problem.learn_alpha) {
    const Vector column = weighted_divergence(problem, x, [](const auto& point) { return point.w; });
    add_scaled_to(result, *next++ * problem.alpha, column);
  }
  if (problem.learn_nu) {
    const Vector column = weighted_divergence(problem, x, [](const auto& point) { return point.dw_dnu; });
    add_scaled_to(result, *next++ * problem.alpha * problem.nu, column);
  }
  if (problem.learn_xi) add_scaled_to(result, *next++ * problem.xi, x);
  return result;
}

}  // namespace extended

using extended::rounded;

Image fourier(int h, int w, const Image& z) { return rounded(transform(h, w, widen(z), -1)); }

Image fourier_adjoint(int h, int w, const Image& z) { return rounded(transform(h, w, widen(z), 1)); }

Image encode(const MriProblem& problem, const Image& x) { return rounded(apply_e(problem, widen(x))); }

Image encode_adjoint(const MriProblem& problem, const Image& k_space) {
  return rounded(apply_e_adjoint(problem, widen(k_space)));
}

std::vector<double> sampling_weights(const MriProblem& problem) { return rounded(weights_of(problem)); }

Matrix weight_jacobian(const MriProblem& problem) {
  Matrix jacobian(problem.pixels(), problem.samplings());
  for_each_slope(problem, [&](int j, int k, Real slope) { jacobian(j, k) = static_cast<double>(slope); });
  return jacobian;
}

double energy(const MriProblem& problem, const Image& y, const Image& x) {
  return static_cast<double>(extended::energy(problem, widen(y), widen(x)));
}

Image gradient(const MriProblem& problem, const Image& y, const Image& x) {
  return rounded(extended::gradient(problem, widen(y), widen(x)));
}

Image hessian_product(const MriProblem& problem, const Image& x, const Image& direction) {
  return rounded(extended::hessian_product(problem, widen(x), widen(direction)));
}

std::vector<double> mixed_adjoint(const MriProblem& problem, const Image& y, const Image& x, const Image& q) {
  return rounded(extended::mixed_adjoint(problem, widen(y), widen(x), widen(q)));
}

Image mixed_forward(const MriProblem& problem, const Image& y, const Image& x,
                    const std::vector<double>& dtheta) {
  return rounded(extended::mixed_forward(problem, widen(y), widen(x), widen(dtheta)));
}

Matrix mixed_matrix(const MriProblem& problem, const Image& y, const Image& x) {
  Matrix b(problem.unknowns(), problem.parameters());
  for (int j = 0; j < b.cols; ++j) {
    std::vector<double> unit(b.cols, 0.0);
    unit[j] = 1.0;
    const Image column = mixed_forward(problem, y, x, unit);
    for (int p = 0; p < b.rows; ++p) b(p, j) = column[p];
  }
  return b;
}

Field dual_field(const MriProblem& problem, const Image& x) { return rounded(psi_of(problem, widen(x))); }

Image primal_dual_product(const MriProblem& problem, const Image& x, const Field& zeta,
                          const Image& direction) {
  Vector product = extended::regulariser_product(problem, widen(x), widen(zeta), widen(direction));
  add_scaled_to(product, 1, extended::data_product(problem, widen(direction)));
  return rounded(product);
}

Field dual_update(const MriProblem& problem, const Image& x, const Field& zeta, const Image& d) {
  return rounded(extended::dual_update(problem, widen(x), widen(zeta), widen(d)));
}

}  // namespace bilevel::oracle
