#include "tests/oracle/tv_certificate.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>

namespace bilevel::oracle {
namespace {

double norm(const std::vector<double>& a) { return static_cast<double>(extended::norm(extended::widen(a))); }

double sum(const std::vector<double>& a) {
  long double total = 0;
  for (const double entry : a) total += entry;
  return static_cast<double>(total);
}

std::vector<double> product(std::vector<double> a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] *= b.at(i);
  return a;
}

// The profile K, or K_1D.
double profile(double t, bool scalar) {
  const double s = 1.0 + t * t;
  if (scalar || t <= 1.0 / std::sqrt(2.0)) return 3.0 * t / (s * s * std::sqrt(s));
  return 2.0 / std::sqrt(3.0) / s;
}

// Maximum of the profile over [low, high]; it rises up to 1/2 and falls after it.
double profile_maximum(double low, double high, bool scalar) {
  return profile(std::clamp(0.5, std::max(low, 0.0), high), scalar);
}

std::vector<double> scaled_l_b(const CertificateInput& input) {
  const CurvatureConstants constants = curvature(input.model);
  std::vector<double> l_b;
  for (const Parameter& parameter : input.parameters) {
    l_b.push_back(chain_factor(input.model, parameter) * constants.L_B[parameter.name]);
  }
  return l_b;
}

double directional_rho(const CertificateInput& input) {
  const double change = hessian_change_bound(input.model, input.x, input.epsilon, input.q);
  return rho_formula(curvature(input.model).mu, 1.0 / input.batch, input.epsilon, input.residual, change);
}

}  // namespace

std::vector<double> term_magnitudes(const TvModel& model, const Image& d) {
  const Field field = difference(model, d);
  if (model.scalar_terms()) {
    std::vector<double> magnitudes;
    for (const double entry : field) magnitudes.push_back(std::abs(entry));
    return magnitudes;
  }
  std::vector<double> magnitudes;
  for (int p = 0; p < model.pixels(); ++p)
    magnitudes.push_back(std::hypot(field[p], field[model.pixels() + p]));
  return magnitudes;
}

LocalConstants local_constants(const TvModel& model, const Image& x, double epsilon) {
  LocalConstants local;
  local.magnitude = term_magnitudes(model, x);
  const double delta = curvature(model).row_bound * epsilon / model.nu;
  for (const double r : local.magnitude) {
    const double t = r / model.nu, tau = std::max(t - delta, 0.0);
    if (model.potential == Potential::charbonnier) {
      local.a.push_back(1.0 / (model.nu * std::sqrt(1.0 + tau * tau)));
      local.k.push_back(profile_maximum(t - delta, t + delta, model.scalar_terms()));
    } else {
      local.a.push_back(tau <= 1.0 ? (2.0 - tau) / model.nu : 1.0 / (model.nu * tau));
      local.k.push_back(tau < 1.0 ? 2.0 : 2.0 / std::sqrt(3.0) / (tau * tau));
    }
  }
  return local;
}

double greedy_sum(std::vector<double> h, double row_bound_squared, double norm_k_squared) {
  std::sort(h.begin(), h.end(), std::greater<>());
  double left = norm_k_squared, total = 0;
  for (const double value : h) {
    const double share = std::min(left, row_bound_squared);
    total += share * value * value;
    left -= share;
    if (left <= 0) break;
  }
  return std::sqrt(total);
}

std::vector<Image> scaled_columns(const TvModel& model, const Image& x,
                                  const std::vector<Parameter>& parameters) {
  const MixedColumns columns = mixed_forward(model, x);
  std::vector<Image> scaled;
  for (const Parameter& parameter : parameters) {
    Image column = columns[parameter.name];
    for (double& entry : column) entry *= chain_factor(model, parameter);
    scaled.push_back(column);
  }
  return scaled;
}

double matrix_norm(const std::vector<Image>& columns) {
  const int count = static_cast<int>(columns.size());
  Matrix gram(count, count);
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < count; ++j) gram(i, j) = sum(product(columns[i], columns[j]));
  }
  return std::sqrt(std::max(eigenvalues(gram).back(), 0.0));
}

std::vector<double> inexact_hypergradient(const TvModel& model, const Image& x, const Image& q,
                                          const std::vector<Parameter>& parameters) {
  const MixedScalars mixed = mixed_adjoint(model, x, q);
  std::vector<double> z;
  for (const Parameter& parameter : parameters) {
    z.push_back(-chain_factor(model, parameter) * mixed[parameter.name]);
  }
  return z;
}

Image upper_gradient(const Image& x, const Image& truth, double batch) {
  Image g(x.size());
  for (std::size_t p = 0; p < x.size(); ++p) g[p] = (x[p] - truth.at(p)) / batch;
  return g;
}

double linear_residual(const TvModel& model, const Image& x, const Image& q, const Image& rhs) {
  Image residual = hessian_product(model, x, q);
  for (std::size_t p = 0; p < residual.size(); ++p) residual[p] -= rhs.at(p);
  return norm(residual);
}

double hessian_change_bound(const TvModel& model, const Image& x, double epsilon, const Image& d) {
  const CurvatureConstants constants = curvature(model);
  const LocalConstants local = local_constants(model, x, epsilon);
  const std::vector<double> g = term_magnitudes(model, d);
  const double k_norm = std::sqrt(constants.norm_k_squared);
  const double greedy =
      greedy_sum(product(local.k, g), constants.row_bound * constants.row_bound, constants.norm_k_squared);
  const double lipschitz = model.alpha * k_norm / (model.nu * model.nu) * epsilon * greedy;
  const double bounded = model.alpha * k_norm * norm(product(local.a, g));
  return std::min({lipschitz, bounded, constants.L_H * epsilon * norm(d)});
}

