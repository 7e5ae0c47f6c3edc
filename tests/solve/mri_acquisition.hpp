#pragma once

#include <complex>
#include <string>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "tests/solve/solve_test_support.hpp"

namespace bilevel::testing_support {

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
ComposedEnergy<T> energy_of(Context& context, const Acquisition<T>& a) {
  const SamplingPattern pattern(a.pattern, a.images.h, a.images.w);
  MriParameterValues values;
  values.alpha = 0.02;
  values.nu = 0.05;
  values.xi = 0.05;
  values.pattern = a.s;
  return ComposedEnergy<T>(context, a.images, a.kspace, pattern, mri_parameters(pattern, values),
                           TvOptions{a.potential}, {a.coils, a.maps});
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
  const ComposedEnergy<T> energy = energy_of(context, a);
  const std::vector<T> zero(a.images.count());
  Reconstruction<T> out{minimise<T>(context, energy, solver, request, zero), 0};
  Tensor<T> x(context, a.images, zero);
  const Counters before = context.counters();
  make_minimiser<T>(solver)->minimise(context, energy, request, x.view());
  out.allocations = context.counters().allocations - before.allocations;
  EXPECT_EQ(download(context, x), out.first.x) << a.name << " on " << device;
  return out;
}

/// |a_i - b_i| for every image.
template <class T>
Doubles distances(const Acquisition<T>& a, const std::vector<T>& x, const std::vector<T>& y) {
  const auto n = static_cast<std::size_t>(a.images.n);
  Doubles out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(distance(widened(part(x, n, i)), widened(part(y, n, i))));
  return out;
}

}  // namespace bilevel::testing_support
