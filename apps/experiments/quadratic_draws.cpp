#include "apps/experiments/quadratic_draws.hpp"

#include <utility>

#include "bilevel/ops/dense_operator.hpp"

namespace bilevel_app::experiments {

using namespace bilevel;

namespace {

std::vector<double> repeated(double value, int count) {
  return std::vector<double>(static_cast<std::size_t>(count), value);
}

std::vector<double> minus(std::vector<double> a, std::span<const double> b) {
  for (std::size_t j = 0; j < a.size(); ++j) a[j] -= b[j];
  return a;
}

Parameters shift(int count) {
  return Parameters({{"shift", Transform::identity, 0, -1e6, 1e6, true, {count}, repeated(1, count)},
                     {"xi", Transform::identity, 0, 0, 1, false}});
}

}  // namespace

QuadraticDraws::QuadraticDraws(std::uint32_t seed, int rows, int columns)
    : random(seed), a1(draw(rows, columns)), a2(draw(rows, columns)), a3(draw(rows, columns)) {
  const auto count = static_cast<std::size_t>(columns);
  const std::vector<double> x1 = random.uniform_vector(count), x2 = random.uniform_vector(count),
                            theta = random.uniform_vector(count);
  b1 = observed(a1, x1);
  b2 = observed(a2, x2);
  const std::vector<double> moved = a3.times(theta);
  for (std::size_t j = 0; j < b2.size(); ++j) b2[j] += moved[j];
}

RowMatrix QuadraticDraws::draw(int rows, int columns) {
  return {rows, columns,
          random.uniform_vector(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns))};
}

std::vector<double> QuadraticDraws::observed(const RowMatrix& a, const std::vector<double>& x) {
  std::vector<double> b = a.times(x);
  for (double& v : b) v += 0.01 * random.normal();
  return b;
}

QuadraticSolution::QuadraticSolution(const QuadraticDraws& d) : draws_(d) {
  const RowMatrix normal = d.a2.transposed_times(d.a2);
  x_ = solved(normal, d.a2.transposed_times(d.a3));
  const std::vector<double> x0 = solved(normal, d.a2.transposed_times(d.b2));
  const RowMatrix a1x = d.a1.times(x_);
  h_ = a1x.transposed_times(a1x);
  best_ = solved(h_, a1x.transposed_times(minus(d.a1.times(x0), d.b1)));
}

std::vector<double> QuadraticSolution::gradient(std::span<const double> theta) const {
  return h_.times(minus({theta.begin(), theta.end()}, best_));
}

double QuadraticSolution::gap(std::span<const double> theta) const {
  const std::vector<double> z = gradient(theta);
  double sum = 0;
  for (std::size_t j = 0; j < z.size(); ++j) sum += z[j] * (theta[j] - best_[j]) / 2;
  return sum;
}

std::vector<double> QuadraticSolution::gradient_at(const std::vector<double>& x) const {
  std::vector<double> z =
      x_.transposed_times(draws_.a1.transposed_times(minus(draws_.a1.times(x), draws_.b1)));
  for (double& v : z) v = -v;
  return z;
}

QuadraticProblem::QuadraticProblem(const Device& device, const QuadraticDraws& d)
    : context(device),
      b1(context, {1, 1, 1, d.a1.rows}, d.b1),
      b2(context, {1, 1, 1, d.a2.rows}, d.b2),
      layout(shift(d.a3.columns)),
      start(context, {1, 1, 1, d.a2.columns}, repeated(0, d.a2.columns)) {
  const auto matrix = [this](const RowMatrix& a) {
    return std::make_shared<DenseOperator<double>>(context, 1, 1, a.rows, a.columns, a.entries);
  };
  problem = std::make_unique<BilevelProblem<double>>(
      std::make_unique<ComposedEnergy<double>>(context, matrix(d.a2), matrix(d.a3), std::as_const(b2).view(),
                                               layout),
      observed_least_squares<double>(context, matrix(d.a1), std::as_const(b1).view()), layout);
}

}  // namespace bilevel_app::experiments
