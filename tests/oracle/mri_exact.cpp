#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>

#include "tests/oracle/mri_oracle.hpp"

namespace bilevel::oracle {
namespace {

using Real = long double;
using Vector = ExtendedImage;
using extended::norm;
using extended::rounded;
using extended::widen;

// Columns of a linear map of the unknowns.
template <class Product>
std::vector<Vector> columns_of(const MriProblem& problem, const Product& product) {
  std::vector<Vector> columns;
  for (int j = 0; j < problem.unknowns(); ++j) {
    Vector unit(problem.unknowns(), 0);
    unit[j] = 1;
    columns.push_back(product(unit));
  }
  return columns;
}

using Columns = std::vector<Vector>;

Columns data_columns(const MriProblem& problem) {
  return columns_of(problem, [&](const Vector& unit) { return extended::data_product(problem, unit); });
}

// The regulariser couples pixels whose rows and columns differ by at most `reach`: columns of pixels further
// apart than twice that do not overlap, and their sum shows them all.
Columns regulariser_columns(const MriProblem& problem, const Vector& x, const Vector& zeta) {
  const int n = problem.pixels(), w = problem.w;
  const int reach = problem.differences == Differences::second ? 2 : 1, period = 2 * reach + 1;
  Columns columns(problem.unknowns(), Vector(problem.unknowns(), 0));
  for (int plane = 0; plane < problem.planes(); ++plane) {
    for (int colour = 0; colour < period * period; ++colour) {
      Vector units(problem.unknowns(), 0);
      for (int p = 0; p < n; ++p)
        units[plane * n + p] = p / w % period == colour / period && p % w % period == colour % period;
      const Vector sum = extended::regulariser_product(problem, x, zeta, units);
      for (int i = 0; i < problem.unknowns(); ++i) {
        const int p = i % n;
        for (int r = std::max(p / w - reach, 0); r <= std::min(p / w + reach, problem.h - 1); ++r) {
          for (int c = std::max(p % w - reach, 0); c <= std::min(p % w + reach, w - 1); ++c) {
            const int j = plane * n + r * w + c;
            if (units[j] == 1) columns[j][i] = sum[i];
          }
        }
      }
    }
  }
  return columns;
}

SymmetricBand factorised(const Columns& data, const Columns& regulariser) {
  const int n = static_cast<int>(data.size());
  SymmetricBand matrix(n, n - 1);
  for (int j = 0; j < n; ++j)
    for (int i = j; i < n; ++i) matrix.add(i, j, static_cast<double>(data[j][i] + regulariser[j][i]));
  matrix.factorise();
  return matrix;
}

Vector moved(Vector x, Real step, const Vector& d) {
  for (std::size_t p = 0; p < x.size(); ++p) x[p] += step * d[p];
  return x;
}

struct State {
  Vector x, zeta;
};

// One primal-dual Newton step with Armijo backtracking; where energy differences drown in rounding, a step
// that reduces the gradient is taken too. Returns false if no step is acceptable.
bool newton_step(const MriProblem& problem, const Columns& data, const Vector& y, const Vector& g,
                 State& state) {
  Vector d = factorised(data, regulariser_columns(problem, state.x, state.zeta)).solve(g);
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
      return value <= old + rounding && norm(extended::gradient(problem, y, trial)) <= 0.9L * norm(g);
    };
    if (value <= old + 1e-4L * step * slope || flat()) {
      state.zeta = extended::dual_update(problem, state.x, state.zeta, d);
      state.x = std::move(trial);
      return true;
    }
  }
  return false;
}

// What rounding in extended precision may leave of the gradient.
Real rounding_of(const MriProblem& problem, const Vector& y, const Vector& x) {
  const double L = curvature(problem).L;
  return 4e-18L * L * (1 + norm(x) + norm(y));
}

