#include "tests/oracle/tv_oracle.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace bilevel::oracle {
namespace {

using Real = long double;
using Vector = ExtendedImage;

/// At most four elements.
template <class Element>
struct Few {
  Element elements[4];
  int size;
  const Element* begin() const { return elements; }
  const Element* end() const { return elements + size; }
};

struct Entry {
  int pixel;
  Real coefficient;
};

// Row `index` of K: component index / pixels at pixel index % pixels.
Few<Entry> row_of_k(const TvModel& model, int index) {
  const int p = index % model.pixels(), component = index / model.pixels(), w = model.width;
  const bool left = p % w > 0, right = p % w + 1 < w, above = p >= w, below = p + w < model.pixels();
  if (model.differences == Differences::none) return {{{p, 1}}, 1};
  if (component == 2) {
    const Real root = std::sqrt(2.0L);
    if (!right || !below) return {};
    return {{{p, root}, {p + 1, -root}, {p + w, -root}, {p + w + 1, root}}, 4};
  }
  const bool before = component == 0 ? left : above, after = component == 0 ? right : below;
  const int step = component == 0 ? 1 : w;
  if (model.differences == Differences::first) {
    if (!after) return {};
    return {{{p, -1}, {p + step, 1}}, 2};
  }
  if (before && after) return {{{p - step, 1}, {p, -2}, {p + step, 1}}, 3};
  if (after) return {{{p, -1}, {p + step, 1}}, 2};
  if (before) return {{{p - step, 1}, {p, -1}}, 2};
  return {};
}

Vector apply_k(const TvModel& model, const Vector& x) {
  Vector field(static_cast<std::size_t>(model.components()) * model.pixels(), 0);
  for (int index = 0; index < static_cast<int>(field.size()); ++index) {
    for (const Entry& entry : row_of_k(model, index)) field[index] += entry.coefficient * x.at(entry.pixel);
  }
  return field;
}

Vector apply_k_adjoint(const TvModel& model, const Vector& field) {
  Vector x(model.pixels(), 0);
  for (int index = 0; index < static_cast<int>(field.size()); ++index) {
    for (const Entry& entry : row_of_k(model, index)) x.at(entry.pixel) += entry.coefficient * field[index];
  }
  return x;
}

// The entries of the field that enter one potential: a pixel (isotropic) or a single component.
using Term = Few<int>;
std::vector<Term> terms_of(const TvModel& model) {
  std::vector<Term> terms;
  const int n = model.pixels();
  if (model.scalar_terms()) {
    for (int index = 0; index < model.components() * n; ++index) terms.push_back({{index}, 1});
  } else {
    for (int p = 0; p < n; ++p) terms.push_back({{p, n + p, 2 * n + p}, model.components()});
  }
  return terms;
}

using PointValues = extended::PotentialValues;

PointValues evaluate(const TvModel& model, Real r) {
  return extended::potential_values(model.potential, model.nu, r);
}

Real magnitude(const Term& term, const Vector& field) {
  Real square = 0;
  for (const int index : term) square += field[index] * field[index];
  return std::sqrt(square);
}

Real inner(const Term& term, const Vector& a, const Vector& b) {
  Real sum = 0;
  for (const int index : term) sum += a[index] * b[index];
  return sum;
}

Real ridge(const TvModel& model) {
  return model.xi_inside_alpha ? static_cast<Real>(model.alpha) * model.xi : static_cast<Real>(model.xi);
}

Real mask_at(const TvModel& model, int p) { return model.mask.empty() ? 1.0L : Real{model.mask.at(p)}; }

// K^T (weight z) with one weight per term.
template <class Weight>
Vector weighted_divergence(const TvModel& model, const Vector& x, const Weight& weight) {
  const Vector z = apply_k(model, x);
  Vector field(z.size(), 0);
  for (const auto& term : terms_of(model)) {
    const Real factor = weight(evaluate(model, magnitude(term, z)));
    for (const int index : term) field[index] = factor * z[index];
  }
  return apply_k_adjoint(model, field);
}

// Symmetric block M of every term: w I - (w1/(2w)) (z zeta^T + zeta z^T), entry (a,b).
Real block_entry(const PointValues& point, const Vector& z, const Vector& zeta, int a, int b) {
  const Real diagonal = a == b ? point.w : 0;
  return diagonal - point.w1 / (2 * point.w) * (z[a] * zeta[b] + zeta[a] * z[b]);
}

Vector psi_of(const TvModel& model, const Vector& z) {
  Vector psi(z.size(), 0);
  for (const auto& term : terms_of(model)) {
    const Real w = evaluate(model, magnitude(term, z)).w;
    for (const int index : term) psi[index] = w * z[index];
  }
  return psi;
}

// Calls add(i, j, value) for every contribution to data + ridge + alpha K^T M K.
template <class Add>
void assemble(const TvModel& model, const Vector& x, const Vector& zeta, const Add& add) {
  for (int p = 0; p < model.pixels(); ++p) add(p, p, mask_at(model, p) * mask_at(model, p) + ridge(model));
  const Vector z = apply_k(model, x);
  for (const auto& term : terms_of(model)) {
    const PointValues point = evaluate(model, magnitude(term, z));
    for (const int a : term) {
      for (const int b : term) {
        const Real block = model.alpha * block_entry(point, z, zeta, a, b);
        for (const Entry& i : row_of_k(model, a)) {
          for (const Entry& j : row_of_k(model, b)) {
            add(i.pixel, j.pixel, i.coefficient * block * j.coefficient);
          }
        }
      }
    }
  }
}

Matrix assemble_dense(const TvModel& model, const Vector& x, const Vector& zeta) {
  const int n = model.pixels();
  std::vector<Real> sums(static_cast<std::size_t>(n) * n, 0);
  assemble(model, x, zeta,
           [&](int i, int j, Real value) { sums[static_cast<std::size_t>(i) * n + j] += value; });
  Matrix matrix(n, n);
  for (std::size_t k = 0; k < sums.size(); ++k) matrix.entries[k] = static_cast<double>(sums[k]);
  return matrix;
}

Vector matrix_free_product(const TvModel& model, const Vector& x, const Vector& zeta,
                           const Vector& direction) {
  const Vector z = apply_k(model, x), k_direction = apply_k(model, direction);
  Vector field(z.size(), 0);
  for (const auto& term : terms_of(model)) {
    const PointValues point = evaluate(model, magnitude(term, z));
    for (const int a : term) {
      for (const int b : term) field[a] += model.alpha * block_entry(point, z, zeta, a, b) * k_direction[b];
    }
  }
  Vector product = apply_k_adjoint(model, field);
  for (int p = 0; p < model.pixels(); ++p) {
    product[p] += (mask_at(model, p) * mask_at(model, p) + ridge(model)) * direction.at(p);
  }
  return product;
}

}  // namespace

