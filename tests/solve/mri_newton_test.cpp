// Newton's method, whose conjugate gradients replay recorded launches, on the energy of magnetic resonance:
// device Fourier transforms inside recordings.

#include "tests/solve/mri_acquisition.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 3e-2 : 1e-8;

template <class T>
class MriNewton : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MriNewton, Precisions);

// On the tested device and on the CPU, and with a first-order method on the CPU, which takes no Hessian:
// within the certificates of the same points.
TYPED_TEST(MriNewton, ConvergesToTheSamePointOnEveryDeviceAndAsAFirstOrderMethod) {
  using T = TypeParam;
  Random random(seed(1501));
  for (const Acquisition<T>& a : acquisitions<T>(random)) {
    SCOPED_TRACE(a.name);
    const SolveRequest<T> request = request_of<T>(tolerance<T>, 100, 4);
    const auto tested = reconstruct(a, test_device("cpu-guarded:2"), "newton", request);
    const auto on_cpu = reconstruct(a, "cpu:1", "newton", request);
    const auto first_order = reconstruct(a, "cpu:2", "fista", request_of<T>(30 * tolerance<T>, 20000, 64));
    for (const auto* r : {&tested, &on_cpu, &first_order})
      EXPECT_EQ(r->first.report.status, SolveStatus::converged) << r->first.report.message;
    const Doubles devices = distances(a, tested.first.x, on_cpu.first.x),
                  methods = distances(a, tested.first.x, first_order.first.x);
    for (std::size_t i = 0; i < devices.size(); ++i) {
      const double certified = tested.first.report.certificate[i];
      EXPECT_LE(certified, tolerance<T>);
      EXPECT_LE(devices[i], certified + on_cpu.first.report.certificate[i]);
      EXPECT_LE(methods[i], certified + first_order.first.report.certificate[i]);
      EXPECT_GE(norm(widened(part(tested.first.x, devices.size(), i))), 1) << "a reconstruction of something";
      EXPECT_GE(tested.first.report.iterations[i], 2);
    }
    EXPECT_EQ(tested.allocations, 0U);
  }
}

// The more often the host looks, the shorter are the recordings that are replayed; the first run of each is
// direct.
TYPED_TEST(MriNewton, RecordedLaunchesGiveTheBitsOfDirectOnes) {
  using T = TypeParam;
  Random random(seed(1502));
  for (const Acquisition<T>& a : acquisitions<T>(random)) {
    SCOPED_TRACE(a.name);
    const auto run = [&](int check_every) {
      return reconstruct(a, test_device("cpu:2"), "newton", request_of<T>(tolerance<T>, 100, check_every))
          .first;
    };
    const Solved<T> often = run(1), seldom = run(24);
    for (const Solved<T>& other : {run(4), seldom}) {
      EXPECT_EQ(other.x, often.x);
      EXPECT_EQ(other.report.iterations, often.report.iterations);
      EXPECT_EQ(other.report.certificate, often.report.certificate);
    }
  }
}

}  // namespace
}  // namespace bilevel