Minimiser minimise_with(const MriProblem& problem, const Columns& data, const Image& y, const Image& start,
                        double tolerance) {
  const Vector k_space = widen(y);
  State state{widen(start.empty() ? encode_adjoint(problem, y) : start), {}};
  state.zeta = extended::dual_field(problem, state.x);
  Real last = std::numeric_limits<Real>::infinity();
  Minimiser result;
  for (; result.iterations <= 500; ++result.iterations) {
    const Vector g = extended::gradient(problem, k_space, state.x);
    const Real now = norm(g), rounding = rounding_of(problem, k_space, state.x);
    result.gradient_norm = static_cast<double>(now);
    const bool at_rounding = now <= rounding && now > last / 2;
    if (now <= tolerance || at_rounding || !newton_step(problem, data, k_space, g, state)) {
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

Vector adjoint_with(const MriProblem& problem, const Columns& data, const Vector& x, const Vector& rhs) {
  return factorised(data, regulariser_columns(problem, x, extended::dual_field(problem, x)))
      .solve(rhs, [&](const Vector& q) { return extended::hessian_product(problem, x, q); });
}

}  // namespace

Matrix hessian(const MriProblem& problem, const Image& x) {
  const Columns data = data_columns(problem);
  const Columns rest = regulariser_columns(problem, widen(x), extended::dual_field(problem, widen(x)));
  Matrix result(problem.unknowns(), problem.unknowns());
  for (int j = 0; j < result.cols; ++j)
    for (int i = 0; i < result.rows; ++i) result(i, j) = static_cast<double>(data[j][i] + rest[j][i]);
  return result;
}

Minimiser minimise(const MriProblem& problem, const Image& y, const Image& start, double tolerance) {
  return minimise_with(problem, data_columns(problem), y, start, tolerance);
}

ExtendedImage extended::solve_adjoint(const MriProblem& problem, const ExtendedImage& x,
                                      const ExtendedImage& rhs) {
  return adjoint_with(problem, data_columns(problem), x, rhs);
}

Image solve_adjoint(const MriProblem& problem, const Image& x, const Image& rhs) {
  return rounded(extended::solve_adjoint(problem, widen(x), widen(rhs)));
}

double penalty(const MriProblem& problem) {
  Real sum = 0;
  for (const Real s : widen(problem.sampling)) {
    sum += problem.beta1 * s;
    if (problem.map == SamplingMap::direct) sum += problem.beta2 * s * (1 - s);
  }
  return static_cast<double>(sum);
}

std::vector<double> penalty_gradient(const MriProblem& problem) {
  std::vector<double> slopes(problem.parameters(), 0.0);
  for (int k = 0; k < problem.samplings(); ++k) {
    slopes[k] = problem.beta1;
    if (problem.map == SamplingMap::direct) slopes[k] += problem.beta2 * (1 - 2 * problem.sampling[k]);
  }
  return slopes;
}

UpperResult exact_hypergradient(const MriProblem& problem) {
  const Columns data = data_columns(problem);
  UpperResult result;
  Vector sum = widen(penalty_gradient(problem));
  Real f = penalty(problem);
  for (int i = 0; i < problem.n; ++i) {
    const Image y = problem.data(i), truth = problem.truth(i);
    const Minimiser solution = minimise_with(problem, data, y, {}, 0);
    Vector upper = solution.extended_x;
    for (std::size_t p = 0; p < upper.size(); ++p) {
      upper[p] = (upper[p] - truth[p]) / problem.n;
      f += upper[p] * upper[p] * problem.n / 2;
    }
    const Vector q = adjoint_with(problem, data, solution.extended_x, upper);
    Vector contribution = extended::mixed_adjoint(problem, widen(y), solution.extended_x, q);
    for (Real& entry : contribution) entry = -entry;
    sum = moved(sum, 1, contribution);
    result.contributions.push_back(rounded(contribution));
    result.xhat.push_back(solution.x);
    result.extended_xhat.push_back(solution.extended_x);
    result.adjoint.push_back(rounded(q));
  }
  result.hypergradient = rounded(sum);
  result.f = static_cast<double>(f);
  return result;
}

MriConstants curvature(const MriProblem& problem) {
  const std::vector<double> weights = sampling_weights(problem);
  const bool paired = !problem.complex_image && problem.coils == 0;  // real images see (w_j + w_{-j}) / 2
  double least = std::numeric_limits<double>::infinity(), greatest = 0;
  for (int j = 0; j < problem.pixels(); ++j) {
    const int r = j / problem.w, c = j % problem.w;
    const int mirrored = (problem.h - r) % problem.h * problem.w + (problem.w - c) % problem.w;
    const double value = paired ? (weights[j] + weights[mirrored]) / 2 : weights[j];
    least = std::min(least, value);
    greatest = std::max(greatest, value);
  }
  double coil_least = 1, coil_greatest = 1;
  for (int p = 0; problem.coils > 0 && p < problem.pixels(); ++p) {
    double sum = 0;
    for (std::size_t k = p; k < problem.maps.size(); k += problem.pixels())
      sum += problem.maps[k] * problem.maps[k];
    coil_least = p == 0 ? sum : std::min(coil_least, sum);
    coil_greatest = p == 0 ? sum : std::max(coil_greatest, sum);
  }
  const Matrix slopes = weight_jacobian(problem);
  double steepest = 0;
  for (int j = 0; j < slopes.rows; ++j) {
    double square = 0;
    for (int k = 0; k < slopes.cols; ++k) square += slopes(j, k) * slopes(j, k);
    steepest = std::max(steepest, square);
  }
  const CurvatureConstants plane = curvature(problem.plane());
  const double norm_squared = plane.norm_k_squared, row = plane.row_bound, ell_1 = plane.ell_1,
               ell_2 = plane.ell_2;
  const double curved = problem.alpha * ell_1 * norm_squared;
  return {problem.xi + coil_least * least,
          problem.xi + coil_greatest * greatest + curved,
          problem.alpha * ell_2 * norm_squared * row,
          coil_greatest * std::sqrt(steepest),
          curved,
          problem.potential == Potential::quadratic ? 0 : curved,
          problem.xi};
}

}  // namespace bilevel::oracle