namespace extended {

ExtendedImage difference(const TvModel& model, const ExtendedImage& x) { return apply_k(model, x); }

ExtendedImage difference_adjoint(const TvModel& model, const ExtendedImage& field) {
  return apply_k_adjoint(model, field);
}

ExtendedImage widen(const Image& x) { return {x.begin(), x.end()}; }

Image rounded(const ExtendedImage& x) {
  Image result;
  for (const Real entry : x) result.push_back(static_cast<double>(entry));
  return result;
}

PotentialValues potential_values(Potential potential, long double nu, long double r) {
  if (potential == Potential::quadratic) return {r * r / 2, 1, 0, 0};
  if (potential == Potential::charbonnier) {
    const Real s = std::sqrt(r * r + nu * nu);
    return {s, 1 / s, 1 / (s * s * s), -nu / (s * s * s)};
  }
  if (r > nu) return {r - nu / 3, 1 / r, 1 / (r * r * r), 0};
  const Real w1 = r > 0 ? 1 / (r * nu * nu) : 0;
  return {r * r / nu - r * r * r / (3 * nu * nu), 2 / nu - r / (nu * nu), w1,
          -2 / (nu * nu) + 2 * r / (nu * nu * nu)};
}

long double norm(const ExtendedImage& x) {
  Real square = 0;
  for (const Real entry : x) square += entry * entry;
  return std::sqrt(square);
}

long double energy(const TvModel& model, const ExtendedImage& y, const ExtendedImage& x) {
  Real sum = 0;
  for (int p = 0; p < model.pixels(); ++p) {
    const Real residual = mask_at(model, p) * (x.at(p) - y.at(p));
    sum += residual * residual / 2 + ridge(model) / 2 * x[p] * x[p];
  }
  const Vector z = apply_k(model, x);
  for (const auto& term : terms_of(model)) sum += model.alpha * evaluate(model, magnitude(term, z)).value;
  return sum;
}

ExtendedImage gradient(const TvModel& model, const ExtendedImage& y, const ExtendedImage& x) {
  Vector result = weighted_divergence(model, x, [](const PointValues& point) { return point.w; });
  for (int p = 0; p < model.pixels(); ++p) {
    const Real m = mask_at(model, p);
    result[p] = model.alpha * result[p] + m * m * (x[p] - y.at(p)) + ridge(model) * x[p];
  }
  return result;
}

ExtendedImage dual_field(const TvModel& model, const ExtendedImage& x) {
  return psi_of(model, apply_k(model, x));
}

ExtendedImage dual_update(const TvModel& model, const ExtendedImage& x, const ExtendedImage& zeta,
                          const ExtendedImage& d) {
  const Vector z = apply_k(model, x), k_d = apply_k(model, d);
  Vector updated(z.size(), 0);
  for (const auto& term : terms_of(model)) {
    const PointValues point = evaluate(model, magnitude(term, z));
    const Real factor = point.w1 / point.w * inner(term, z, k_d);
    for (const int index : term) updated[index] = point.w * (z[index] + k_d[index]) - factor * zeta.at(index);
    const Real length = magnitude(term, updated);
    for (const int index : term) updated[index] /= std::max(length, 1.0L);
  }
  return updated;
}

ExtendedImage hessian_product(const TvModel& model, const ExtendedImage& x, const ExtendedImage& direction) {
  return matrix_free_product(model, x, dual_field(model, x), direction);
}

SymmetricBand primal_dual_band(const TvModel& model, const ExtendedImage& x, const ExtendedImage& zeta) {
  const int reach = model.differences == Differences::second ? 2 : 1;
  const int mixed = reach == 2 && model.height > 1 ? 1 : 0;  // of Dyy with Dxy
  const int half_width = std::min(model.pixels() - 1, reach * (model.height == 1 ? 1 : model.width) + mixed);
  SymmetricBand band(model.pixels(), half_width);
  assemble(model, x, zeta, [&](int i, int j, Real value) { band.add(i, j, static_cast<double>(value)); });
  return band;
}

std::vector<long double> mixed_adjoint(const TvModel& model, const ExtendedImage& x, const ExtendedImage& q) {
  const Vector z = apply_k(model, x), k_q = apply_k(model, q);
  Real alpha = 0, nu = 0, x_q = 0;
  for (const auto& term : terms_of(model)) {
    const PointValues point = evaluate(model, magnitude(term, z));
    alpha += point.w * inner(term, z, k_q);
    nu += model.alpha * point.dw_dnu * inner(term, z, k_q);
  }
  for (std::size_t p = 0; p < x.size(); ++p) x_q += x[p] * q.at(p);
  if (model.xi_inside_alpha) alpha += model.xi * x_q;
  return {alpha, nu, model.xi_inside_alpha ? model.alpha * x_q : x_q};
}

}  // namespace extended

