#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/error.hpp"
#include "bilevel/model/composed_energy.hpp"
#include "bilevel/solve/linear_solver.hpp"
#include "bilevel/solve/minimiser.hpp"
#include "tests/oracle/tv_exact.hpp"
#include "tests/oracle/tv_oracle.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

using Doubles = std::vector<double>;

template <class T>
std::vector<T> narrowed(const Doubles& v) {
  return std::vector<T>(v.begin(), v.end());
}
template <class T>
Doubles widened(const std::vector<T>& v) {
  return Doubles(v.begin(), v.end());
}
/// Image i of a batch.
template <class T>
std::vector<T> part(const std::vector<T>& batch, std::size_t images, std::size_t i) {
  const std::size_t size = batch.size() / images;
  return std::vector<T>(batch.begin() + static_cast<std::ptrdiff_t>(i * size),
                        batch.begin() + static_cast<std::ptrdiff_t>((i + 1) * size));
}
template <class T>
void append(std::vector<T>& batch, const Doubles& image) {
  batch.insert(batch.end(), image.begin(), image.end());
}

/// TV denoising of a batch, on a device and for the oracle. The data are numbers of T.
template <class T>
struct TvProblem {
  TvProblem(const std::string& device, oracle::TvModel m, std::vector<T> data)
      : model(std::move(m)),
        y(std::move(data)),
        images(y.size() / static_cast<std::size_t>(model.pixels())),
        context(Device::open(device)),
        shape{static_cast<int>(images), 1, model.height, model.width},
        y_device(context, shape, y),
        energy(context, std::as_const(y_device).view(), parameters(), options(), model.mask) {}

  Parameters parameters() const {
    return Parameters({{"alpha", Transform::exp, model.alpha, 1e-8, 1e3, true},
                       {"nu", Transform::exp, model.nu, 1e-6, 1e2, true},
                       {"xi", Transform::exp, model.xi, 1e-10, 1e2, false}});
  }
  TvOptions options() const {
    const bool huber = model.potential == oracle::Potential::huber_c2;
    return {huber ? TvPotential::huber_c2 : TvPotential::charbonnier, model.isotropic, model.xi_inside_alpha};
  }
  Doubles y_of(std::size_t i) const { return widened(part(y, images, i)); }
  /// The minimiser of image i; computed once.
  const Doubles& exact(std::size_t i) const {
    exact_.resize(images);
    if (exact_[i].empty()) exact_[i] = oracle::minimise(model, y_of(i)).x;
    return exact_[i];
  }

  oracle::TvModel model;
  std::vector<T> y;
  std::size_t images;
  Context context;
  Shape shape;
  Tensor<T> y_device;
  ComposedEnergy<T> energy;

 private:
  mutable std::vector<Doubles> exact_;
};

inline oracle::TvModel tv_model(int height, int width, double alpha = 0.05, double nu = 0.01) {
  oracle::TvModel m;
  m.height = height;
  m.width = width;
  m.alpha = alpha;
  m.nu = nu;
  m.xi = 1e-3;
  return m;
}

/// Height and width of images whose launches take several threads of the CPU, or several blocks of CUDA.
inline std::pair<int, int> several_threads() { return on_cuda() ? std::pair{35, 70} : std::pair{150, 130}; }

/// Noisy rectangles of different noise levels.
template <class T>
std::vector<T> noisy_batch(int images, int height, int width, Random& random) {
  std::vector<T> y;
  for (int i = 0; i < images; ++i) append(y, piecewise_constant(height, width, 0.03 + 0.05 * i, random));
  return y;
}

template <class T>
struct Solved {
  SolveReport report;
  std::vector<T> x;
};

template <class T>
Solved<T> minimise(Context& context, const Energy<T>& energy, const std::string& solver,
                   const SolveRequest<T>& request, const std::vector<T>& start) {
  Tensor<T> x(context, energy.shape(), start);
  Solved<T> result;
  result.report = make_minimiser<T>(solver)->minimise(context, energy, request, x.view());
  result.x = download(context, x);
  return result;
}
template <class T>
Solved<T> minimise(TvProblem<T>& problem, const std::string& solver, const SolveRequest<T>& request,
                   const std::vector<T>& start) {
  return minimise<T>(problem.context, problem.energy, solver, request, start);
}

template <class T>
SolveRequest<T> request_of(double tolerance, int max_iterations = 20000, int check_every = 4) {
  SolveRequest<T> r;
  r.tolerance = tolerance;
  r.max_iterations = max_iterations;
  r.check_every = check_every;
  return r;
}

inline void expect_same_report(const SolveReport& a, const SolveReport& b, const std::string& what) {
  EXPECT_EQ(a.status, b.status) << what;
  EXPECT_EQ(a.image_status, b.image_status) << what;
  EXPECT_EQ(a.certificate, b.certificate) << what;
  EXPECT_EQ(a.iterations, b.iterations) << what;
  EXPECT_EQ(a.work, b.work) << what;
  EXPECT_EQ(a.message, b.message) << what;
}

}  // namespace bilevel::testing_support
