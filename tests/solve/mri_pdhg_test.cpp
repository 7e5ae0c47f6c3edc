// The primal-dual hybrid gradient method on the energy of magnetic resonance: data and regulariser as dual
// blocks.

#include "tests/solve/mri_acquisition.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 0.1 : 1e-6;

template <class T>
class MriPdhg : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MriPdhg, Precisions);

TYPED_TEST(MriPdhg, ReachesTheMinimiserOfNewton) {
  using T = TypeParam;
  Random random(seed(1601));
  for (const Acquisition<T>& a : acquisitions<T>(random)) {
    SCOPED_TRACE(a.name);
    const auto newton = reconstruct(a, "cpu:2", "newton", request_of<T>(tolerance<T>, 100));
    const auto pdhg =
        reconstruct(a, test_device("cpu-guarded:2"), "pdhg", request_of<T>(tolerance<T>, 5000, 16));
    for (const auto* r : {&newton, &pdhg})
      EXPECT_EQ(r->first.report.status, SolveStatus::converged) << r->first.report.message;
    const Doubles apart = distances(a, pdhg.first.x, newton.first.x);
    for (std::size_t i = 0; i < apart.size(); ++i) {
      EXPECT_LE(pdhg.first.report.certificate[i], tolerance<T>);
      EXPECT_LE(apart[i], pdhg.first.report.certificate[i] + newton.first.report.certificate[i]);
      EXPECT_GE(pdhg.first.report.iterations[i], 2);
    }
    EXPECT_EQ(pdhg.allocations, 0U);
  }
}

// On a CPU: other devices may transform a batch in other ways than an image.
TYPED_TEST(MriPdhg, ImagesOfABatchAreSolvedAsIfAlone) {
  using T = TypeParam;
  Random random(seed(1602));
  for (const Acquisition<T>& a : acquisitions<T>(random)) {
    SCOPED_TRACE(a.name);
    const auto n = static_cast<std::size_t>(a.images.n);
    SolveRequest<T> request = request_of<T>(1, 20000, 8);
    Doubles tolerances;
    for (std::size_t i = 0; i < n; ++i) tolerances.push_back(i % 2 == 0 ? 0.1 : 0.5);
    request.per_image = tolerances;
    const Solved<T> together = reconstruct(a, "cpu:3", "pdhg", request).first;
    for (std::size_t i = 0; i < n; ++i) {
      Acquisition<T> one = a;
      one.images.n = 1;
      one.kspace = part(a.kspace, n, i);
      const Solved<T> alone = reconstruct(one, "cpu:1", "pdhg", request_of<T>(tolerances[i], 20000)).first;
      EXPECT_EQ(part(together.x, n, i), alone.x) << "image " << i;
      EXPECT_EQ(together.report.certificate[i], alone.report.certificate[0]);
      EXPECT_EQ(together.report.iterations[i], alone.report.iterations[0]);
    }
  }
}

TEST(MriPdhgRates, SquaredErrorsFallByThetaPerStep) {
  Random random(seed(1603));
  for (const Acquisition<double>& a : acquisitions<double>(random)) {
    SCOPED_TRACE(a.name);
    Context context(Device::open(test_device("cpu:2")));
    const ComposedEnergy<double> energy = energy_of(context, a);
    const ProximalConstants c = energy.proximal()->constants();
    const double m = 2 * std::sqrt(c.primal * c.dual) / c.norm;
    const Doubles zero(a.images.count());
    const auto n = static_cast<std::size_t>(a.images.n);
    const Doubles exact = minimise<double>(context, energy, "newton", request_of<double>(1e-10, 100), zero).x;
    for (const int iterations : {1, 10}) {
      const Doubles x =
          minimise<double>(context, energy, "pdhg", request_of<double>(1e-30, iterations), zero).x;
      for (std::size_t i = 0; i < n; ++i) {
        const Doubles xhat = part(exact, n, i);
        // tau/sigma |w_0 - what|^2 <= (delta / gamma) (|K| / delta)^2 |x_0 - xhat|^2 for w_0 = grad F(K x_0)
        const double start = norm(xhat) * std::sqrt(1 + c.norm * c.norm / (c.primal * c.dual));
        EXPECT_LE(distance(part(x, n, i), xhat), std::pow(1 + m, -5.0 * iterations) * start + 1e-9)
            << iterations << " iterations";
      }
    }
  }
}

TEST(MriPdhgRates, Counts) {
  Random random(seed(1604));
  for (const Acquisition<double>& a : acquisitions<double>(random)) {
    Context context(Device::open("cpu:2"));
    const ComposedEnergy<double> energy = energy_of(context, a);
    for (const double tolerance : {1e-1, 1e-4}) {
      std::printf("%s, tolerance %.0e, applications per image:", a.name.c_str(), tolerance);
      for (const char* solver : {"pdhg", "fista", "fista-restart", "lbfgs", "newton"}) {
        const SolveReport r = minimise<double>(context, energy, solver, request_of<double>(tolerance),
                                               Doubles(a.images.count()))
                                  .report;
        EXPECT_EQ(r.status, SolveStatus::converged) << r.message;
        std::printf(" %s %.0f", solver, static_cast<double>(r.work.total()) / a.images.n);
      }
      std::printf("\n");
    }
  }
}

}  // namespace
}  // namespace bilevel