double mixed_change_bound(const TvModel& model, const Image& x, double epsilon, const Image& q,
                          const Parameter& parameter) {
  const CurvatureConstants constants = curvature(model);
  const double chain = chain_factor(model, parameter), ridge_part = epsilon * norm(q);
  if (parameter.name == "xi") return chain * (model.xi_inside_alpha ? model.alpha : 1.0) * ridge_part;
  const std::vector<double> g = term_magnitudes(model, q);
  std::vector<double> a = local_constants(model, x, epsilon).a;
  const double k_norm = std::sqrt(constants.norm_k_squared);
  if (parameter.name == "alpha") {
    const double tv_part = std::min(k_norm * epsilon * norm(product(a, g)), 2.0 * sum(g));
    return chain * (tv_part + (model.xi_inside_alpha ? model.xi * ridge_part : 0.0));
  }
  if (model.potential == Potential::huber_c2) a.assign(a.size(), 2.0 / model.nu);
  const double first = k_norm * epsilon * norm(product(a, g));
  return chain * model.alpha / model.nu * std::min(first, 2.0 * constants.b_nu * sum(g));
}

double omega_t_formula(double mu, double l_g, double l_h, double l_b, double norm_b, double norm_grad_g,
                       double epsilon, double residual) {
  const double first_order =
      l_g * norm_b / mu + l_h / (mu * mu) * norm_grad_g * norm_b + l_b * norm_grad_g / mu;
  return first_order * epsilon + norm_b / mu * residual + l_b * l_g / mu * epsilon * epsilon;
}

double rho_formula(double mu, double l_g, double epsilon, double residual, double hessian_change) {
  return (residual + l_g * epsilon + hessian_change) / mu;
}

double omega_q_formula(double norm_b, double l_b, double epsilon, double norm_q, double rho) {
  return norm_b * rho + l_b * epsilon * (norm_q + rho);
}

double omega_t(const CertificateInput& input) {
  const CurvatureConstants constants = curvature(input.model);
  const double norm_b = matrix_norm(scaled_columns(input.model, input.x, input.parameters));
  const double norm_grad_g = norm(upper_gradient(input.x, input.truth, input.batch));
  return omega_t_formula(constants.mu, 1.0 / input.batch, constants.L_H, norm(scaled_l_b(input)), norm_b,
                         norm_grad_g, input.epsilon, input.residual);
}

double omega_q(const CertificateInput& input) {
  const CurvatureConstants constants = curvature(input.model);
  const double norm_b = matrix_norm(scaled_columns(input.model, input.x, input.parameters));
  const double cap = input.model.alpha * constants.ell_1 * constants.norm_k_squared;
  const double change = std::min(constants.L_H * input.epsilon, cap) * norm(input.q);
  const double rho = rho_formula(constants.mu, 1.0 / input.batch, input.epsilon, input.residual, change);
  return omega_q_formula(norm_b, norm(scaled_l_b(input)), input.epsilon, norm(input.q), rho);
}

double omega_dl(const CertificateInput& input) {
  const double rho = directional_rho(input);
  const std::vector<Image> columns = scaled_columns(input.model, input.x, input.parameters);
  const std::vector<double> l_b = scaled_l_b(input);
  std::vector<double> bounds;
  for (std::size_t j = 0; j < columns.size(); ++j) {
    const double change =
        mixed_change_bound(input.model, input.x, input.epsilon, input.q, input.parameters[j]);
    bounds.push_back(norm(columns[j]) * rho + change + l_b[j] * input.epsilon * rho);
  }
  return norm(bounds);
}

std::vector<double> adj_entries(const CertificateInput& input) {
  if (input.v.size() != input.parameters.size() || input.rho.size() != input.parameters.size()) {
    throw std::invalid_argument("omega_adj needs v_j and rho_j for every parameter");
  }
  const TvModel& model = input.model;
  const double eps = input.epsilon, rho = directional_rho(input);
  const double k_norm = std::sqrt(curvature(model).norm_k_squared);
  const LocalConstants local = local_constants(model, input.x, eps);
  const std::vector<double> g = term_magnitudes(model, input.q), l_b = scaled_l_b(input);
  std::vector<double> entries;
  for (std::size_t j = 0; j < input.v.size(); ++j) {
    const std::vector<double> pairs = product(term_magnitudes(model, input.v[j]), g);
    const double lipschitz =
        model.alpha / (model.nu * model.nu) * k_norm * eps * norm(product(local.k, pairs));
    const double bounded = model.alpha * sum(product(local.a, pairs));
    const double linear = norm(input.v[j]) * (eps / input.batch + input.residual);
    const double products = (hessian_change_bound(model, input.x, eps, input.v[j]) + input.rho[j]) * rho;
    const double mixed = mixed_change_bound(model, input.x, eps, input.q, input.parameters[j]);
    entries.push_back(linear + std::min(lipschitz, bounded) + products + mixed + l_b[j] * eps * rho);
  }
  return entries;
}

double omega_adj(const CertificateInput& input) { return norm(adj_entries(input)); }

double epsilon_certificate(const TvModel& model, const Image& y, const Image& x) {
  return norm(gradient(model, y, x)) / curvature(model).mu;
}

}  // namespace bilevel::oracle
