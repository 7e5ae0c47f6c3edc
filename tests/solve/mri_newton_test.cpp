// Newton's method, whose conjugate gradients replay recorded launches, on the energy of magnetic resonance:
// device Fourier transforms inside recordings.

#include "bilevel/model/mri_energy.hpp"
#include "tests/solve/solve_test_support.hpp"

namespace bilevel {
namespace {

using namespace testing_support;

/// A simulated acquisition of images with edges.
template <class T>
struct Acquisition {
  std::string name;
  Shape images;
  TvPotential potential;
  PatternKind pattern;
  std::vector<std::complex<double>> maps = {};
  int coils = 1;
  std::vector<std::complex<T>> kspace = {};
  std::vector<double> s = {};
};

template <class T>
Acquisition<T> acquired(Acquisition<T> a, Random& random) {
  const std::size_t points = static_cast<std::size_t>(a.images.h * a.images.w);
  if (a.coils > 1)
    for (std::size_t e = 0; e < points * static_cast<std::size_t>(a.coils); ++e)
      a.maps.emplace_back(random.uniform(0.3, 1), random.uniform(-0.5, 0.5));
  const SamplingPattern pattern(a.pattern, a.images.h, a.images.w);
  for (std::size_t k = 0; k < pattern.groups(); ++k)
    a.s.push_back(k == 0 ? 1 : random.uniform() < 0.3 ? 0 : random.uniform(0.2, 1));
  Doubles truth;
  for (int i = 0; i < a.images.n * a.images.c; ++i)
    append(truth, piecewise_constant(a.images.h, a.images.w, 0, random));
  Context context(Device::open("cpu:1"));
  const FourierSampling<double> fourier(context, a.images, {a.coils, a.maps});
  Frame frame(context);
  ActiveSet active(context, frame, a.images.n);
  Tensor<double> x(context, a.images, truth), y(context, fourier.kspace());
  fourier.apply(context, active.active(), std::as_const(x).view(), y.view());
  const Doubles planes = download(context, y);
  for (std::size_t array = 0; array < planes.size() / points; array += 2)
    for (std::size_t p = 0; p < points; ++p)
      a.kspace.emplace_back(static_cast<T>(planes[array * points + p] + random.normal() / 20),
                            static_cast<T>(planes[(array + 1) * points + p] + random.normal() / 20));
  return a;
}

template <class T>
std::vector<Acquisition<T>> acquisitions(Random& random) {
  using Kind = PatternKind;
  const auto charbonnier = TvPotential::charbonnier, huber = TvPotential::huber_c2;
  return {acquired<T>({"real", {3, 1, 14, 18}, charbonnier, Kind::free}, random),
          acquired<T>({"complex", {2, 2, 15, 17}, huber, Kind::symmetric}, random),
          acquired<T>({"real, two coils", {2, 1, 16, 13}, huber, Kind::rows, {}, 2}, random),
          acquired<T>({"complex, three coils", {1, 2, 12, 20}, charbonnier, Kind::radial, {}, 3}, random)};
}

template <class T>
struct Reconstruction {
  Solved<T> first;
  std::uint64_t allocations;  // of a second solve
};

/// Solves twice from zero.
template <class T>
Reconstruction<T> reconstruct(const Acquisition<T>& a, const std::string& device, const std::string& solver,
                              const SolveRequest<T>& request) {
  Context context(Device::open(device));
  const SamplingPattern pattern(a.pattern, a.images.h, a.images.w);
  MriParameterValues values;
  values.alpha = 0.02;
  values.nu = 0.05;
  values.xi = 0.05;
  values.pattern = a.s;
  const MriEnergy<T> energy(context, a.images, a.kspace, pattern, mri_parameters(pattern, values),
                            a.potential, {a.coils, a.maps});
  const std::vector<T> zero(a.images.count());
  Reconstruction<T> out{minimise<T>(context, energy, solver, request, zero), 0};
  Tensor<T> x(context, a.images, zero);
  const Counters before = context.counters();
  make_minimiser<T>(solver)->minimise(context, energy, request, x.view());
  out.allocations = context.counters().allocations - before.allocations;
  EXPECT_EQ(download(context, x), out.first.x) << a.name << " on " << device;
  return out;
}

template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 3e-2 : 1e-8;

template <class T>
class MriNewton : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MriNewton, Precisions);

/// |a_i - b_i| for every image.
template <class T>
Doubles distances(const Acquisition<T>& a, const std::vector<T>& x, const std::vector<T>& y) {
  const auto n = static_cast<std::size_t>(a.images.n);
  Doubles out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(distance(widened(part(x, n, i)), widened(part(y, n, i))));
  return out;
}

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
