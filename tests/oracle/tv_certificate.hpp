#pragma once

#include <vector>

#include "tests/oracle/tv_oracle.hpp"

namespace bilevel::oracle {

// Error bounds of the hypergradient contribution of one image (the forms of learn/error_bound.hpp), term by
// term. Upper level g(x) = 1/(2N) ||x - truth||^2, so L_g = 1/N. z = -B(x)^T q, in the given coordinates.

/// What is known about one image. q is any approximation of Hess Phi(x)^{-1} grad g(x).
struct CertificateInput {
  TvModel model;
  std::vector<Parameter> parameters;
  Image x;  ///< approximate minimiser
  Image truth;
  double batch = 1;    ///< N
  double epsilon = 0;  ///< >= ||x - xhat||
  Image q;
  double residual = 0;      ///< R >= ||Hess Phi(x) q - grad g(x)||
  std::vector<Image> v;     ///< only for omega_adj: v_j with Hess Phi(x) v_j = B_j(x) up to
  std::vector<double> rho;  ///< rho_j >= ||Hess Phi(x) v_j - B_j(x)||
};

/// Local constants of every potential on the ball of radius epsilon about x, one value per term (isotropic:
/// pixel; otherwise entry of the difference field). With delta = row bound * epsilon / nu and t = |z|/nu:
/// a = sup of the Hessian norm, k = nu^2 times its Lipschitz constant (the maximum of the profile K or, for
/// scalar charbonnier terms, K_1D; huber_c2: 2 if (t - delta)_+ < 1, else 2/sqrt(3) (t - delta)_+^-2).
struct LocalConstants {
  std::vector<double> magnitude;  ///< |z|
  std::vector<double> a, k;
};
LocalConstants local_constants(const TvModel& model, const Image& x, double epsilon);

/// |(K d)| per term.
std::vector<double> term_magnitudes(const TvModel& model, const Image& d);
/// G(h): sqrt of max sum h^2 tau over 0 <= tau <= row_bound^2, sum tau <= norm_k_squared (greedy).
double greedy_sum(std::vector<double> h, double row_bound_squared, double norm_k_squared);

/// Columns B_j(x) in the coordinates of `parameters`.
std::vector<Image> scaled_columns(const TvModel& model, const Image& x,
                                  const std::vector<Parameter>& parameters);
/// Spectral norm of the matrix with these columns (largest eigenvalue of the Gram matrix).
double matrix_norm(const std::vector<Image>& columns);
/// z = -B(x)^T q.
std::vector<double> inexact_hypergradient(const TvModel& model, const Image& x, const Image& q,
                                          const std::vector<Parameter>& parameters);
Image upper_gradient(const Image& x, const Image& truth, double batch);
/// ||Hess Phi(x) q - rhs||.
double linear_residual(const TvModel& model, const Image& x, const Image& q, const Image& rhs);

/// Bound of ||(A(xhat) - A(x)) d||: smallest of the directional bound, the cap and L_H epsilon ||d||.
double hessian_change_bound(const TvModel& model, const Image& x, double epsilon, const Image& d);
/// Bound of |(B_j(xhat) - B_j(x))^T q|. With xi inside alpha the alpha entry contains the ridge part.
double mixed_change_bound(const TvModel& model, const Image& x, double epsilon, const Image& q,
                          const Parameter& parameter);

/// Bare formulas of T and Q.
double omega_t_formula(double mu, double l_g, double l_h, double l_b, double norm_b, double norm_grad_g,
                       double epsilon, double residual);
double rho_formula(double mu, double l_g, double epsilon, double residual, double hessian_change);
double omega_q_formula(double norm_b, double l_b, double epsilon, double norm_q, double rho);

/// The four bounds. ||B|| is the exact spectral norm, L_B = (sum_j L_{B,j}^2)^{1/2}.
double omega_t(const CertificateInput& input);
double omega_q(const CertificateInput& input);
double omega_dl(const CertificateInput& input);
/// Per parameter bounds e_j and their norm; throws std::invalid_argument without v and rho.
std::vector<double> adj_entries(const CertificateInput& input);
double omega_adj(const CertificateInput& input);

/// ||grad Phi(x)|| / mu, without rounding allowance.
double epsilon_certificate(const TvModel& model, const Image& y, const Image& x);

}  // namespace bilevel::oracle
