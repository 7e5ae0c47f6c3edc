#pragma once

#include <cmath>
#include <complex>
#include <string>
#include <vector>

#include "bilevel/model/composed_energy.hpp"
#include "bilevel/model/sampling_pattern.hpp"
#include "tests/oracle/mri_oracle.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/numeric.hpp"
#include "tests/support/random.hpp"
#include "tests/support/test_device.hpp"

namespace bilevel::testing_support {

using oracle::MriProblem;

inline SamplingMap map_of(const MriProblem& m) {
  return m.map == oracle::SamplingMap::direct ? SamplingMap::direct : SamplingMap::rational;
}
inline SamplingPattern pattern_of(const MriProblem& m) {
  const PatternKind kinds[] = {PatternKind::free, PatternKind::symmetric, PatternKind::rows,
                               PatternKind::columns, PatternKind::radial};
  return SamplingPattern(kinds[static_cast<int>(m.pattern)], m.h, m.w, map_of(m),
                         static_cast<int>(m.groups.size()));
}

/// "s", then alpha, nu and xi: learned ones on a log scale.
inline Parameters parameters_of(const MriProblem& m) {
  Segment sampling{"s", Transform::identity, 1, 0, m.map == oracle::SamplingMap::direct ? 1 : 0.99, true};
  sampling.shape = {m.samplings()};
  sampling.values = m.sampling;
  const auto scalar = [](const char* name, double value, bool learned) {
    return learned ? Segment{name, Transform::exp, value, 1e-12, 1e6, true}
                   : Segment{name, Transform::identity, value, 0, 1e6, false};
  };
  return Parameters({sampling, scalar("alpha", m.alpha, m.learn_alpha), scalar("nu", m.nu, m.learn_nu),
                     scalar("xi", m.xi, m.learn_xi)});
}

/// What the library has: its spokes, scalars at their theta, data and maps rounded to T.
template <class T>
MriProblem bound_problem(MriProblem m) {
  if (m.pattern == oracle::PatternKind::groups) {
    const SamplingPattern pattern = pattern_of(m);
    for (std::size_t k = 0; k < m.groups.size(); ++k)
      m.groups[k].assign(pattern.group(k).begin(), pattern.group(k).end());
  }
  m = oracle::with_theta(m, m.theta());
  for (std::vector<double>* values : {&m.y, &m.x_true, &m.maps}) *values = representable<T>(*values);
  return m;
}

/// Planes [..][re, im][pixels] as complex numbers.
template <class T>
std::vector<std::complex<T>> complex_of(const std::vector<double>& planes, std::size_t pixels) {
  std::vector<std::complex<T>> out;
  for (std::size_t first = 0; first < planes.size(); first += 2 * pixels)
    for (std::size_t p = first; p < first + pixels; ++p)
      out.emplace_back(static_cast<T>(planes[p]), static_cast<T>(planes[p + pixels]));
  return out;
}

inline TvOptions options_of(const MriProblem& m) {
  return {static_cast<TvPotential>(m.potential), m.isotropic, false,
          static_cast<TvDifferences>(m.differences)};
}
inline Shape shape_of(const MriProblem& m) { return {m.n, m.planes(), m.h, m.w}; }

inline MriProblem mri_shape(int n, int h, int w) {
  MriProblem shape;
  shape.n = n;
  shape.h = h;
  shape.w = w;
  return shape;
}

inline std::string describe(const oracle::NamedMri& named) {
  const MriProblem& m = named.problem;
  return named.name + ", " + std::to_string(m.n) + " images " + std::to_string(m.h) + "x" +
         std::to_string(m.w);
}

/// Coil maps of a problem in the library's form.
struct MapsOf {
  std::vector<std::complex<double>> values;
  int coils;
  explicit MapsOf(const MriProblem& m)
      : values(complex_of<double>(m.maps, static_cast<std::size_t>(m.pixels()))), coils(m.channels()) {}
  CoilMaps maps() const { return {coils, values}; }
};

}  // namespace bilevel::testing_support
