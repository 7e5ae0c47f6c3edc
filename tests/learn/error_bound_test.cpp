#include "bilevel/learn/error_bound.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/oracle/tv_certificate.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

std::vector<double> positive(std::size_t count, Random& random) {
  std::vector<double> out(count);
  for (double& v : out) v = random.log_uniform(1e-3, 1e3);
  return out;
}

DirectionalBound directional(std::size_t p, Random& random) {
  DirectionalBound d;
  d.hessian_q = random.log_uniform(1e-6, 1e3);
  d.energy_q = random.log_uniform(1e-6, 1e3);
  d.hessian_v = random.log_uniform(1e-6, 1e3);
  d.energy_v = random.log_uniform(1e-6, 1e3);
  d.hessian_vq = random.log_uniform(1e-6, 1e3);
  d.mixed_q = positive(p, random);
  d.energy_mixed = positive(p, random);
  d.rounding = positive(p, random);
  return d;
}

BoundInputs random_inputs(std::size_t p, Random& random) {
  BoundInputs in;
  in.mu = random.log_uniform(1e-3, 2);
  in.loss_lipschitz = random.log_uniform(1e-2, 1);
  in.hessian_lipschitz = random.log_uniform(1e-1, 1e5);
  in.epsilon = random.log_uniform(1e-9, 1e-1);
  in.residual = random.log_uniform(1e-9, 1e-1);
  in.norm_b = random.log_uniform(1e-3, 1e2);
  in.norm_q = random.log_uniform(1e-3, 1e2);
  in.norm_mixed = positive(p, random);
  in.mixed_lipschitz = positive(p, random);
  in.q = directional(p, random);
  in.residual_rounding = random.log_uniform(1e-9, 1e-3);
  in.norm_v = positive(p, random);
  in.residual_v = positive(p, random);
  for (std::size_t j = 0; j < p; ++j) in.v.push_back(directional(p, random));
  return in;
}

// T and Q from the bare formulas of the oracle, with |B| <= sqrt(sum |B_j|^2) and the rounding of B^T q
// added.
TEST(ErrorBound, TheoremAndAdjointFollowTheFormulas) {
  Random random(seed(300));
  for (int round = 0; round < 500; ++round) {
    const BoundInputs in = random_inputs(static_cast<std::size_t>(random.integer(1, 4)), random);
    const ErrorBound bound = error_bound(in);
    const double b = norm(in.norm_mixed), l_b = norm(in.mixed_lipschitz), rounding = norm(in.q.rounding);
    const double t = oracle::omega_t_formula(in.mu, in.loss_lipschitz, in.hessian_lipschitz, l_b, b,
                                             in.norm_b, in.epsilon, in.residual);
    EXPECT_LT(relative_difference(bound.theorem, t + rounding), 1e-12);
    const double change = in.hessian_lipschitz * in.epsilon * in.norm_q;
    const double rho = oracle::rho_formula(in.mu, in.loss_lipschitz, in.epsilon, in.residual, change);
    EXPECT_LT(relative_difference(bound.adjoint,
                                  oracle::omega_q_formula(b, l_b, in.epsilon, in.norm_q, rho) + rounding),
              1e-12);
  }
}

// Entry by entry with one term at a time: every other quantity of the sum is set to zero.
TEST(ErrorBound, DirectionalAndColumnsFollowTheFormulas) {
  Random random(seed(301));
  for (int round = 0; round < 500; ++round) {
    const std::size_t p = static_cast<std::size_t>(random.integer(1, 4));
    const BoundInputs in = random_inputs(p, random);
    const ErrorBound bound = error_bound(in);
    const double lg_eps = in.loss_lipschitz * in.epsilon;
    const double rho = oracle::rho_formula(in.mu, in.loss_lipschitz, in.epsilon, in.residual, in.q.hessian_q);
    const double phi = (in.residual + lg_eps + in.q.energy_q) / in.mu;
    std::vector<double> directional_entries(p), columns(p);
    for (std::size_t j = 0; j < p; ++j) {
      const double mixed = std::fmin(in.mixed_lipschitz[j] * in.epsilon * rho, in.q.energy_mixed[j] * phi);
      const double common = in.q.mixed_q[j] + mixed + in.q.rounding[j];
      directional_entries[j] = in.norm_mixed[j] * rho + common;
      columns[j] = in.norm_v[j] * lg_eps + in.v[j].hessian_vq +
                   std::fmin(in.v[j].hessian_v * rho, in.v[j].energy_v * phi) + in.residual_v[j] * rho +
                   common + in.norm_v[j] * in.residual_rounding;
    }
    EXPECT_LT(max_relative_difference(bound.directional_entries, directional_entries), 1e-12);
    EXPECT_LT(max_relative_difference(bound.column_entries, columns), 1e-12);
    EXPECT_LT(relative_difference(bound.directional, norm(directional_entries)), 1e-12);
    EXPECT_LT(relative_difference(bound.columns, norm(columns)), 1e-12);
  }
}

TEST(ErrorBound, HasNoColumnsFormWithoutColumns) {
  Random random(seed(302));
  BoundInputs in = random_inputs(2, random);
  const ErrorBound with = error_bound(in);
  in.norm_v.clear();
  in.residual_v.clear();
  in.v.clear();
  const ErrorBound without = error_bound(in);
  EXPECT_TRUE(std::isinf(without.columns));
  EXPECT_TRUE(without.column_entries.empty());
  EXPECT_EQ(without.theorem, with.theorem);
  EXPECT_EQ(without.directional, with.directional);
}

// Growing any measured quantity never lowers a bound.
TEST(ErrorBound, IsMonotone) {
  Random random(seed(303));
  for (int round = 0; round < 200; ++round) {
    const BoundInputs in = random_inputs(2, random);
    const ErrorBound before = error_bound(in);
    for (int which = 0; which < 6; ++which) {
      BoundInputs more = in;
      double* field[] = {&more.epsilon, &more.residual,    &more.norm_b,
                         &more.norm_q,  &more.q.hessian_q, &more.norm_mixed[0]};
      *field[which] *= 1.5;
      const ErrorBound after = error_bound(more);
      EXPECT_GE(after.theorem, before.theorem);
      EXPECT_GE(after.adjoint, before.adjoint);
      EXPECT_GE(after.directional, before.directional);
      EXPECT_GE(after.columns, before.columns);
    }
  }
}

TEST(ErrorBound, VanishesWithItsInputs) {
  BoundInputs in;
  in.norm_mixed = in.mixed_lipschitz = {1, 2};
  in.norm_b = in.norm_q = 3;
  in.q.mixed_q = in.q.energy_mixed = in.q.rounding = {0, 0};
  in.norm_v = {5, 6};
  in.residual_v = {0, 0};
  in.v = {in.q, in.q};
  const ErrorBound bound = error_bound(in);
  EXPECT_EQ(bound.theorem, 0);
  EXPECT_EQ(bound.adjoint, 0);
  EXPECT_EQ(bound.directional, 0);
  EXPECT_EQ(bound.columns, 0);
}

}  // namespace
}  // namespace bilevel