using extended::rounded;
using extended::widen;

Field difference(const TvModel& model, const Image& x) { return rounded(apply_k(model, widen(x))); }

Image difference_adjoint(const TvModel& model, const Field& field) {
  return rounded(apply_k_adjoint(model, widen(field)));
}

double energy(const TvModel& model, const Image& y, const Image& x) {
  return static_cast<double>(extended::energy(model, widen(y), widen(x)));
}

Image gradient(const TvModel& model, const Image& y, const Image& x) {
  return rounded(extended::gradient(model, widen(y), widen(x)));
}

Image hessian_product(const TvModel& model, const Image& x, const Image& direction) {
  return rounded(extended::hessian_product(model, widen(x), widen(direction)));
}

Matrix hessian(const TvModel& model, const Image& x) {
  return assemble_dense(model, widen(x), extended::dual_field(model, widen(x)));
}

Image hessian_diagonal(const TvModel& model, const Image& x) {
  Vector diagonal(model.pixels(), 0);
  assemble(model, widen(x), extended::dual_field(model, widen(x)), [&](int i, int j, Real value) {
    if (i == j) diagonal[i] += value;
  });
  return rounded(diagonal);
}

double MixedScalars::operator[](const std::string& name) const {
  if (name == "alpha") return alpha;
  if (name == "nu") return nu;
  if (name == "xi") return xi;
  throw std::invalid_argument("unknown parameter " + name);
}

const Image& MixedColumns::operator[](const std::string& name) const {
  if (name == "alpha") return alpha;
  if (name == "nu") return nu;
  if (name == "xi") return xi;
  throw std::invalid_argument("unknown parameter " + name);
}

MixedScalars mixed_adjoint(const TvModel& model, const Image& x, const Image& q) {
  const Image values = rounded(extended::mixed_adjoint(model, widen(x), widen(q)));
  return {values[0], values[1], values[2]};
}

MixedColumns mixed_forward(const TvModel& model, const Image& x) {
  const Vector wide = widen(x);
  Vector alpha = weighted_divergence(model, wide, [](const PointValues& point) { return point.w; });
  Vector nu = weighted_divergence(model, wide, [](const PointValues& point) { return point.dw_dnu; });
  Vector xi = wide;
  for (std::size_t p = 0; p < wide.size(); ++p) {
    nu[p] *= model.alpha;
    if (model.xi_inside_alpha) {
      alpha[p] += model.xi * wide[p];
      xi[p] *= model.alpha;
    }
  }
  return {rounded(alpha), rounded(nu), rounded(xi)};
}

