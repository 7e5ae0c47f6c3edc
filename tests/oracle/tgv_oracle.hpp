#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "tests/oracle/tv_oracle.hpp"

namespace bilevel::oracle {

/// Phi(u) = 1/2 |S (x - y)|^2 + alpha1 sum_p rho_nu(|(D x - v)_p|) + alpha0 sum_p rho_nu(|(E v)_p|)
///          + xi/2 |x|^2 + xi_v/2 |v|^2,   u = (x, v1, v2), each of `channels` planes [h][w],
/// with D the forward differences (zero last difference), E v = (Bx v1, By v2, (By v1 + Bx v2)/sqrt 2), B =
/// -D^T, moduli over the channels, too, and S a 0/1 image (empty: 1). By rows of D and E, each a list.
struct TgvModel {
  int channels = 1, h = 1, w = 1;
  Potential potential = Potential::charbonnier;
  double alpha1 = 0.1, alpha0 = 0.2, nu = 0.1, xi = 1e-3, xi_v = 1e-3;
  std::vector<double> mask = {};

  std::size_t pixels() const { return static_cast<std::size_t>(h) * static_cast<std::size_t>(w); }
  std::size_t image() const { return static_cast<std::size_t>(channels) * pixels(); }  ///< of x
  std::size_t values() const { return 3 * image(); }
};

/// Components of one modulus: a row of K each, as entries of u and factors.
using TgvRow = std::vector<std::pair<std::size_t, double>>;
struct TgvModulus {
  int group;  ///< 0: of D x - v, 1: of E v
  std::vector<TgvRow> rows;
};
std::vector<TgvModulus> tgv_moduli(const TgvModel& m);

/// y: of x.
double energy(const TgvModel& m, const std::vector<double>& y, const std::vector<double>& u);
std::vector<double> gradient(const TgvModel& m, const std::vector<double>& y, const std::vector<double>& u);
std::vector<double> hessian_product(const TgvModel& m, const std::vector<double>& u,
                                    const std::vector<double>& p);
std::vector<double> hessian_diagonal(const TgvModel& m, const std::vector<double>& u);
/// B^T q and the columns of B with respect to the values alpha1, alpha0, nu, xi, xi_v.
std::vector<double> mixed_adjoint(const TgvModel& m, const std::vector<double>& u,
                                  const std::vector<double>& q);
std::vector<std::vector<double>> mixed_columns(const TgvModel& m, const std::vector<double>& u);

}  // namespace bilevel::oracle
