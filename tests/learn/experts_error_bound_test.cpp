#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/learn/error_bound.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"

// Error bounds per block of theta and along directions.

namespace bilevel {
namespace {

using namespace testing_support;

std::vector<double> positive(std::size_t count, Random& random) {
  std::vector<double> out(count);
  for (double& v : out) v = random.log_uniform(1e-3, 1e3);
  return out;
}

DirectionalBound directional(std::size_t blocks, Random& random) {
  DirectionalBound d;
  for (double* entry : {&d.hessian_q, &d.energy_q, &d.hessian_v, &d.energy_v, &d.hessian_vq})
    *entry = random.log_uniform(1e-6, 1e3);
  d.mixed_q = positive(blocks, random);
  d.energy_mixed = positive(blocks, random);
  d.rounding = positive(blocks, random);
  return d;
}

/// `columns` directions with their blocks' norms.
BoundInputs inputs(std::size_t blocks, std::size_t columns, Random& random) {
  BoundInputs in;
  in.mu = random.log_uniform(1e-3, 2);
  in.loss_lipschitz = random.log_uniform(1e-2, 1);
  in.hessian_lipschitz = random.log_uniform(1e-1, 1e5);
  in.epsilon = random.log_uniform(1e-9, 1e-1);
  in.residual = random.log_uniform(1e-9, 1e-1);
  in.norm_b = random.log_uniform(1e-3, 1e2);
  in.norm_q = random.log_uniform(1e-3, 1e2);
  in.norm_mixed = positive(blocks, random);
  in.mixed_lipschitz = positive(blocks, random);
  in.q = directional(blocks, random);
  in.residual_rounding = random.log_uniform(1e-9, 1e-3);
  in.norm_v = positive(columns, random);
  in.residual_v = positive(columns, random);
  for (std::size_t j = 0; j < columns; ++j) {
    in.v.push_back(directional(blocks, random));
    in.direction.push_back(positive(blocks, random));
  }
  return in;
}

TEST(ErrorBoundAlong, UnitVectorsAreTheColumns) {
  Random random(seed(1801));
  for (int round = 0; round < 200; ++round) {
    const auto p = static_cast<std::size_t>(random.integer(1, 5));
    BoundInputs in = inputs(p, p, random);
    for (std::size_t j = 0; j < p; ++j) {
      in.direction[j].assign(p, 0);
      in.direction[j][j] = 1;
    }
    const ErrorBound along = error_bound(in);
    EXPECT_TRUE(std::isinf(along.columns));  // a sum over all entries only for the columns themselves
    in.direction.clear();
    const ErrorBound columns = error_bound(in);
    EXPECT_EQ(along.column_entries, columns.column_entries);
    EXPECT_EQ(along.directional_entries, columns.directional_entries);
    EXPECT_LT(relative_difference(norm(along.column_entries), columns.columns), 1e-15);
  }
}

/// Term by term; a direction without a part in a block knows nothing of the block.
TEST(ErrorBoundAlong, FollowsTheFormula) {
  Random random(seed(1802));
  for (int round = 0; round < 200; ++round) {
    const auto blocks = static_cast<std::size_t>(random.integer(2, 5));
    BoundInputs in = inputs(blocks, 2, random);
    in.direction[0][1] = 0;
    in.direction[1].assign(blocks, 0);
    in.direction[1][1] = 2;
    in.q.energy_mixed[0] = HUGE_VAL;  // of taps
    const double rho = (in.residual + in.loss_lipschitz * in.epsilon + in.q.hessian_q) / in.mu,
                 phi = (in.residual + in.loss_lipschitz * in.epsilon + in.q.energy_q) / in.mu;
    const auto want = [&](std::size_t j) {
      double sum = in.norm_v[j] * (in.loss_lipschitz * in.epsilon + in.residual_rounding) +
                   in.v[j].hessian_vq + in.residual_v[j] * rho +
                   std::min(in.v[j].hessian_v * rho, in.v[j].energy_v * phi);
      for (std::size_t b = 0; b < blocks; ++b)
        sum += in.direction[j][b] * (in.q.mixed_q[b] + in.q.rounding[b] +
                                     std::min(in.mixed_lipschitz[b] * in.epsilon * rho,
                                              b == 0 ? HUGE_VAL : in.q.energy_mixed[b] * phi));
      return sum;
    };
    const ErrorBound bound = error_bound(in);
    ASSERT_EQ(bound.column_entries.size(), 2U);
    for (std::size_t j = 0; j < 2; ++j)
      EXPECT_LT(relative_difference(bound.column_entries[j], want(j)), 1e-13);

    BoundInputs other = in;
    other.q.mixed_q[0] = other.q.rounding[0] = HUGE_VAL;
    EXPECT_EQ(error_bound(other).column_entries[1], bound.column_entries[1]);
    other = in;
    other.q.mixed_q[1] = other.q.rounding[1] = HUGE_VAL;
    EXPECT_EQ(error_bound(other).column_entries[0], bound.column_entries[0]);
  }
}

TEST(ErrorBoundAlong, GrowsWithItsInputs) {
  Random random(seed(1803));
  for (int round = 0; round < 200; ++round) {
    const BoundInputs in = inputs(3, 1, random);
    const double before = error_bound(in).column_entries[0];
    for (int which = 0; which < 8; ++which) {
      BoundInputs more = in;
      double* field[] = {&more.epsilon,      &more.residual,      &more.norm_v[0],       &more.residual_v[0],
                         &more.q.mixed_q[0], &more.q.rounding[2], &more.direction[0][1], &more.q.hessian_q};
      *field[which] *= 1.5;
      EXPECT_GE(error_bound(more).column_entries[0], before) << which;
    }
  }
}

}  // namespace
}  // namespace bilevel