Field dual_field(const TvModel& model, const Image& x) {
  return rounded(extended::dual_field(model, widen(x)));
}

Matrix primal_dual_matrix(const TvModel& model, const Image& x, const Field& zeta) {
  return assemble_dense(model, widen(x), widen(zeta));
}

Image primal_dual_product(const TvModel& model, const Image& x, const Field& zeta, const Image& direction) {
  return rounded(matrix_free_product(model, widen(x), widen(zeta), widen(direction)));
}

Field dual_update(const TvModel& model, const Image& x, const Field& zeta, const Image& d) {
  return rounded(extended::dual_update(model, widen(x), widen(zeta), widen(d)));
}

double parameter_value(const TvModel& model, const std::string& name) {
  return MixedScalars{model.alpha, model.nu, model.xi}[name];
}

double coordinate(const TvModel& model, const Parameter& parameter) {
  const double value = parameter_value(model, parameter.name);
  if (parameter.transform == Transform::exp) return std::log(value);
  return parameter.transform == Transform::log10 ? std::log10(value) : value;
}

double chain_factor(const TvModel& model, const Parameter& parameter) {
  const double value = parameter_value(model, parameter.name);
  if (parameter.transform == Transform::exp) return value;
  return parameter.transform == Transform::log10 ? value * std::log(10.0) : 1.0;
}

TvModel with_coordinates(TvModel model, const std::vector<Parameter>& parameters,
                         const std::vector<double>& theta) {
  for (std::size_t j = 0; j < parameters.size(); ++j) {
    double value = theta.at(j);
    if (parameters[j].transform == Transform::exp) value = std::exp(value);
    if (parameters[j].transform == Transform::log10) value = std::pow(10.0, value);
    if (parameters[j].name == "alpha") {
      model.alpha = value;
    } else if (parameters[j].name == "nu") {
      model.nu = value;
    } else if (parameters[j].name == "xi") {
      model.xi = value;
    } else {
      throw std::invalid_argument("unknown parameter " + parameters[j].name);
    }
  }
  return model;
}

CurvatureConstants curvature(const TvModel& model) {
  CurvatureConstants constants;
  const bool charbonnier = model.potential == Potential::charbonnier,
             quadratic = model.potential == Potential::quadratic, line = model.height == 1;
  const double nu = model.nu, c3 = 48.0 / (25.0 * std::sqrt(5.0));
  switch (model.differences) {
    case Differences::first:
      constants.norm_k_squared = line ? 4.0 : 8.0;
      constants.row_bound = std::sqrt(model.scalar_terms() ? 2.0 : 3.0);
      break;
    case Differences::second:
      constants.norm_k_squared = line ? 16.0 : 64.0;
      constants.row_bound = std::sqrt(line ? 6.0 : 9.0 + std::sqrt(37.0));
      break;
    case Differences::none:
      constants.norm_k_squared = constants.row_bound = 1.0;
  }
  constants.ell_1 = quadratic ? 1.0 : (charbonnier ? 1.0 : 2.0) / nu;
  constants.ell_2 = quadratic ? 0.0 : (charbonnier ? c3 : 2.0) / (nu * nu);
  constants.b_nu = quadratic ? 0.0 : charbonnier ? 2.0 / (3.0 * std::sqrt(3.0)) : 0.5;
  constants.lip_nu = quadratic ? 0.0 : (charbonnier ? 1.0 : 2.0) / nu;
  const bool sampled_everywhere =
      std::all_of(model.mask.begin(), model.mask.end(), [](double m) { return m == 1; });
  const double ridge_weight = static_cast<double>(ridge(model));
  constants.mu = (sampled_everywhere ? 1.0 : 0.0) + ridge_weight;
  constants.L = 1.0 + ridge_weight + model.alpha * constants.ell_1 * constants.norm_k_squared;
  constants.L_H = model.alpha * constants.ell_2 * constants.norm_k_squared * constants.row_bound;
  constants.L_B.alpha = constants.ell_1 * constants.norm_k_squared + (model.xi_inside_alpha ? model.xi : 0.0);
  constants.L_B.nu = model.alpha * constants.norm_k_squared * constants.lip_nu / nu;
  constants.L_B.xi = model.xi_inside_alpha ? model.alpha : 1.0;
  return constants;
}

}  // namespace bilevel::oracle
